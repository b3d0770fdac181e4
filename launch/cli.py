"""The `retain` command: check, fetch, plan, run, debug, status, report, verify, submission.

Torch is imported only where a stage runs, so that everything else answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import tyro

from launch.commands import Check, Common, Debug, Fetch, Plan, Report, Run, Status, Submission, Verify


def main() -> None:
    """Entry point of the `retain` command."""
    commands: dict[str, Callable[..., Common]] = {
        "check": Check,
        "fetch": Fetch,
        "plan": Plan,
        "run": Run,
        "debug": Debug,
        "status": Status,
        "report": Report,
        "verify": Verify,
        "submission": Submission,
    }
    chosen = tyro.extras.subcommand_cli_from_dict(
        commands, prog="retain", description="Sweeps over the scale of multilingual encoders: what is retained?"
    )
    actions: dict[type, Callable[..., int]] = {
        Check: _check,
        Fetch: _fetch,
        Plan: _plan,
        Run: _run,
        Debug: _debug,
        Status: _status,
        Report: _report,
        Verify: _verify,
        Submission: _submission,
    }
    from launch.sweep import SweepError
    from trainers.files import StoreError

    try:
        code = actions[type(chosen)](chosen)
    except (SweepError, StoreError, ValueError) as error:
        print(error, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


def _sweep(chosen: Common):
    """The sweep with the command line's changes."""
    from launch.sweep import load_sweep

    encoders = tuple(str(folder) for folder in chosen.encoder) or None
    return load_sweep(chosen.sweep, mirror=chosen.mirror, scales=encoders, store=chosen.store)


def _load(chosen: Common):
    """The sweep with the command line's changes, and its mirror; the sandbox's is made at first use."""
    from launch.plan import mirror_of

    sweep = _sweep(chosen)
    if sweep.mirror is None:
        from trainers.data.sandbox import write_mirror

        write_mirror(mirror_of(sweep).root)
    return sweep, mirror_of(sweep)


def _console():
    from rich.console import Console

    return Console(highlight=False)


def _checked_plan(sweep, mirror):
    """The plan of a sweep without problems.

    Raises:
        SweepError: all the problems.
    """
    from launch.check import check
    from launch.sweep import SweepError

    findings = check(sweep, mirror)
    if findings.problems or findings.plan is None:
        raise SweepError("\n".join(findings.problems))
    return findings.plan


def _check(chosen: Check) -> int:
    from launch.check import check

    console = _console()
    sweep, mirror = _load(chosen)
    findings = check(sweep, mirror)
    for problem in findings.problems:
        console.print(f"[bold red]problem[/]  {_plain(problem)}", soft_wrap=True)
    for note in findings.notes:
        console.print(f"[yellow]note[/]     {_plain(note)}", soft_wrap=True)
    if findings.problems:
        console.print(f"{len(findings.problems)} problem(s); nothing was run")
        return 2
    assert findings.plan is not None
    console.print(f"[green]ready[/]    {len(findings.plan.stages)} stages, no problems")
    return 0


def _fetch(chosen: Fetch) -> int:
    from launch.fetch import fetch
    from launch.sweep import SweepError

    revisions = dict(word.partition("=")[::2] for word in chosen.revision)
    if wrong := [name for name, revision in revisions.items() if "/" not in name or not revision]:
        raise SweepError(f"--revision {wrong[0]}: expected <hub id>=<revision>, e.g. facebook/xlm-roberta-xl=refs/pr/1")
    problems = fetch(_sweep(chosen), _console(), chosen.again, revisions)
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def _plan(chosen: Plan) -> int:
    from launch import overview
    from launch.costs import predict
    from launch.plan import make_plan
    from trainers.store import Store

    sweep, mirror = _load(chosen)
    plan, store = make_plan(sweep), Store(sweep.store)
    if chosen.json:
        print(
            json.dumps(
                [
                    {"key": stage.key, "done": store.entry(stage.key).done, **stage.model_dump(mode="json")}
                    for stage in plan.stages
                ]
            )
        )
        return 0
    overview.show(plan, store, predict(plan, store, mirror), _console(), chosen.stages)
    return 0


def _run(chosen: Run) -> int:
    from launch import status
    from launch.local import run_local

    console = _console()
    sweep, mirror = _load(chosen)
    statuses = run_local(_checked_plan(sweep, mirror), mirror, console)
    for one in statuses:
        if one.state in ("failed", "blocked", "interrupted"):
            console.print(f"{one.state}  {one.stage.key}  {one.stage.label}  {_plain(one.detail)}", soft_wrap=True)
    console.print(status.summary_line(statuses))
    return 0 if all(one.state in status.SETTLED for one in statuses) else 1


def _debug(chosen: Debug) -> int:
    from launch.bundles import Bundle
    from launch.job import StopFlag, stay_offline
    from launch.sweep import SweepError
    from trainers.store import Store

    sweep, mirror = _load(chosen)
    plan = _checked_plan(sweep, mirror)
    matches = [stage for stage in plan.stages if chosen.stage and stage.key.startswith(chosen.stage)]
    if len(matches) != 1:
        raise SweepError(
            f"--stage {chosen.stage!r} names {len(matches)} stages of this sweep; give the key of one "
            "(see `retain plan --stages`)"
        )
    stay_offline()
    from trainers.run import Context, run

    bundle = Bundle(
        store=sweep.store.resolve(),
        mirror=mirror.root.resolve(),
        execution=sweep.execution,
        tracking=sweep.tracking.model_copy(update={"group": sweep.name}),
        stages=tuple(matches),
    )
    context = Context(Store(bundle.store), mirror, bundle.execution, bundle.tracking, StopFlag().listen(), job="debug")
    outcome = run(matches[0], context)
    print(f"{matches[0].key}  {matches[0].label}  {outcome}")
    return 0 if outcome == "completed" else 1


def _status(chosen: Status) -> int:
    import time

    from launch import status
    from launch.plan import make_plan
    from trainers.store import Store

    sweep, _ = _load(chosen)
    plan, store, console = make_plan(sweep), Store(sweep.store), _console()
    settled: dict[str, status.StageStatus] = {}
    statuses = status.survey(plan, store, settled)
    if chosen.json:
        print(
            json.dumps(
                [
                    {"key": one.stage.key, "stage": one.stage.label, "state": one.state, "detail": one.detail}
                    for one in statuses
                ]
            )
        )
        return 0
    if not chosen.watch:
        console.print(status.table(statuses, sweep.name))
        return 0
    from rich.live import Live

    with Live(status.table(statuses, sweep.name, everything=False), console=console) as live:
        while any(one.state in ("running", "waiting") for one in statuses):
            time.sleep(1)
            statuses = status.survey(plan, store, settled)
            live.update(status.table(statuses, sweep.name, everything=False))
    return 0


def _report(chosen: Report) -> int:
    import os

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the bootstrap's products are small: threads only get in their way
    from analysis.report import write_report
    from launch.plan import make_plan

    sweep, _ = _load(chosen)
    stages = make_plan(sweep).stages
    out = chosen.out or sweep.store / "report"
    keys, depth = [stage.key for stage in stages], sweep.evaluation.retrieval_depth
    page = write_report(sweep.store, keys, out, sweep.name, planned=stages, retrieval_depth=depth)
    print(f"report  {page}")
    for figure in sorted((out / "figures").glob("*.png")):
        print(f"figure  {figure}")
    return 0


def _verify(chosen: Verify) -> int:
    from analysis.verify import summary, verdict_table, verify
    from launch.plan import make_plan

    sweep, _ = _load(chosen)
    console = _console()
    verdicts = verify(sweep.store, make_plan(sweep).stages, sweep.evaluation.retrieval_depth)
    console.print(verdict_table(verdicts, sweep.name))
    console.print(summary(verdicts))
    return int(any(verdict.word == "outside" for verdict in verdicts))


def _submission(chosen: Submission) -> int:
    from analysis.submission import choose_arm, write_submission
    from analysis.xtreme import compared_layer
    from launch.plan import make_plan
    from trainers.store import Store

    sweep, mirror = _load(chosen)
    plan = make_plan(sweep)
    arm = choose_arm(plan.stages, chosen.scale, chosen.intermediate, chosen.seed, chosen.settings)
    layer = chosen.layer
    if layer is None:
        layer = compared_layer(sweep.evaluation.retrieval_depth, plan.scales[arm.scale].shape.layers)
    written = write_submission(Store(sweep.store), mirror, arm, chosen.out, layer=layer, partial=chosen.partial)
    for line in (*(f"missing  {gap}" for gap in written.gaps), *(f"note     {note}" for note in written.notes)):
        print(line)
    print(f"wrote    {len(written.files)} files of {arm.name} to {chosen.out}")
    return 0


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
