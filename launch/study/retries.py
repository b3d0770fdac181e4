"""What diverged is run again with other random numbers: the attempts that a plan has, given how stages ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from launch.study.plan import Plan
from trainers.stage import Stage
from trainers.store import Store


def with_retries(stages: Iterable[Stage], outcome: Callable[[str], str | None], retries: int) -> tuple[Stage, ...]:
    """The stages, each diverged one followed by its next attempt; children start from their parent's last attempt.

    What starts from an intermediate that diverged in every attempt counts for nothing, and is not retried.

    Args:
        stages: parents before children.
        outcome: how the stage of a key ended; None where it has not.
        retries: attempts after the first, at the most.
    """
    return tuple(stage for stage, _ in attempts(stages, outcome, retries))


def attempts(
    stages: Iterable[Stage], outcome: Callable[[str], str | None], retries: int
) -> Iterator[tuple[Stage, str]]:
    """What `with_retries` returns, each with the key of the stage that was planned in its place."""
    moved: dict[str, str] = {}
    seen: set[str] = set()
    for planned in stages:
        stage = planned
        if stage.parent in moved:
            stage = stage.model_copy(update={"parent": moved[stage.parent]})
        if stage.key not in seen:
            yield stage, planned.key
        seen.add(stage.key)
        granted = 0 if stage.parent and outcome(stage.parent) == "diverged" else retries
        while outcome(stage.key) == "diverged" and stage.retry < granted:
            stage = stage.model_copy(update={"retry": stage.retry + 1})
            if stage.key not in seen:
                yield stage, planned.key
            seen.add(stage.key)
        if stage.key != planned.key:
            moved[planned.key] = stage.key


def as_it_stands(plan: Plan, store: Store) -> Plan:
    """The plan with the attempts that its sweep grants to what has diverged in the store."""
    retries = plan.sweep.diverged.retries
    if not retries:
        return plan

    planned_for = list(attempts(plan.stages, store.outcome, retries))
    places = {stage.key: plan.place_of(key) for stage, key in planned_for}
    return replace(plan, stages=tuple(stage for stage, _ in planned_for), places=places)
