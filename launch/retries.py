"""What diverged is run again with other random numbers: the attempts that a plan has, given how stages ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from launch.plan import Plan
from trainers.stage import Stage
from trainers.store import Store


def with_retries(stages: Iterable[Stage], outcome: Callable[[str], str | None], retries: int) -> tuple[Stage, ...]:
    """The stages, each diverged one followed by its next attempt; children start from their parent's last attempt.

    Args:
        stages: parents before children.
        outcome: how the stage of a key ended; None where it has not.
        retries: attempts after the first, at the most.
    """
    found: dict[str, Stage] = {}
    moved: dict[str, str] = {}
    for planned in stages:
        stage = planned
        if stage.parent in moved:
            stage = stage.model_copy(update={"parent": moved[stage.parent]})
        found[stage.key] = stage
        while outcome(stage.key) == "diverged" and stage.retry < retries:
            stage = stage.model_copy(update={"retry": stage.retry + 1})
            found[stage.key] = stage
        if stage.key != planned.key:
            moved[planned.key] = stage.key
    return tuple(found.values())


def as_it_stands(plan: Plan, store: Store) -> Plan:
    """The plan with the attempts that its sweep grants to what has diverged in the store."""
    retries = plan.sweep.diverged.retries
    if not retries:
        return plan

    def outcome(key: str) -> str | None:
        result = store.entry(key).result
        return result["outcome"] if result else None

    return replace(plan, stages=with_retries(plan.stages, outcome, retries))
