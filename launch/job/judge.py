"""The verdict on the end of an attempt: its cause, from the logs of all ranks, and what to do, both written down."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from launch.job.bundle import Bundle, stages_in
from launch.job.rank import REQUEUE
from launch.job.records import ArrayFolder
from launch.verdicts import Verdict, newest_verdict, verdicts, write_verdict
from slurm.commands import SlurmError, ask
from slurm.failures.causes import Cause, Finding, classify, most_telling
from slurm.failures.decide import Decision, ExitRecord, decide
from slurm.job import job_runs, restarts
from trainers.stage import Stage
from trainers.store import StageEntry, Store

TAIL_BYTES = 65_536
SCHEDULERS_TICK_S = 90.0
"""SLURM looks at time limits now and then, and tells a job somewhat earlier rather than later."""


class Attempt:
    """One attempt at one element of an array: made before its ranks start, asked for a verdict when they have ended."""

    def __init__(self, folder: ArrayFolder, index: int | str) -> None:
        self.folder, self.index = folder, index
        self.bundle = Bundle.load(folder.bundle(index))
        self.store = Store(self.bundle.store)
        self._log_starts = {log: log.stat().st_size for log in self._logs() if log.exists()}
        self._reached = self._progress()

    @property
    def stages(self) -> list[Stage]:
        """The element's stages, with the retries of those that have diverged so far."""
        return stages_in(self.bundle, self.store, self.store.outcome)

    @property
    def micro_batch_factor(self) -> float:
        """What the planned micro-batch is multiplied by, since earlier jobs with these stages ran out of memory."""
        newest = (newest_verdict(entry) for _, entry in self._unfinished())
        return min((verdict.decision.micro_batch_factor for verdict in newest if verdict), default=1.0)

    @property
    def command(self) -> tuple[str, ...]:
        """What each rank runs."""
        words = "-P", "-u", "-m", "launch.job.rank", str(self.folder.bundle(self.index)), str(self.micro_batch_factor)
        return sys.executable, *words

    def judge(self, status: int, state: str | None, deadline: float | None) -> Decision:
        """Why it ended and what to do, logged with the evidence.

        Args:
            status: srun's exit status.
            state: SLURM's word for a job that was ended from outside; None otherwise.
            deadline: when the time limit ends the job, as it is by now.
        """
        node, finding = self._finding(status, state, deadline)
        hosts = _hosts(self.folder.record.placement.nodes)
        record = ExitRecord(
            cause=finding.cause,
            evidence=finding.evidence,
            hosts=tuple(hosts[node : node + 1] if finding.cause == Cause.NODE_FAILURE and node is not None else hosts),
            exit_code=status,
            slurm_state=state,
            steps_gained=max(0, self._progress() - self._reached),
        )
        stage = self._stage_judged(record.cause)
        if stage is None:
            return decide(record)
        entry = self.store.open(stage)
        decision = decide(record, [verdict.record for verdict in verdicts(entry)])
        write_verdict(entry, Verdict(record=record, decision=decision))
        return decision

    def _stage_judged(self, cause: Cause) -> Stage | None:
        """The unfinished stage that this end counts for; None where all are finished, or other jobs hold the rest.

        One whose own log names the cause: a single rank goes on with other stages when one has failed.  Else the last
        that was begun, or the first in turn where the job ended before it began any.
        """
        ends = [(stage, entry, _end_here(entry)) for stage, entry in self._unfinished()]
        named = (stage for stage, _, end in ends if end == cause)
        begun = (stage for stage, _, end in reversed(ends) if end is not None)
        in_turn = (stage for stage, entry, end in ends if end is None and not entry.claimant(job_runs))
        return next(chain(named, begun, in_turn), None)

    def _unfinished(self) -> Iterator[tuple[Stage, StageEntry]]:
        for stage in self.stages:
            if not (entry := self.store.entry(stage.key)).done:
                yield stage, entry

    def _finding(self, status: int, state: str | None, deadline: float | None) -> tuple[int | None, Finding]:
        """The node of the rank that failed first, by its position (None where none did), and what its log tells."""
        if not any(self._unfinished()):
            return None, Finding(Cause.COMPLETED, "every stage has its result", 0)
        warned_s = self.folder.record.signal_before_end_s + SCHEDULERS_TICK_S
        late = state is None and deadline is not None and time.time() > deadline - warned_s
        if state is None and status == REQUEUE:
            cause, why = (Cause.TIMEOUT, "time limit") if late else (Cause.PREEMPTED, "signal")
            return None, Finding(cause, f"told to stop ({why}), and saved", 0)
        findings = [classify(exit_code=status, stderr_tail=self._tail(log), slurm_state=state) for log in self._logs()]
        first = most_telling(findings)
        if late and findings[first].cause == Cause.PREEMPTED:
            # Told before it could listen.  Taken for a preemption, a job too short to start would be requeued for ever.
            return None, findings[first]._replace(cause=Cause.TIMEOUT)
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
        for stage in self.stages:
            entry = self.store.entry(stage.key)
            if entry.done:
                total += 1 + max((event["step"] for event in entry.events("step")), default=0)
            else:
                total += entry.saved_step
        return total


def _end_here(entry: StageEntry) -> str | None:
    """How a stage's own log says that this job's attempt ended, "" where it left no word; None where it made none."""
    end = None
    for event in entry.events("attempt", "ended"):
        if event["event"] == "attempt":
            end = "" if _is_this_job(event.get("scheduler", {})) else None
        elif end is not None:
            end = event["outcome"]
    return end


def _is_this_job(scheduler: Mapping[str, str]) -> bool:
    """Whether an attempt was made by this job, and since it was last requeued."""
    same = scheduler.get("SLURM_JOB_ID") == os.environ["SLURM_JOB_ID"]
    return same and restarts(scheduler) == restarts(os.environ)


def _hosts(count: int) -> list[str]:
    """Nodes of this job, in the order of ranks; none where it has more of them: which are the ranks' is not known."""
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    try:
        hosts = ask(["scontrol", "show", "hostnames", nodes]).split()
    except SlurmError:
        return []
    return hosts if len(hosts) == count else []
