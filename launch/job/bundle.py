"""Bundles: the stages that one job runs one after another in one warm process group."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.study.plan import Plan
from launch.study.retries import with_retries
from slurm.sizing.memory import Placement
from trainers.data.mirror import Mirror
from trainers.stage import Execution, Frozen, Stage
from trainers.store import Store
from trainers.store.files import write_atomically
from trainers.store.tracking import Tracking


class Bundle(Frozen):
    """All that a job needs to know, as one JSON file; ranks, agents and debuggers read the same."""

    store: Path
    mirror: Path
    execution: Execution
    tracking: Tracking
    stages: tuple[Stage, ...]
    others: tuple[Stage, ...] = ()
    """Stages of the other bundles: when this one is done, its job begins those that no other job has begun."""
    scratch: str | None = None
    """Node-local folder for the caches of compilers and libraries; environment variables are filled in there."""
    gpus_per_node: int = 0
    """GPUs that the job was given on each of its nodes."""
    retries: int = 0
    """Of a stage that diverges (`launch.study.retries`)."""

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.model_dump_json(indent=1))

    def with_micro_batches(self, factor: float) -> Bundle:
        """The same work in micro-batches of `factor` times the tokens: less memory, equal gradients."""
        tokens = max(1, int(self.execution.micro_batch_tokens * factor))
        execution = self.execution.model_copy(update={"micro_batch_tokens": tokens})
        return self.model_copy(update={"execution": execution})

    @classmethod
    def load(cls, path: Path) -> Bundle:
        return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))


def bundle_of(plan: Plan, mirror: Mirror, stages: tuple[Stage, ...], execution: Execution, **where: Any) -> Bundle:
    """A bundle of a plan's stages; `where` are fields of `Bundle` about the machine."""
    sweep = plan.sweep
    return Bundle(
        store=sweep.store.resolve(),
        mirror=mirror.root.resolve(),
        stages=stages,
        retries=sweep.diverged.retries,
        execution=execution,
        tracking=sweep.tracking.model_copy(update={"group": sweep.name}),
        **where,
    )


def execution_at(execution: Execution, placement: Placement) -> Execution:
    """How a stage is carried out where it is placed."""
    return execution.model_copy(
        update={
            "zero_stage": placement.zero_stage,
            "offload": placement.offload,
            "activation_checkpointing": placement.activation_checkpointing,
            "graphs": execution.graphs and placement.graphs,
            "micro_batch_tokens": placement.micro_batch_tokens or execution.micro_batch_tokens,
        }
    )


def stages_in(bundle: Bundle, store: Store, outcome: Callable[[str], str | None]) -> list[Stage]:
    """The bundle's stages, with the retries of those that have diverged so far; parents first.

    Args:
        outcome: how the stage of a key ended; None where it has not.
    """
    # What it starts from may have been run again by another job.
    parents = {stage.parent for stage in bundle.stages} - {stage.key for stage in bundle.stages} - {None}
    before_us = [store.entry(key).stage for key in sorted(filter(None, parents))] if bundle.retries else []
    done_before = with_retries(before_us, outcome, bundle.retries)
    return list(with_retries((*before_us, *bundle.stages), outcome, bundle.retries)[len(done_before) :])


@dataclass(frozen=True)
class Chain:
    """Stages that belong together: an intermediate and all that starts from it, or one seed's baseline arm."""

    stages: tuple[Stage, ...]
    seconds: float


def chains(plan: Plan, seconds: dict[str, float]) -> list[Chain]:
    """The unfinished stages of a plan, grouped by the encoder that they start from.

    Args:
        seconds: predicted time of each unfinished stage, by key; stages not in it are done.
    """
    groups: dict[tuple, list[Stage]] = {}
    for stage in plan.stages:  # parents first, so each group is in order
        if stage.key in seconds:
            start = stage.key if stage.kind == "intermediate" else stage.parent
            groups.setdefault((start,) if start else (stage.scale.fingerprint, stage.seed), []).append(stage)
    return [Chain(tuple(stages), sum(seconds[stage.key] for stage in stages)) for stages in groups.values()]


def side_by_side(work: Iterable[Chain], count: int) -> list[tuple[Stage, ...]]:
    """Deal chains into at most `count` bundles of about equal time: the longest first, to the least loaded."""
    loads: list[tuple[float, list[Stage]]] = [(0.0, []) for _ in range(count)]
    for chain in sorted(work, key=lambda chain: -chain.seconds):
        least = min(range(count), key=lambda i: loads[i][0])
        loads[least][1].extend(chain.stages)
        loads[least] = (loads[least][0] + chain.seconds, loads[least][1])
    return [tuple(stages) for _, stages in loads if stages]
