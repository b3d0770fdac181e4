"""Weights & Biases beside the store: one run per stage, rank 0 only, never in the way.

The client starts in a thread of its own while data load, and takes rows from a queue; an error there is printed once
and costs the run nothing.  The store's events.jsonl holds every row, too, and is the truth.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Literal

from trainers.stage import Frozen, Stage

FINISH_TIMEOUT_S = 10.0
"""For a process as a whole, of training time; W&B takes a tenth of a second when all is well."""
START_TIMEOUT_S = 20.0
"""In the client's own thread; a process that ends before it is over waits for the rest."""
ROOM_BYTES = 1 << 16
"""On a disk with less, the client's files were cut short: it writes blocks of half of that."""
LONGEST_TAG = 64
"""W&B refuses longer ones."""
LONGEST_NAME = 110
"""W&B refuses names of more than 128; it may count bytes, of which `·` and `→` take several."""
REPAIR = "the store has everything, and `retain wandb sync` sends what is missing"


class Tracking(Frozen):
    """Where W&B runs go."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    """How W&B runs are written; `WANDB_MODE=disabled` in the environment takes precedence."""
    project: str = "retain"
    """W&B project."""
    entity: str | None = None
    """W&B user or team; None is that of your key."""
    group: str = ""
    """The sweep's name."""


def step_axis(stage: Stage) -> str:
    """What a stage's curves are plotted against."""
    return {"intermediate": "intermediate_step", "target": "target_step", "retrieval": "layer"}[stage.kind]


def tags_of(stage: Stage) -> list[str]:
    """What a stage's run can be found by."""
    tags = [stage.scale.name, stage.intermediate, *(evaluation.task for evaluation in stage.evaluate), *stage.settings]
    return [tag[:LONGEST_TAG] for tag in tags]


def name_of(stage: Stage) -> str:
    """What a stage's run is called: its label, of a long one the beginning and the end, which says the seed."""
    label = stage.label
    return label if len(label) <= LONGEST_NAME else f"{label[: LONGEST_NAME - 31]}…{label[-30:]}"


class Patience:
    """How long W&B may hold up a process, in all: nothing is lost by going on, `retain wandb sync` repairs it."""

    def __init__(self) -> None:
        self._left_s = FINISH_TIMEOUT_S
        self._told = False

    def wait_for(self, thread: threading.Thread) -> bool:
        """Whether a thread ended in time; one that does not goes on, and uses up what the next may take."""
        began = time.monotonic()
        thread.join(self._left_s)
        if thread.is_alive():
            self._left_s = max(0.0, self._left_s - (time.monotonic() - began))
        return not thread.is_alive()

    def tell(self, trouble: str) -> None:
        """Say it, once a process."""
        if not self._told:
            self._told = True
            print(trouble, flush=True)


class Tracker:
    """A W&B run that a slow, broken or absent W&B cannot slow or stop."""

    def __init__(
        self, stage: Stage, config: dict[str, Any], tracking: Tracking, folder: Path, patience: Patience
    ) -> None:
        """
        Args:
            stage: gives the run its id (the stage's key) and tags.
            config: what W&B shows as the run's configuration.
            folder: where W&B's offline files go (in its subfolder `wandb`).
            patience: of this process.
        """
        self.patience = patience
        self.trouble: str | None = None
        self._rows: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._summary: dict[str, Any] = {}
        self._exit_code = 0
        self._thread: threading.Thread | None = None
        if tracking.mode == "disabled" or os.environ.get("WANDB_MODE") == "disabled":
            return
        self._thread = threading.Thread(
            target=self._work, args=(stage, config, tracking, folder), name="wandb", daemon=True
        )
        self._thread.start()

    def log(self, row: dict[str, Any]) -> None:
        if self._thread is not None:
            self._rows.put(row)

    def describe(self, name: str, facts: dict[str, Any]) -> None:
        """Add facts of one measured curve (number of examples, chance) to the run's configuration."""
        if self._thread is not None:
            self._rows.put({"described": name, **facts})

    def finish(self, summary: dict[str, Any] | None = None, exit_code: int = 0) -> None:
        """Write the summary and let the client flush, for a while at the most."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None  # a second call must neither wait again nor change the outcome
        self._summary, self._exit_code = summary or {}, exit_code
        self._rows.put(None)
        if not self.patience.wait_for(thread):
            self.trouble = f"W&B does not keep up; {REPAIR}"
        if self.trouble:
            self.patience.tell(self.trouble)

    def _work(self, stage: Stage, config: dict[str, Any], tracking: Tracking, folder: Path) -> None:
        try:
            run = start(stage, config, tracking, folder, init_timeout=START_TIMEOUT_S)
            described: dict[str, Any] = {}
            while (row := self._rows.get()) is not None:
                if "described" in row:
                    described[row.pop("described")] = row
                    run.config.update({"curves": described}, allow_val_change=True)
                else:
                    run.log(row)
            run.summary.update(self._summary)
            run.finish(exit_code=self._exit_code)
            if shutil.disk_usage(folder / "wandb").free < ROOM_BYTES:
                raise OSError(errno.ENOSPC, "the disk of W&B's files is full")  # the client says nothing of it
        except BaseException as error:  # nothing that W&B does may reach the run
            # The name only: a message may hold what a log must not.
            self.trouble = f"W&B tracking stopped ({type(error).__name__}); {REPAIR}"


def start(stage: Stage, config: dict[str, Any], tracking: Tracking, folder: Path, **settings: Any) -> Any:
    """The client's run of a stage, new or resumed.

    Args:
        settings: more of `wandb.Settings`.

    Raises:
        Whatever W&B raises.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    # Its debug.log would tell each record that a full disk does not take, with a traceback.
    logging.getLogger("wandb").addFilter(_is_error)
    run = wandb.init(
        id=stage.key,
        name=name_of(stage),
        group=tracking.group,
        job_type=stage.kind,
        config=config,
        project=tracking.project,
        entity=tracking.entity,
        mode=tracking.mode,
        dir=folder,
        resume="allow" if tracking.mode == "online" else None,
        reinit="create_new",
        tags=tags_of(stage),
        settings=quiet(**settings),
    )
    axis = step_axis(stage)
    run.define_metric(axis, hidden=True)
    run.define_metric("*", step_metric=axis)
    return run


def quiet(**settings: Any) -> Any:
    """`wandb.Settings` of a client that prints nothing and keeps neither code nor the machine's facts.

    Args:
        settings: more of them.
    """
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        x_disable_stats=True,
        x_disable_meta=True,
        disable_git=True,
        disable_code=True,
        **settings,
    )


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
