"""The `retain` command; what it does at first is in `launch.start_cli`, on a cluster in `launch.cluster_cli`, with
results in `launch.analysis_cli`.

Torch is imported only where a stage runs, so that everything else answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import tyro

from launch import agents_cli, analysis_cli, cluster_cli, start_cli, wandb_cli
from launch.commands import (
    Agents,
    Cancel,
    Check,
    Debug,
    Devcluster,
    Doctor,
    Fetch,
    Init,
    New,
    Plan,
    Power,
    Prune,
    Report,
    Retry,
    Run,
    Status,
    Submission,
    Submit,
    Tail,
    Verify,
    Wandb,
    Watch,
    Why,
)
from launch.loading import checked_plan, console, load, load_only, plain, planned, print_json, stage_of

if TYPE_CHECKING:
    from launch import plan as planning
    from trainers.data.mirror import Mirror
    from trainers.store import Store


def main() -> None:
    """Entry point of the `retain` command."""
    carried_out_by = actions()
    commands: dict[str, Callable[..., object]] = {command.__name__.lower(): command for command in carried_out_by}
    from slurm.client import SlurmError
    from trainers.files import StoreError

    try:
        chosen = tyro.extras.subcommand_cli_from_dict(
            commands, prog="retain", description="Sweeps over the scale of multilingual encoders: what is retained?"
        )
        code = carried_out_by[type(chosen)](chosen)
    except (StoreError, SlurmError, ValueError) as error:
        print(error, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # whoever reads has read enough, e.g. `| head`; at exit Python would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    raise SystemExit(code)


def actions() -> dict[type, Callable[..., int]]:
    """Every command, in the order of `--help`: its options, whose class it is named after, and what carries it out."""
    return {
        New: start_cli.new,
        Doctor: start_cli.doctor,
        Check: _check,
        Fetch: _fetch,
        Plan: _plan,
        Run: _run,
        Debug: _debug,
        Status: _status,
        Report: analysis_cli.report,
        Power: analysis_cli.power,
        Verify: analysis_cli.verify,
        Submission: analysis_cli.submission,
        Wandb: wandb_cli.wandb,
        Agents: agents_cli.agents,
        Init: cluster_cli.init,
        Submit: cluster_cli.submit,
        Watch: cluster_cli.watch,
        Why: cluster_cli.why,
        Tail: cluster_cli.tail,
        Cancel: cluster_cli.cancel,
        Retry: cluster_cli.retry,
        Prune: cluster_cli.prune,
        Devcluster: cluster_cli.devcluster,
    }


def _check(chosen: Check) -> int:
    from launch.check import check

    screen = console()
    sweep, mirror = load(chosen)
    findings = check(sweep, mirror)
    if chosen.json:
        stages = len(findings.plan.stages) if findings.plan else None
        print_json({"problems": findings.problems, "notes": findings.notes, "stages": stages})
        return 2 if findings.problems else 0
    for problem in findings.problems:
        screen.print(f"[bold red]problem[/]  {plain(problem)}", soft_wrap=True)
    for note in findings.notes:
        screen.print(f"[yellow]note[/]     {plain(note)}", soft_wrap=True)
    if findings.problems:
        screen.print(f"{len(findings.problems)} problem(s); nothing was run")
        return 2
    assert findings.plan is not None
    screen.print(f"[green]ready[/]    {len(findings.plan.stages)} stages, no problems")
    return 0


def _fetch(chosen: Fetch) -> int:
    from launch.fetch import fetch
    from launch.sweep import SweepError

    revisions = dict(word.partition("=")[::2] for word in chosen.revision)
    if wrong := [name for name, revision in revisions.items() if "/" not in name or not revision]:
        raise SweepError(f"--revision {wrong[0]}: expected <hub id>=<revision>, e.g. facebook/xlm-roberta-xl=refs/pr/1")
    problems = fetch(load_only(chosen), console(), chosen.again, revisions)
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def _plan(chosen: Plan) -> int:
    from launch import overview
    from launch.costs import predict
    from trainers.store import Store

    sweep, mirror = load(chosen)
    plan, store = planned(sweep), Store(sweep.store)
    if chosen.budget is not None:
        return _budget(chosen, plan, store, mirror)
    if chosen.json and chosen.cluster is None:
        print_json(
            [
                {"key": stage.key, "done": store.entry(stage.key).done, **stage.model_dump(mode="json")}
                for stage in plan.stages
            ]
        )
        return 0
    screen = console()
    if chosen.cluster is None:
        overview.show(plan, store, predict(plan, store, mirror), screen, chosen.stages)
        return 0
    from launch import forecast
    from slurm.profile import load_profile

    profile = load_profile(chosen.cluster)
    if chosen.json:
        print_json([one.facts for one in forecast.forecast(plan, mirror, profile)])
        return 0
    overview.show(plan, store, forecast.on_one_gpu(plan, store, mirror, profile), screen, chosen.stages, "GPU")
    forecast.show(plan, mirror, profile, screen)
    return 0


def _budget(chosen: Plan, plan: planning.Plan, store: Store, mirror: Mirror) -> int:
    from launch import budget, forecast, overview
    from launch.costs import predict
    from slurm.profile import load_profile

    assert chosen.budget is not None
    if chosen.cluster is None:
        prediction = predict(plan, store, mirror)
    else:
        prediction = forecast.on_one_gpu(plan, store, mirror, load_profile(chosen.cluster))
    hours = {key: seconds / 3600 for key, seconds in prediction.seconds.items()}
    sizes = {name: scale.shape.non_embedding_parameters for name, scale in plan.scales.items()}
    found = budget.cells(plan)
    bought = budget.in_order(found, sizes, hours, chosen.budget)
    if chosen.json:
        print_json(
            [
                {"cell": one.cell.label, "stages": one.cell.stages, "bits": one.bits, "hours": one.hours}
                for one in bought
            ]
        )
        return 0
    unit = "CPU" if chosen.cluster is None else "GPU"
    overview.show_budget(found, bought, hours, console(), chosen.budget, unit, everything=chosen.stages)
    return 0


def _run(chosen: Run) -> int:
    from launch import status
    from launch.local import run_local

    screen = console()
    sweep, mirror = load(chosen)
    plan = checked_plan(sweep, mirror)
    statuses = cluster_cli.run_steps(chosen, plan, mirror) if chosen.steps else run_local(plan, mirror, screen)
    for one in statuses:
        if one.state in ("failed", "blocked", "interrupted"):
            screen.print(f"{one.state}  {one.stage.key}  {one.stage.label}  {plain(one.detail)}", soft_wrap=True)
    screen.print(status.summary_line(statuses))
    return 0 if all(one.state in status.SETTLED for one in statuses) else 1


def _debug(chosen: Debug) -> int:
    from launch.bundles import bundle_of
    from launch.job import StopFlag, stay_offline
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


def _status(chosen: Status) -> int:
    import time

    from launch import status
    from launch.operate import queue_of
    from launch.retries import as_it_stands
    from trainers.store import Store

    sweep, _ = load(chosen)
    plan, store, screen = planned(sweep), Store(sweep.store), console()
    settled: dict[str, status.StageStatus] = {}

    def look() -> list[status.StageStatus]:
        return status.survey(as_it_stands(plan, store), store, settled, queue_of(store.root, screen))

    statuses = look()
    if chosen.json:
        print_json([one.facts for one in statuses])
        return 0
    if not chosen.watch:
        screen.print(status.table(statuses, sweep.name))
        return 0
    from rich.live import Live

    with Live(status.table(statuses, sweep.name, everything=False), console=screen) as live:
        while any(one.state in ("running", "queued", "waiting") for one in statuses):
            time.sleep(1)
            statuses = look()
            live.update(status.table(statuses, sweep.name, everything=False))
    return 0


if __name__ == "__main__":
    main()
