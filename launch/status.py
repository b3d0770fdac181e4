"""What ran, runs, waits, failed and why: read from the store, and from one look at the queue where there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from launch.study.plan import Plan
from launch.verdicts import verdict_of
from slurm.commands import QueuedJob
from trainers.stage import Stage
from trainers.store import StageEntry, Store

STATES = ("completed", "diverged", "running", "queued", "waiting", "interrupted", "failed", "blocked")
SETTLED = ("completed", "diverged")
STYLES = {
    "completed": "green",
    "diverged": "magenta",
    "running": "cyan",
    "queued": "blue",
    "waiting": "dim",
    "interrupted": "yellow",
    "failed": "bold red",
    "blocked": "red",
}
FAILURES = ("bad_data", "out_of_memory", "crash")
"""Ends that a stage's own log tells of."""


@dataclass(frozen=True)
class StageStatus:
    """One stage now."""

    stage: Stage
    state: str
    detail: str = ""
    """Progress of a running stage, or why one failed."""
    step: int = 0
    """Optimizer steps that a running or interrupted one has taken."""
    seconds: float = 0.0
    """What a settled one took."""

    @property
    def facts(self) -> dict[str, str]:
        """For a program."""
        return {"key": self.stage.key, "stage": self.stage.label, "state": self.state, "detail": self.detail}


def survey(
    plan: Plan,
    store: Store,
    settled: dict[str, StageStatus] | None = None,
    queued: Mapping[str, QueuedJob] | None = None,
) -> list[StageStatus]:
    """The state of every stage of a plan, in the plan's order.

    Args:
        settled: remembers stages with a result, so that a caller who asks again and again reads each only once.
        queued: for each stage that is in the queue of a cluster, its job; None where no queue could be asked.
    """
    settled = {} if settled is None else settled
    by_key: dict[str, StageStatus] = {}
    for stage in plan.stages:
        status = settled.get(stage.key)
        if status is None:
            job = queued.get(plan.place_of(stage.key)) if queued else None
            parent = by_key.get(stage.parent) if stage.parent else None
            status = _status(stage, store.entry(stage.key), parent, job, queued is not None)
        if status.state in SETTLED:
            settled[stage.key] = status
        by_key[stage.key] = status
    return list(by_key.values())


def _status(
    stage: Stage, entry: StageEntry, parent: StageStatus | None, job: QueuedJob | None, asked: bool
) -> StageStatus:
    """The first state that holds.

    Args:
        parent: of the stage that this one starts from.
        job: the one in the queue that holds the stage.
        asked: whether the queue could be asked at all.
    """
    if (result := entry.result) is not None:
        seconds = sum(result["seconds"].values())
        return StageStatus(stage, result["outcome"], result["evidence"] or f"{seconds:.0f} s", seconds=seconds)
    begun = entry.folder.is_dir()
    last = since_last_attempt(entry) if begun else {}
    number = last["step"]["step"] if "step" in last else 0
    step = f"step {number}, loss {last['step']['loss']:.3f}" if number else "starting"

    def runs(owner: Mapping[str, Any]) -> bool | None:
        """Whether the cluster's job that holds the stage still runs; None of any other holder."""
        return job is not None and job.active if asked and owner.get("scheduler") else None

    if begun and entry.claimant(runs):
        return StageStatus(stage, "running", step, number)
    why = failure(last)
    interrupted = ""
    if last and not why and "retry" not in last:
        interrupted = f"{_end(last)} at {step}; resumes when run again"
    if job is not None:
        return StageStatus(stage, "queued", _place(job, interrupted))
    if why:
        return StageStatus(stage, "failed", why)
    if interrupted:
        return StageStatus(stage, "interrupted", interrupted, number)
    if parent is not None and parent.state in ("failed", "blocked"):
        return StageStatus(stage, "blocked", f"needs {parent.stage.label}, which {parent.state}")
    return StageStatus(stage, "waiting", "to be retried" if "retry" in last else "")


def _place(job: QueuedJob, interrupted: str) -> str:
    """Where in the queue a stage is, and what there is of it already."""
    soon = job.state == "RUNNING"  # an earlier stage of its bundle runs
    words = "its turn comes in" if soon else f"{job.state.lower()}: {job.reason.strip('()')},"
    if job.launch_failed:
        words = "held by SLURM, a node could not start it: `retain submit` releases it,"
    return f"{words} job {job.job_id}" + (f"; {interrupted}" if interrupted else "")


def since_last_attempt(entry: StageEntry) -> dict[str, dict[str, Any]]:
    """The last event of each kind since a stage was last begun or let run again."""
    tail = entry.last_events()
    first = max((i for i, event in enumerate(tail) if event["event"] in ("attempt", "retry")), default=0)
    return {event["event"]: event for event in tail[first:]}


def failure(last: Mapping[str, dict[str, Any]]) -> str | None:
    """Why a stage is left to a person: by the verdict on its job, or its own word where no job was judged.

    Args:
        last: of `since_last_attempt`.
    """
    if "judged" in last:
        decision = verdict_of(last["judged"]).decision
        return f"{decision.cause}: {decision.because}" if decision.failed else None
    ended = last.get("ended")
    return f"{ended['outcome']}: {ended['evidence']}" if ended and ended["outcome"] in FAILURES else None


def _end(last: Mapping[str, dict[str, Any]]) -> str:
    """What interrupted a stage, in a word."""
    if "judged" in last:
        return verdict_of(last["judged"]).decision.cause.replace("_", " ")
    return str(last["ended"]["outcome"]) if "ended" in last else "killed"


def summary_line(statuses: list[StageStatus]) -> str:
    """E.g. `81 stages: 40 completed, 2 running, 39 waiting`."""
    by_state = Counter(status.state for status in statuses)
    return f"{len(statuses)} stages: " + ", ".join(f"{by_state[state]} {state}" for state in STATES if by_state[state])


def table(statuses: list[StageStatus], sweep: str, everything: bool = True) -> Table:
    """A table for a terminal; without `everything` only what runs or failed."""
    shown = Table(title=f"{sweep} — {summary_line(statuses)}", title_justify="left", title_style="bold")
    for column in ("key", "stage", "state", "detail"):
        shown.add_column(column, no_wrap=column in ("key", "state"))
    for status in statuses:
        if everything or status.state in ("running", "failed", "interrupted", "diverged"):
            style = STYLES[status.state]
            shown.add_row(status.stage.key, status.stage.label, f"[{style}]{status.state}[/]", _escaped(status.detail))
    return shown


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
