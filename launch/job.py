"""What runs inside a job: the stop flag, then `trainers.run` for each stage of the bundle."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from launch.bundles import Bundle
from trainers.claims import StageInUse
from trainers.data.mirror import Mirror
from trainers.ranks import Ranks
from trainers.stage import Stage
from trainers.store import Store

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
WAIT_FOR_OTHERS_S = 1.0


class StopFlag:
    """Set by a signal and asked at step boundaries; a handler does nothing else (collectives would hang)."""

    def __init__(self) -> None:
        self.name: str | None = None

    def listen(self) -> StopFlag:
        for number in STOP_SIGNALS:
            signal.signal(number, self._set)
        return self

    def _set(self, number: int, _frame: Any) -> None:
        self.name = signal.Signals(number).name

    def __call__(self) -> bool:
        return self.name is not None


def run_bundle(path: str, gpu: int | None = None) -> dict[str, str]:
    """Run every stage of a bundle file; a failed stage stops its descendants only.

    Args:
        path: a `Bundle` as JSON.
        gpu: the only GPU that this job may see; None leaves the environment alone.

    Returns:
        Outcome by key: completed, diverged, preempted, failed, or blocked (its parent failed or diverged).
    """
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    return run_stages(Bundle.load(Path(path)), StopFlag().listen())


def stay_offline() -> None:
    """A stage reads the mirror and nothing else; `huggingface_hub` reads this when it is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def run_stages(bundle: Bundle, should_stop: StopFlag) -> dict[str, str]:
    """The bundle's stages in order; those that another job holds are come back to, until they are done."""
    stay_offline()
    from trainers.run import Context, run  # torch is imported here, and only here

    store = Store(bundle.store)
    context = Context(
        store, Mirror(bundle.mirror), bundle.execution, bundle.tracking, should_stop, job=f"pid {os.getpid()}"
    )
    outcomes: dict[str, str] = {}
    waiting = list(bundle.stages)
    while waiting and not should_stop():
        postponed: list[Stage] = []
        for stage in waiting:
            if should_stop():
                break
            verdict = _parent_verdict(stage, outcomes, store)
            if verdict == "blocked":
                outcomes[stage.key] = "blocked"
            elif verdict == "wait":
                postponed.append(stage)
            else:
                try:
                    outcomes[stage.key] = run(stage, context)
                except StageInUse:
                    postponed.append(stage)
                except Exception as error:
                    if Ranks.from_environment().world_size > 1:
                        raise  # the others may wait for this rank in the middle of the stage: end the job
                    outcomes[stage.key] = "failed"  # other stages of the bundle can still run
                    print(f"{stage.label}  failed: {error}", file=sys.stderr, flush=True)
                    traceback.print_exc()
        if len(postponed) == len(waiting):
            time.sleep(WAIT_FOR_OTHERS_S)
        waiting = postponed
    return outcomes


def _parent_verdict(stage: Stage, outcomes: dict[str, str], store: Store) -> str:
    if stage.parent is None:
        return "run"
    parent = store.entry(stage.parent)
    if parent.done:
        return "run" if parent.encoder.is_dir() else "blocked"
    if outcomes.get(stage.parent) in ("failed", "blocked"):
        return "blocked"
    return "wait"
