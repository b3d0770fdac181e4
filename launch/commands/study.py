"""The commands before a sweep runs: new, doctor, check, fetch, plan."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from launch.commands.common import Common, console, load, load_only, plain, planned, print_json

if TYPE_CHECKING:
    from launch.estimate.costs import Prediction
    from launch.study import plan as planning

COLOURS = {"fine": "green", "note": "yellow", "problem": "bold red"}


@dataclass
class New:
    """Write a first sweep file and explain every field in it; in a terminal, ask for what no option gives."""

    out: Annotated[Path, tyro.conf.Positional] = Path("sweep.yaml")
    """The file to write, which also names the sweep; an existing file is never overwritten."""
    scales: tuple[str, ...] = ()
    """Encoders: base, large, xl, xxl, sandbox-s, sandbox-m, sandbox-l, hub ids or folders."""
    intermediates: tuple[str, ...] = ()
    """What phase 2 trains on; `none` is the baseline."""
    targets: tuple[str, ...] = ()
    """XTREME tasks."""
    seeds: tuple[int, ...] = ()
    """Seeds, the same for all arms; statistics need three or more."""
    mirror: Path | None = None
    """Folder of the data sets; the sandbox encoders need none."""
    store: Path | None = None
    """Folder of the results; None is `runs/<name>`."""
    ask: bool = True
    """Ask for what no option gives, if this is a terminal."""


def new(chosen: New) -> int:
    from launch.study import starter
    from launch.study.sweep import SweepError

    given = {name: value for name in (*starter.FIRST, "mirror", "store") if (value := getattr(chosen, name))}
    given["name"] = chosen.out.stem
    screen = console()
    if chosen.out.exists():
        raise SweepError(f"{chosen.out}: exists and is not overwritten; give another file name")
    if chosen.ask and sys.stdin.isatty():
        given = starter.ask(given, screen)
    sweep = starter.starter(given)
    try:
        with chosen.out.open("x", encoding="utf-8") as file:
            file.write(starter.text(sweep, f"retain check {shlex.quote(str(chosen.out))}"))
    except OSError as error:
        raise SweepError(f"{chosen.out}: cannot be written: {error.strerror}") from error
    grid = " × ".join(f"{len(getattr(sweep, name))} {name}" for name in starter.FIRST)
    screen.print(f"wrote    {plain(str(chosen.out))}: {grid}", soft_wrap=True)
    steps = ("fetch", "check", "plan", "run", "report") if sweep.mirror else ("check", "plan", "run", "report")
    for step in steps:
        screen.print(f"next     retain {step} {plain(shlex.quote(str(chosen.out)))}", soft_wrap=True)
    return 0


@dataclass
class Doctor:
    """Check what a sweep needs on this machine: packages, GPUs, disks, SLURM, W&B; and say what to do.

    Exit status 1 if there is a problem.
    """

    store: Path = Path("runs")
    """The folder of results; it need not exist yet."""
    json: bool = False
    """Print the findings as JSON."""


def doctor(chosen: Doctor) -> int:
    from launch.doctor import examine

    screen = console()
    findings = []
    for finding in examine(chosen.store):
        findings.append(finding)
        if not chosen.json:
            colour = COLOURS[finding.verdict]
            screen.print(
                f"[{colour}]{finding.verdict:<8}[/] {finding.subject:<11} {plain(finding.found)}", soft_wrap=True
            )
            if finding.advice:
                screen.print(f"{'':<20} → {plain(finding.advice)}", soft_wrap=True)
    if chosen.json:
        print_json(findings)
    return int(any(finding.verdict == "problem" for finding in findings))


@dataclass
class Check(Common):
    """List every problem of the sweep, its data and its encoders, before anything runs."""

    json: bool = False
    """Print the findings as JSON."""


def check(chosen: Check) -> int:
    from launch.study.check import check

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


@dataclass
class Fetch(Common):
    """Download the data sets and encoders that the sweep needs from the hub into its mirror (needs a network).

    You can always repeat it: files that are there are checked and not fetched again.  Repositories are pinned to the
    commit of their first fetch (`<mirror>/fetched.json`).  Exit status 1 if something could not be fetched.
    """

    again: bool = False
    """Replace files that have changed since they were fetched, or that this command did not fetch."""
    revision: tuple[str, ...] = ()
    """Read a repository at this commit, tag, branch or pull request: `<hub id>=<revision>`, e.g. `a/b=refs/pr/1`."""


def fetch(chosen: Fetch) -> int:
    from launch.mirror.fetch import fetch
    from launch.study.sweep import SweepError

    revisions = dict(word.partition("=")[::2] for word in chosen.revision)
    if wrong := [name for name, revision in revisions.items() if "/" not in name or not revision]:
        raise SweepError(f"--revision {wrong[0]}: expected <hub id>=<revision>, e.g. facebook/xlm-roberta-xl=refs/pr/1")
    problems = fetch(load_only(chosen), console(), chosen.again, revisions)
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


@dataclass
class Plan(Common):
    """Show the stages of the sweep: what is done, what is to do, and the time and disk it will take."""

    stages: bool = False
    """List every stage with its key."""
    json: bool = False
    """Print the stages as JSON; with a cluster file, also what each scale takes there."""
    cluster: Path | None = None
    """A cluster file (see `retain init`): show how each scale is sharded there and why, its cost and its start."""
    budget: float | None = None
    """Hours of one GPU (without a cluster file: of one CPU core): show what to run first, and what it tells you."""


def plan(chosen: Plan) -> int:
    from launch.estimate.costs import predict
    from launch.estimate.placement import speed_of
    from launch.submit.forecast import forecast, show_on_cluster, show_plan
    from slurm.profile import load_profile
    from slurm.sizing.timing import CPU_CORE
    from trainers.store import Store

    sweep, mirror = load(chosen)
    plan, store, screen = planned(sweep), Store(sweep.store), console()
    profile = load_profile(chosen.cluster) if chosen.cluster else None
    if chosen.json and chosen.budget is None:
        if profile is not None:
            print_json([on_cluster.facts for on_cluster in forecast(plan, mirror, profile)])
        else:
            done = {stage.key: store.entry(stage.key).done for stage in plan.stages}
            print_json(
                [{"key": stage.key, "done": done[stage.key], **stage.model_dump(mode="json")} for stage in plan.stages]
            )
        return 0
    prediction = predict(plan, store, mirror, speed_of(profile) if profile else CPU_CORE)
    if chosen.budget is not None:
        return _budget(chosen, plan, prediction)
    show_plan(plan, store, prediction, screen, chosen.stages, on="GPU" if profile else "process")
    if profile is not None:
        show_on_cluster(plan, mirror, profile, screen)
    return 0


def _budget(chosen: Plan, plan: planning.Plan, prediction: Prediction) -> int:
    from launch.estimate import budget

    assert chosen.budget is not None
    hours = {key: seconds / 3600 for key, seconds in prediction.seconds.items()}
    sizes = {name: scale.shape.non_embedding_parameters for name, scale in plan.scales.items()}
    cells = budget.cells(plan)
    bought = budget.in_order(cells, sizes, hours, chosen.budget)
    if chosen.json:
        print_json(
            [
                {"cell": choice.cell.label, "stages": choice.cell.stages, "bits": choice.bits, "hours": choice.hours}
                for choice in bought
            ]
        )
        return 0
    unit = "GPU" if chosen.cluster else "CPU"
    budget.show(cells, bought, hours, console(), chosen.budget, unit, everything=chosen.stages)
    return 0
