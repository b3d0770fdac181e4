"""The commands of the cluster's door: init, submit, watch, why, tail, cancel, retry, prune; and one to try them on."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from launch.commands.common import (
    Common,
    StageKey,
    checked_plan,
    console,
    load,
    plain,
    planned,
    print_json,
    show_live,
    stage_of,
)

if TYPE_CHECKING:
    from launch.submit.reconcile import Submitter


@dataclass
class Init:
    """Look at the SLURM cluster of this login node, and write a commented cluster file."""

    out: Annotated[Path, tyro.conf.Positional] = Path("cluster.yaml")
    """The file to write; an existing file is never overwritten."""
    partition: str | None = None
    """Partition for the jobs; None is the one with most GPUs."""


def init(chosen: Init) -> int:
    from slurm.commands import SlurmError
    from slurm.probe import probe
    from slurm.profile import ProfileError, commented_yaml

    try:
        profile, notes = probe(chosen.partition)
    except SlurmError as error:
        advice = "run this on a login node of the cluster, or write the file by hand (docs/adding-a-cluster.md)"
        raise ProfileError(f"{error}\n{advice}") from error
    try:
        with chosen.out.open("x", encoding="utf-8") as file:
            file.write(commented_yaml(profile, notes))
    except FileExistsError as error:
        raise ProfileError(f"{chosen.out}: exists and is not overwritten; give another file name") from error
    except OSError as error:
        raise ProfileError(f"{chosen.out}: cannot be written: {error.strerror}") from error
    print(f"wrote    {chosen.out}: partition {profile.partition} of {profile.cluster}; read it before you submit")
    return 0


@dataclass
class Sending(Common):
    """What commands that send jobs to SLURM take."""

    cluster: Path = Path("cluster.yaml")
    """The cluster file (see `retain init`)."""
    strict: bool = False
    """Refuse to submit code with uncommitted changes."""
    cancel_removed: bool = False
    """Cancel pending jobs of arms that are no longer in the sweep file, without asking."""


@dataclass
class Submit(Sending):
    """Submit to SLURM what is missing.  You can always repeat it: it never submits work that is done or running."""

    print: bool = False
    """Show the exact sbatch scripts and submit nothing."""
    json: bool = False
    """With `--print`: the scripts as JSON, with the names of their arrays."""


def submit(chosen: Submit) -> int:
    from launch.study.sweep import SweepError

    if chosen.json and not chosen.print:
        raise SweepError("--json needs --print, whose scripts it shows as JSON: give both, or neither")
    screen = console()
    submitter = _submitter(chosen)
    if chosen.json:
        print_json([{"array": name, "script": script} for name, script in submitter.scripts()])
        return 0
    if chosen.print:
        for name, script in submitter.scripts():
            print(f"# {name}\n{script}\n")
        return 0
    for line in _submit(chosen, submitter):
        screen.print(plain(line), soft_wrap=True)
    return 0


@dataclass
class Watch(Sending):
    """Repeat `retain submit` until every stage has ended, and show the sweep; nothing depends on it."""

    every_s: float = 60.0
    """Seconds between repetitions."""


def watch(chosen: Watch) -> int:
    from launch import status
    from launch.estimate.placement import placements
    from launch.story import queue_of
    from launch.study.retries import as_it_stands

    screen = console()
    submitter = _submitter(chosen)
    store = submitter.store
    settled: dict[str, status.StageStatus] = {}

    def submit_and_look() -> list[status.StageStatus]:
        plan = as_it_stands(submitter.plan, store)
        for line in _submit(chosen, replace(submitter, plan=plan, placements=placements(plan, submitter.profile))):
            screen.print(plain(line), soft_wrap=True)
        return status.survey(as_it_stands(plan, store), store, settled, queue_of(store.root, screen))

    unfinished = ("running", "queued", "waiting", "interrupted")
    statuses = show_live(screen, submitter.plan.sweep.name, submit_and_look, unfinished, chosen.every_s)
    return 0 if all(progress.state in status.SETTLED for progress in statuses) else 1


def _submitter(chosen: Sending) -> Submitter:
    from launch.estimate.placement import placements
    from launch.study.sweep import SweepError
    from launch.submit.reconcile import Submitter
    from launch.submit.snapshot import take_snapshot
    from slurm.profile import load_profile

    profile = load_profile(chosen.cluster)
    sweep, mirror = load(chosen)
    plan = checked_plan(sweep, mirror)
    placed = placements(plan, profile)
    code = take_snapshot(sweep.store.resolve())
    if code.dirty and chosen.strict:
        raise SweepError("the code has uncommitted changes; commit them, or submit without --strict")
    return Submitter(plan, mirror, profile, placed, code)


def _submit(chosen: Sending, submitter: Submitter) -> list[str]:
    """One reconciliation, told in lines."""
    from launch.submit.reconcile import left_over
    from slurm.commands import cancel, queue

    done = submitter.submit()
    lines = [f"note     {note}" for note in done.notes]
    if submitter.code.dirty and done.arrays:
        lines.append(f"note     the code has uncommitted changes on {submitter.code.commit}; jobs run a copy with them")
    lines.append(
        f"queue    {done.stages} stages sent in {done.elements} jobs of {done.arrays} arrays; "
        f"{done.in_queue} were in the queue already"
    )
    if done.left:
        lines.append(
            f"left     {done.left} stages find no room under your submit limit: run this again when jobs have ended"
        )
    if removed := left_over(submitter.plan, queue(), submitter.store.root):
        names = ", ".join(removed)
        lines += [f"removed  job {job} holds what the sweep no longer has: {what}" for job, what in removed.items()]
        if chosen.cancel_removed or _agreed(f"cancel {names}?"):
            cancel(removed)
            lines.append(f"removed  cancelled {names}")
        else:
            lines.append("removed  they stay in the queue; --cancel-removed cancels them")
    return lines


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


@dataclass
class Why(Common):
    """Show everything that happened to one stage: attempts, jobs, checkpoints, failures and decisions."""

    stage: StageKey = ""
    """Key of the stage, or its first digits."""
    json: bool = False
    """Print it as JSON."""


def why(chosen: Why) -> int:
    from launch import status
    from launch.story import queue_of, story

    plan, store = _plan_and_store(chosen)
    stage, screen = stage_of(plan.stages, chosen.stage), console()
    now = next(
        progress
        for progress in status.survey(plan, store, queued=queue_of(store.root, screen))
        if progress.stage.key == stage.key
    )
    if chosen.json:
        print_json({**now.facts, "story": [{"time": when, "what": line} for when, line in story(stage, store)]})
        return 0
    screen.print(f"[bold]{stage.key}  {plain(stage.label)}[/]", soft_wrap=True)
    for when, line in story(stage, store):
        shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
        screen.print(f"{shown}  {plain(line)}", soft_wrap=True)
    screen.print(f"now      {now.state}  {plain(now.detail)}", soft_wrap=True)
    return 0


@dataclass
class Tail(Common):
    """Show the output of the job that runs a stage, as it appears."""

    stage: StageKey = ""
    """Key of the stage, or its first digits."""
    lines: int = 20
    """Number of earlier lines to show."""
    follow: bool = True
    """Continue until the stage ends."""
    json: bool = False
    """Print each line as JSON."""


def tail(chosen: Tail) -> int:
    from launch.story import lines_of, newest_log

    plan, store = _plan_and_store(chosen)
    stage = stage_of(plan.stages, chosen.stage)
    log = newest_log(stage.key, store.root)
    if log is None:
        print(f"{stage.label} has no output yet: none of its jobs has started", file=sys.stderr)
        return 1
    for line in lines_of(log, chosen.lines, lambda: not chosen.follow or store.entry(stage.key).done):
        if chosen.json:
            print_json({"line": line})
        else:
            print(line)
        sys.stdout.flush()
    return 0


@dataclass
class Cancel(Common):
    """Cancel the sweep's jobs; what they have saved stays."""

    stage: tuple[str, ...] = ()
    """Only the jobs of these stages (keys or their first digits); other stages of these jobs are cancelled too."""


def cancel(chosen: Cancel) -> int:
    from launch.job.records import in_queue
    from launch.story import jobs_to_cancel
    from slurm.commands import cancel as scancel
    from slurm.commands import queue

    plan, store = _plan_and_store(chosen)
    stages = [stage_of(plan.stages, key) for key in chosen.stage] or list(plan.stages)
    jobs = jobs_to_cancel(plan, in_queue(store.root, queue()), stages)
    scancel(jobs)
    print(f"cancelled {len(jobs)} jobs" if jobs else "no job of these stages is in the queue")
    return 0


@dataclass
class Retry(Common):
    """Allow failed stages to be run and submitted again."""

    stage: tuple[str, ...] = ()
    """Keys or their first digits; if none is given, every failed stage of the sweep."""


def retry(chosen: Retry) -> int:
    from launch import status
    from launch.story import allow_retry

    plan, store = _plan_and_store(chosen)
    named = [stage_of(plan.stages, key) for key in chosen.stage]
    stages = named or [progress.stage for progress in status.survey(plan, store) if progress.state == "failed"]
    again = [stage for stage in stages if allow_retry(store.entry(stage.key))]
    for stage in again:
        print(f"again    {stage.key}  {stage.label}")
    if not again:
        print("nothing to retry: no such stage has failed")
    return 0


@dataclass
class Prune(Common):
    """Delete checkpoints and encoders that no unfinished stage of the sweep needs; results stay."""

    dry: bool = False
    """Only show what would be deleted."""
    json: bool = False
    """Print the folders as JSON."""


def prune(chosen: Prune) -> int:
    from launch.story import prunable
    from launch.story import prune as delete

    plan, store = _plan_and_store(chosen)
    prunables = prunable(plan, store)
    for entry, folder, size in prunables:
        if not chosen.dry:
            delete(entry, folder)
        if not chosen.json:
            print(f"{'would go' if chosen.dry else 'deleted '}  {size / 2**20:8.1f} MiB  {entry.key}/{folder.name}")
    if chosen.json:
        facts = {"deleted": not chosen.dry}
        print_json(
            [{"key": entry.key, "folder": folder.name, "bytes": size, **facts} for entry, folder, size in prunables]
        )
    else:
        print(f"{sum(size for *_, size in prunables) / 2**30:.2f} GiB in {len(prunables)} folders")
    return 0


@dataclass
class Devcluster:
    """Start a throwaway SLURM cluster on this machine, show it, or remove it.

    `eval "$(retain devcluster up)"` starts it if it is not running; then `sbatch` and `retain` of this shell find it.
    It needs root and Debian's SLURM packages.
    """

    action: Annotated[Literal["up", "status", "down"], tyro.conf.Positional]
    """up: start it if it is not running.  status: show its nodes.  down: end it."""
    root: Path | None = None
    """The cluster's folder; None is `/run/retain-devcluster`."""
    nodes: int = 4
    """Number of nodes, all on this machine."""
    gpus: int = 2
    """Fake GPUs per node."""
    cpus: int = 8
    """CPUs per node; this machine may have fewer."""
    json: bool = False
    """Print the cluster as JSON."""


def devcluster(chosen: Devcluster) -> int:
    from slurm.devcluster.command import command

    return command(chosen.action, chosen.root, chosen.nodes, chosen.gpus, chosen.cpus, chosen.json)


def _plan_and_store(chosen: Common) -> tuple:
    from trainers.store import Store

    sweep, _ = load(chosen)
    return planned(sweep), Store(sweep.store.resolve())
