"""What a stage records: events in the store (the truth), the same rows in W&B, seconds by part, provenance."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trainers.stage import Stage
from trainers.stage.scores import Score
from trainers.store import EventLog
from trainers.store.claims import scheduler_variables
from trainers.store.tracking import Tracker, step_axis

PACKAGES = ("retain", "torch", "transformers", "deepspeed", "tokenizers", "numpy", "wandb", "submitit")


def step_row(loss: float, learning_rate: float, tokens: int, seconds: float) -> dict[str, float]:
    """What W&B shows of an optimizer step."""
    return {
        "train/loss": loss,
        "train/learning_rate": learning_rate,
        "train/tokens_per_s": tokens / max(seconds, 1e-9),
    }


class Recorder:
    """Rank 0's pen; on other ranks nothing is written."""

    def __init__(self, stage: Stage, log: EventLog | None, tracker: Tracker | None) -> None:
        self.stage, self.log, self.tracker = stage, log, tracker
        self._axis = step_axis(stage)
        self._described: set[str] = set()

    def event(self, event: str, **facts: Any) -> None:
        if self.log is not None:
            self.log.write(event, **facts)

    def step(self, step: int, loss: float, learning_rate: float, tokens: int, seconds: float) -> None:
        """Optimizer step number `step` (counted from 1) has ended."""
        self.event("step", step=step, loss=loss, learning_rate=learning_rate, tokens=tokens, seconds=seconds)
        if self.tracker is not None:
            self.tracker.log({self._axis: step, **step_row(loss, learning_rate, tokens, seconds)})

    def measured(self, scores: list[Score], at: int) -> None:
        """Scores at a step (or, for retrieval, at a layer)."""
        for score in scores:
            self.event("measured", at=at, **score._asdict())
        if self.tracker is None:
            return
        for score in scores:
            if score.curve not in self._described:
                self._described.add(score.curve)
                self.tracker.describe(score.curve, {"examples": score.examples, "chance": score.chance})
        self.tracker.log({self._axis: at, **{score.curve: score.value for score in scores}})

    def sync(self) -> None:
        """Force the events to the disk."""
        if self.log is not None:
            self.log.sync()

    def finish(self, result: dict[str, Any]) -> None:
        """Hand the stage's result to W&B."""
        if self.tracker is not None:
            self.tracker.finish(result, exit_code=0 if result["outcome"] == "completed" else 1)

    def close(self) -> None:
        """End W&B's run (as failed, unless it was finished) and the event log."""
        if self.tracker is not None:
            self.tracker.finish(exit_code=1)
        if self.log is not None:
            self.log.close()


@dataclass
class Lap:
    """One timed passage; its seconds are known when it has ended."""

    seconds: float = 0.0


class Stopwatch:
    """Adds up a stage's seconds by part: `with watch("train") as lap: …`."""

    def __init__(self, *parts: str) -> None:
        self.seconds = dict.fromkeys(parts, 0.0)

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @contextmanager
    def __call__(self, part: str) -> Iterator[Lap]:
        lap, started = Lap(), time.perf_counter()
        try:
            yield lap
        finally:
            lap.seconds = time.perf_counter() - started
            self.seconds[part] += lap.seconds


def provenance() -> dict[str, Any]:
    """Where a result comes from: code, packages, machine; never the environment, which holds secrets.

    Plain JSON values.  Code and packages are asked for once: what a process has imported stays as it was.
    """
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or [_cpu_name()]
    return {
        "code": _git(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "host": socket.gethostname(),
        "devices": devices,
        "threads": torch.get_num_threads(),
        "scheduler": scheduler_variables(),
    }


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _git() -> dict[str, Any] | None:
    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
