"""Small stages to train, in this process or on several ranks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from launch.study.plan import make_plan
from launch.study.sweep import Sweep
from trainers.data.mirror import Mirror
from trainers.stage import Execution, Stage
from trainers.store import StageEntry, Store
from trainers.store.tracking import Tracking

CHECKOUT = Path(__file__).parents[2]
UNTRACKED = Tracking(mode="disabled")
STEPS = 10


def plan_stages(
    mirror: Mirror,
    encoder: Path,
    intermediate: str = "mnli",
    target: str = "pawsx",
    languages: tuple[str, ...] = ("en", "de"),
    seed: int = 3,
    probe: dict[str, int] | None = None,
    evaluation: dict[str, int] | None = None,
    **recipe: Any,
) -> tuple[Stage, ...]:
    """The stages of one arm, planned as a sweep plans them: parents before children."""
    settings = {"max_examples": 60, "batch_size": 8, "max_steps": STEPS, "learning_rate": 2e-3, "max_length": 96}
    sweep = Sweep(
        name="test",
        store=mirror.root / "unused",
        mirror=mirror.root,
        scales=(str(encoder),),
        targets=(target,),
        intermediates=(intermediate,),
        seeds=(seed,),
        languages=languages,
        recipes="sandbox",
        overrides={"*": settings | recipe},
        probe={"examples": 24, "examples_other": 8, "refit_examples": 24} | (probe or {}),
        evaluation={"max_examples": 24, "development_examples": 24} | (evaluation or {}),
    )
    return make_plan(sweep).stages


def run_here(stage: Stage, store: Store, mirror: Mirror, **context: Any) -> str:
    """Run a stage in this process, alone."""
    from trainers.run import Context, run

    settings = {"tracking": UNTRACKED, "execution": Execution(checkpoint_every_s=1e9)} | context
    return run(stage, Context(store, mirror, **settings))


# -- several ranks --------------------------------------------------------------------------------------------


@dataclass
class Work:
    """One stage that ranks run together, as `worker.py` reads it."""

    stage: Stage
    store: Path
    mirror: Path
    execution: Execution = field(default_factory=lambda: Execution(checkpoint_every_s=1e9))
    stop_at: int | None = None
    """The step before which the last rank asks to stop."""
    hold_at: int | None = None
    """The step before which the last rank waits for ever, so that whoever means to kill it is not too late."""

    def as_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "stage": self.stage.model_dump(mode="json"),
            "store": str(self.store),
            "mirror": str(self.mirror),
            "execution": self.execution.model_dump(mode="json"),
        }


class Ranks:
    """Processes that run the same list of stages as the ranks of one job."""

    def __init__(self, folder: Path, world_size: int, works: list[Work]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / "works.json").write_text(json.dumps([work.as_json() for work in works]), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes = [self._start(rank, world_size, port) for rank in range(world_size)]

    def _start(self, rank: int, world_size: int, port: int) -> subprocess.Popen:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_PORT": port}
        environment = os.environ | {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
        with (self.folder / f"rank-{rank}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.trainers.worker", str(self.folder / "works.json")],
                cwd=CHECKOUT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self, timeout_s: float = 480) -> None:
        """Wait for all ranks; an error of one shows every rank's log."""
        try:
            codes = [process.wait(timeout_s) for process in self.processes]
        finally:
            self.end()
        assert not any(codes), "\n".join(f"rank {rank} → {code}\n{self.log(rank)}" for rank, code in enumerate(codes))

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def log(self, rank: int) -> str:
        return (self.folder / f"rank-{rank}.log").read_text(encoding="utf-8", errors="replace")[-6000:]


def run_on_ranks(folder: Path, world_size: int, works: list[Work], timeout_s: float = 480) -> None:
    Ranks(folder, world_size, works).finish(timeout_s)


def wait_for_step(entry: StageEntry, event: str, step: int, ranks: Ranks, timeout_s: float = 400) -> None:
    """Return as soon as the store tells an `event` ("step": made, "checkpoint": whole) of `step` or a later one."""
    deadline = time.monotonic() + timeout_s
    while not any(told["step"] >= step for told in entry.events(event)):
        assert time.monotonic() < deadline, f"no {event} {step} within {timeout_s} s\n{ranks.log(0)}"
        assert ranks.processes[0].poll() is None, f"rank 0 ended before {event} {step}\n{ranks.log(0)}"
        time.sleep(0.001)


# -- what a stage left ----------------------------------------------------------------------------------------


def losses(entry: StageEntry) -> list[float]:
    """The loss of each step; a step that was made again after a crash counts once, as it was made last."""
    by_step = {event["step"]: event["loss"] for event in entry.events("step")}
    return [by_step[step] for step in sorted(by_step)]


def measurements(entry: StageEntry) -> dict[tuple, float]:
    names = ("at", "measure", "task", "language", "metric")
    return {tuple(event[name] for name in names): event["value"] for event in entry.events("measured")}


def weights(entry: StageEntry) -> dict[str, np.ndarray]:
    """Exported encoder and heads."""
    encoder = load_file(entry.encoder / "model.safetensors")
    return encoder | {f"heads.{name}": value for name, value in load_file(entry.heads).items()}


def predictions(entry: StageEntry) -> dict[str, list[dict]]:
    import polars as pl

    return {path.name: pl.read_parquet(path).to_dicts() for path in sorted(entry.predictions.glob("*.parquet"))}


def assert_same_to_the_last_bit(entry: StageEntry, other: StageEntry) -> None:
    """Losses, measurements, per-example predictions and exported weights."""
    assert losses(entry) == losses(other)
    assert measurements(entry) == measurements(other)
    assert predictions(entry) == predictions(other)
    assert entry.heads.exists() == other.heads.exists()
    if entry.heads.exists():
        assert entry.heads.read_bytes() == other.heads.read_bytes()
        assert (entry.encoder / "model.safetensors").read_bytes() == (other.encoder / "model.safetensors").read_bytes()
