"""What is made of the end of one attempt: its cause from every rank's log, and what to do, written down."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from launch.bundles import Bundle
from launch.job import REQUEUE
from launch.records import ArrayFolder
from slurm.causes import Cause, Finding, classify, most_telling
from slurm.client import SlurmError, ask
from slurm.failures import Decision, ExitRecord, decide
from trainers.files import writing
from trainers.store import Store

TAIL_BYTES = 65_536
SCHEDULERS_TICK_S = 90.0
"""SLURM looks at time limits now and then, and tells a job somewhat earlier rather than later."""


class Attempt:
    """One attempt at one element, from before its ranks start."""

    def __init__(self, folder: ArrayFolder, index: int | str) -> None:
        self.folder, self.index = folder, index
        bundle = Bundle.load(folder.bundle(index))
        self.store, self.keys = Store(bundle.store), [stage.key for stage in bundle.stages]
        self._log_starts = {log: log.stat().st_size for log in self._logs() if log.exists()}
        self._reached = self._progress()

    @property
    def records(self) -> list[ExitRecord]:
        """The ends of the attempts before this one, oldest first."""
        return [ExitRecord.model_validate(note["record"]) for note in self.folder.history(self.index)]

    @property
    def micro_batch_factor(self) -> float:
        """What earlier ends make of the planned micro-batch."""
        notes = self.folder.history(self.index)
        return notes[-1]["decision"]["micro_batch_factor"] if notes else 1.0

    def judge(self, status: int, state: str | None, deadline: float | None) -> Decision:
        """Why it ended and what to do, logged with the evidence.

        Args:
            status: srun's exit status.
            state: SLURM's word for a job that was ended from outside; None otherwise.
            deadline: when the time limit ends the job, as it is by now.
        """
        node, finding = self._finding(status, state, deadline)
        hosts = _hosts()
        record = ExitRecord(
            cause=finding.cause,
            evidence=finding.evidence,
            hosts=tuple(hosts[node : node + 1] if finding.cause == Cause.NODE_FAILURE and node is not None else hosts),
            exit_code=status,
            slurm_state=state,
            steps_gained=max(0, self._progress() - self._reached),
        )
        decision = decide(record, self.records)
        self._note(record=record.model_dump(mode="json"), decision=decision.model_dump(mode="json"))
        return decision

    def _finding(self, status: int, state: str | None, deadline: float | None) -> tuple[int | None, Finding]:
        """The node of the rank that failed first, by its position (None where none did), and what its log tells."""
        if state is None and status == REQUEUE:
            told = self.folder.record.signal_before_end_s + SCHEDULERS_TICK_S
            late = deadline is not None and time.time() > deadline - told
            cause, why = (Cause.TIMEOUT, "time limit") if late else (Cause.PREEMPTED, "signal")
            return None, Finding(cause, f"told to stop ({why}), and saved", 0)
        findings = [classify(exit_code=status, stderr_tail=self._tail(log), slurm_state=state) for log in self._logs()]
        first = most_telling(findings)
        # The batch step's own log is the first of all; what SLURM says in it is of no rank.
        node = (first - 1) // self.folder.record.placement.ranks_per_node if first else None
        return node, findings[first]

    def _logs(self) -> list[Path]:
        """Of the batch step, where SLURM says why it ends a job, and of each rank, in order."""
        logs = self.folder.rank_logs(self.index).glob("rank-*.txt")
        ranks = sorted(logs, key=lambda log: int(log.stem.rpartition("-")[2]))
        return [self.folder.batch_log(self.index), *ranks]

    def _tail(self, log: Path) -> str:
        """The end of what was said in this attempt."""
        if not log.exists():
            return ""
        with log.open("rb") as file:
            start = self._log_starts.get(log, 0)
            file.seek(max(start, log.stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def _progress(self) -> int:
        """Optimizer steps that are saved, over all stages; a finished stage counts a step more than its last one."""
        total = 0
        for key in self.keys:
            entry = self.store.entry(key)
            if entry.done:
                total += 1 + max((event["step"] for event in entry.events("step")), default=0)
            elif entry.checkpoints.is_dir():
                steps = (path.name.removeprefix("step-") for path in entry.checkpoints.iterdir())
                total += max((int(step) for step in steps if step.isdigit()), default=0)
        return total

    def _note(self, **facts: Any) -> None:
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
        line = json.dumps({"time": time.time(), "restarts": restarts, **facts})
        path = self.folder.attempts(self.index)
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _hosts() -> list[str]:
    """Nodes of this job, in the order of ranks."""
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    try:
        return ask(["scontrol", "show", "hostnames", nodes]).split()
    except SlurmError:
        return []
