"""What to do after a job has ended: run it again, with what changed, or stop and show.

    decision = decide(record, earlier_records)

A pure function of the exit records of one unit of work; who carries it out logs `decision.because`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from slurm.failures.causes import Cause, clean, excerpt

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=255)]
"""A node's name; it goes into SLURM's `--exclude`."""
Evidence = Annotated[str, AfterValidator(lambda text: excerpt(clean(text)))]

CLUSTERS_FAULTS = (Cause.NODE_FAILURE, Cause.COMMUNICATION, Cause.STORAGE)


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class ExitRecord(_Frozen):
    """Why one job (attempt) ended."""

    cause: Cause
    evidence: Evidence
    """The line that tells: at most 300 characters, secrets masked."""
    hosts: tuple[Host, ...] = ()
    """The node at fault after a node failure; otherwise all nodes of the job."""
    exit_code: int | None = None
    signal: int | None = None
    slurm_state: str | None = None
    steps_gained: int = Field(default=0, ge=0)
    """Optimizer steps by which the last whole checkpoint is further than when the job began: its progress."""
    ended_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class Policy(_Frozen):
    """How often what is tried again."""

    cluster_faults: int = Field(default=3, ge=0)
    """Requeues in a row, without progress between, after a node's failure, lost communication or lost storage."""
    halvings: int = Field(default=3, ge=0)
    """How often the micro-batch is halved when memory runs out; the optimizer's batch and the losses stay."""
    kills: int = Field(default=3, ge=0)
    """Retries in a row, without progress between, after a kill that nobody explains."""
    unknown: int = Field(default=1, ge=0)
    """Retries in a row, without progress between, after an end that nothing explains."""


class Decision(_Frozen):
    """What to do with the work whose job has ended."""

    cause: Cause
    """Why the last job ended."""
    action: Literal["retry", "requeue", "stop"]
    """Retry: its own failure, tried again.  Requeue: the cluster's doing.  Stop: leave it to a person."""
    because: str
    """One sentence with the evidence, for the log."""
    exclude_nodes: tuple[Host, ...] = ()
    """All nodes that the next job must not run on."""
    micro_batch_factor: float = 1.0
    """What the next job multiplies its planned micro-batch by."""

    @property
    def failed(self) -> bool:
        """Whether the work has failed: what a person cancelled may simply be sent again."""
        return self.action == "stop" and self.cause not in (Cause.COMPLETED, Cause.CANCELLED)


def decide(record: ExitRecord, history: Sequence[ExitRecord] = (), policy: Policy | None = None) -> Decision:
    """What to do after `record`.

    Args:
        record: the end of the last job.
        history: the ends of all jobs before it, oldest first.
    """
    policy = policy or Policy()
    records = [*history, record]
    action, why = _verdict(record, records, policy)
    halvings = sum(each.cause == Cause.OUT_OF_MEMORY for each in records)
    return Decision(
        cause=record.cause,
        action=action,
        because=f"{why} Evidence: {record.evidence}",
        exclude_nodes=_suspects(records),
        micro_batch_factor=0.5 ** min(halvings, policy.halvings),
    )


def _verdict(
    record: ExitRecord, records: list[ExitRecord], policy: Policy
) -> tuple[Literal["retry", "requeue", "stop"], str]:
    cause, where = record.cause, f" on {', '.join(record.hosts)}" if record.hosts else ""
    if cause == Cause.PREEMPTED:
        return "requeue", "Preempted: requeued for free."
    if cause == Cause.TIMEOUT:
        if record.steps_gained:
            return "requeue", f"Out of time after {record.steps_gained} more steps: requeued to resume from there."
        return "stop", "Out of time without progress: it cannot reach a checkpoint within the limit; give it more time."
    if cause in CLUSTERS_FAULTS:
        count = _in_a_row(records, *CLUSTERS_FAULTS)
        what = f"{cause.value.replace('_', ' ').capitalize()}{where}"
        if count <= policy.cluster_faults:
            return "requeue", f"{what}: requeued for free ({count} of {policy.cluster_faults} in a row)."
        return "stop", f"{what}: {count} in a row without progress."
    if cause == Cause.KILLED:
        count = _in_a_row(records, cause)
        if count <= policy.kills:
            return "retry", f"Killed{where}: retried ({count} of {policy.kills} in a row)."
        return "stop", f"Killed{where}: {count} times in a row without progress; is the host's memory too small?"
    if cause == Cause.OUT_OF_MEMORY:
        count = sum(each.cause == cause for each in records)
        if count <= policy.halvings:
            return "retry", f"Out of memory{where}: retried with 1/{2**count} of the micro-batch."
        return "stop", f"Out of memory{where} even with 1/{2**policy.halvings} of the micro-batch."
    if cause == Cause.UNKNOWN:
        count = _in_a_row(records, cause)
        if count <= policy.unknown:
            return "retry", f"It ended, and nothing known explains it: retried ({count} of {policy.unknown} in a row)."
    return "stop", STOPS[cause]


def _in_a_row(records: list[ExitRecord], *causes: Cause) -> int:
    """Ends of these causes since progress was last made; the newest is one of them, and counts in any case."""
    fruitless = takewhile(lambda each: not each.steps_gained, reversed(records))
    return max(1, sum(each.cause in causes for each in fruitless))


STOPS = {
    Cause.COMPLETED: "Completed.",
    Cause.CANCELLED: "A person cancelled it.",
    Cause.DIVERGED: "The training diverged: the same steps would diverge again.",
    Cause.BAD_DATA: "The data are not what was planned: fetch or repair them, then `retain retry`.",
    Cause.DISK_FULL: "The disk is full: free space, then `retain retry`.",
    Cause.CRASH: "An error in the code, which would occur again.",
    Cause.UNKNOWN: "It ended again, and nothing known explains it.",
}


def _suspects(records: list[ExitRecord]) -> tuple[str, ...]:
    """Nodes that failed; and nodes with which communication or storage was lost, if alone or more than once.

    Not all nodes of a job with lost communication: at most one is bad, and the cluster would be used up.
    """
    failed = {host for each in records if each.cause == Cause.NODE_FAILURE for host in each.hosts}
    lost = [each.hosts for each in records if each.cause in (Cause.COMMUNICATION, Cause.STORAGE)]
    alone = {hosts[0] for hosts in lost if len(set(hosts)) == 1}
    present = Counter(host for hosts in lost for host in set(hosts))
    again = {host for host, times in present.items() if times > 1}
    return tuple(sorted(failed | alone | again))
