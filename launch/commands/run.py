"""The commands that run a sweep on this machine, and show how far it is: run, debug, status."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch.commands.cluster import Submit
from launch.commands.common import Common, checked_plan, console, load, plain, planned, print_json, show_live, stage_of

if TYPE_CHECKING:
    from launch.status import StageStatus
    from launch.study.plan import Plan
    from trainers.data.mirror import Mirror


@dataclass
class Run(Common):
    """Run what is missing on this machine, with as many stages at once as fit."""

    steps: bool = False
    """Inside a SLURM allocation: run bundles as job steps on all of its nodes (see slurm/sweep.sbatch)."""
    cluster: Path | None = None
    """With `--steps`: place stages by this file, as `retain submit` would.  None is cluster.yaml; if that does not
    exist, each stage takes one task."""


def run(chosen: Run) -> int:
    from launch import status
    from launch.local import run_local

    screen = console()
    sweep, mirror = load(chosen)
    plan = checked_plan(sweep, mirror)
    statuses = run_steps(chosen, plan, mirror) if chosen.steps else run_local(plan, mirror, screen)
    for progress in statuses:
        if progress.state in ("failed", "blocked", "interrupted"):
            screen.print(
                f"{progress.state}  {progress.stage.key}  {progress.stage.label}  {plain(progress.detail)}",
                soft_wrap=True,
            )
    screen.print(status.summary_line(statuses))
    return 0 if all(progress.state in status.SETTLED for progress in statuses) else 1


def run_steps(chosen: Run, plan: Plan, mirror: Mirror) -> list[StageStatus]:
    """The sweep inside this allocation, placed as `retain submit` would place it."""
    from launch.estimate.placement import placements
    from launch.submit.allocation import Allocation, Steps
    from slurm.profile import load_profile

    allocation = Allocation.of(os.environ)
    file = chosen.cluster or (Submit.cluster if Submit.cluster.exists() else None)
    profile = load_profile(file) if file else allocation.profile
    placed = placements(plan, profile)
    for scale, placement in placed.items():
        print(f"placed   {scale}: {placement.why}", flush=True)
    allocation.check(placed)
    return Steps(plan, mirror, profile, placed, allocation).run()


@dataclass
class Debug(Common):
    """Run one stage in this process, so that breakpoints work."""

    stage: str = ""
    """Key of the stage, or its first digits (see `retain plan --stages`)."""


def debug(chosen: Debug) -> int:
    from launch.job.bundle import bundle_of
    from launch.job.rank import StopFlag, stay_offline
    from trainers.store import Store

    sweep, mirror = load(chosen)
    plan = checked_plan(sweep, mirror)
    stage = stage_of(plan.stages, chosen.stage)
    stay_offline()
    from trainers.run import Context, run

    bundle = bundle_of(plan, mirror, (stage,), sweep.execution)
    context = Context(Store(bundle.store), mirror, bundle.execution, bundle.tracking, StopFlag().listen(), job="debug")
    outcome = run(stage, context)
    print(f"{stage.key}  {stage.label}  {outcome}")
    return 0 if outcome == "completed" else 1


@dataclass
class Status(Common):
    """Show which stages are done, running, waiting or failed, and why."""

    watch: bool = False
    """Update the view until every stage has ended."""
    json: bool = False
    """Print the states as JSON."""


def status(chosen: Status) -> int:
    from launch import status
    from launch.story import queue_of
    from launch.study.retries import as_it_stands
    from trainers.store import Store

    sweep, _ = load(chosen)
    plan, store, screen = planned(sweep), Store(sweep.store), console()
    settled: dict[str, status.StageStatus] = {}

    def look() -> list[status.StageStatus]:
        return status.survey(as_it_stands(plan, store), store, settled, queue_of(store.root, screen))

    if chosen.json:
        print_json([progress.facts for progress in look()])
        return 0
    if not chosen.watch:
        screen.print(status.table(look(), sweep.name))
        return 0
    show_live(screen, sweep.name, look, unfinished=("running", "queued", "waiting"), every_s=1)
    return 0
