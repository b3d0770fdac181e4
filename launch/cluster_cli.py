"""The commands of the cluster's door: init, submit, watch, why, tail, cancel, retry, prune; and one to try them on."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from launch.commands import Cancel, Common, Devcluster, Init, Prune, Retry, Run, Sending, Submit, Tail, Watch, Why
from launch.loading import checked_plan, console, load, plain, planned, print_json, stage_of

if TYPE_CHECKING:
    from launch.plan import Plan
    from launch.status import StageStatus
    from launch.submit import Submitter
    from trainers.data.mirror import Mirror


def init(chosen: Init) -> int:
    from slurm.client import SlurmError
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
        raise ProfileError(f"{chosen.out}: is there already and is not overwritten; name another file") from error
    except OSError as error:
        raise ProfileError(f"{chosen.out}: cannot be written: {error.strerror}") from error
    print(f"wrote    {chosen.out}: partition {profile.partition} of {profile.cluster}; read it before you submit")
    return 0


def submit(chosen: Submit) -> int:
    from launch.sweep import SweepError

    if chosen.json and not chosen.print:
        raise SweepError("--json is for the scripts that --print shows: give both, or neither")
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


def watch(chosen: Watch) -> int:
    from rich.live import Live

    from launch import status
    from launch.operate import queue_of
    from launch.placing import placements
    from launch.retries import as_it_stands

    screen = console()
    submitter = _submitter(chosen)
    store = submitter.store
    settled: dict[str, status.StageStatus] = {}
    with Live(console=screen) as live:
        while True:
            plan = as_it_stands(submitter.plan, store)
            submitter = replace(submitter, plan=plan, placements=placements(plan, submitter.profile))
            for line in _submit(chosen, submitter):
                live.console.print(plain(line), soft_wrap=True)
            plan = as_it_stands(submitter.plan, store)
            statuses = status.survey(plan, store, settled, queue_of(store.root, screen))
            live.update(status.table(statuses, plan.sweep.name, everything=False))
            if not any(one.state in ("running", "queued", "waiting", "interrupted") for one in statuses):
                return 0 if all(one.state in status.SETTLED for one in statuses) else 1
            time.sleep(chosen.every_s)


def _submitter(chosen: Sending) -> Submitter:
    from launch.placing import placements
    from launch.snapshot import take_snapshot
    from launch.submit import Submitter
    from launch.sweep import SweepError
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
    from launch.submit import left_over
    from slurm.client import cancel, queue

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


def run_steps(chosen: Run, plan: Plan, mirror: Mirror) -> list[StageStatus]:
    """The sweep inside this allocation, placed as `retain submit` would place it."""
    from launch.allocation import Allocation, Steps
    from launch.placing import placements
    from slurm.profile import load_profile

    allocation = Allocation.of(os.environ)
    file = chosen.cluster or (Submit.cluster if Submit.cluster.exists() else None)
    profile = load_profile(file) if file else allocation.profile
    placed = placements(plan, profile)
    for scale, one in placed.items():
        print(f"placed   {scale}: {one.why}", flush=True)
    allocation.check(placed)
    return Steps(plan, mirror, profile, placed, allocation).run()


def why(chosen: Why) -> int:
    from launch import status
    from launch.operate import queue_of, story

    plan, store = _plan_and_store(chosen)
    stage, screen = stage_of(plan.stages, chosen.stage), console()
    now = next(
        one for one in status.survey(plan, store, queued=queue_of(store.root, screen)) if one.stage.key == stage.key
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


def tail(chosen: Tail) -> int:
    from launch.operate import lines_of, newest_log

    plan, store = _plan_and_store(chosen)
    stage = stage_of(plan.stages, chosen.stage)
    log = newest_log(stage.key, store.root)
    if log is None:
        print(f"{stage.label} has printed nothing: no job with it has begun", file=sys.stderr)
        return 1
    for line in lines_of(log, chosen.lines, lambda: not chosen.follow or store.entry(stage.key).done):
        if chosen.json:
            print_json({"line": line})
        else:
            print(line)
        sys.stdout.flush()
    return 0


def cancel(chosen: Cancel) -> int:
    from launch.operate import jobs_to_cancel
    from launch.records import in_queue
    from slurm.client import cancel as scancel
    from slurm.client import queue

    plan, store = _plan_and_store(chosen)
    stages = [stage_of(plan.stages, key) for key in chosen.stage] or list(plan.stages)
    jobs = jobs_to_cancel(plan, in_queue(store.root, queue()), stages)
    scancel(jobs)
    print(f"cancelled {len(jobs)} jobs" if jobs else "no job of these stages is in the queue")
    return 0


def retry(chosen: Retry) -> int:
    from launch import status
    from launch.operate import let_again

    plan, store = _plan_and_store(chosen)
    named = [stage_of(plan.stages, key) for key in chosen.stage]
    stages = named or [one.stage for one in status.survey(plan, store) if one.state == "failed"]
    again = [stage for stage in stages if let_again(store.entry(stage.key))]
    for stage in again:
        print(f"again    {stage.key}  {stage.label}")
    if not again:
        print("nothing to retry: no such stage failed")
    return 0


def prune(chosen: Prune) -> int:
    from launch.operate import prunable
    from launch.operate import prune as delete

    plan, store = _plan_and_store(chosen)
    found = prunable(plan, store)
    for entry, folder, size in found:
        if not chosen.dry:
            delete(entry, folder)
        if not chosen.json:
            print(f"{'would go' if chosen.dry else 'deleted '}  {size / 2**20:8.1f} MiB  {entry.key}/{folder.name}")
    if chosen.json:
        facts = {"deleted": not chosen.dry}
        print_json([{"key": entry.key, "folder": folder.name, "bytes": size, **facts} for entry, folder, size in found])
    else:
        print(f"{sum(size for *_, size in found) / 2**30:.2f} GiB in {len(found)} folders")
    return 0


def devcluster(chosen: Devcluster) -> int:
    from slurm.devcluster.command import command

    return command(chosen.action, chosen.root, chosen.nodes, chosen.gpus, chosen.cpus, chosen.json)


def _plan_and_store(chosen: Common) -> tuple:
    from trainers.store import Store

    sweep, _ = load(chosen)
    return planned(sweep), Store(sweep.store.resolve())
