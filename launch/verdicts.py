"""Verdicts: why a job with a stage ended, and what was decided.

They are in the stage's own log, whichever array, agent or sweep the job belonged to.  So failures in a row go on being
counted when the stage is sent again, until `retain retry`.
"""

from __future__ import annotations

from slurm.failures.decide import Decision, ExitRecord
from trainers.stage import Frozen
from trainers.store import EventLog, StageEntry


class Verdict(Frozen):
    """The end of one job, and what to do now."""

    record: ExitRecord
    decision: Decision


def write_verdict(entry: StageEntry, verdict: Verdict) -> None:
    """Write it down.

    Raises:
        StoreError, OSError: the store cannot be written.
    """
    log = EventLog(entry)
    log.write("judged", **verdict.model_dump(mode="json"))
    log.close()


def verdict_of(event: dict) -> Verdict:
    """From a line of the log."""
    return Verdict(record=event["record"], decision=event["decision"])


def verdicts(entry: StageEntry) -> list[Verdict]:
    """All since the stage was last let run again, oldest first."""
    events = entry.events("judged", "retry")
    first = max((i + 1 for i, event in enumerate(events) if event["event"] == "retry"), default=0)
    return [verdict_of(event) for event in events[first:]]


def newest_verdict(entry: StageEntry) -> Verdict | None:
    return next(reversed(verdicts(entry)), None)
