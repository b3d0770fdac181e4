"""The local door: submitit's local executor, as many bundles side by side as the machine holds."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.live import Live

from launch import status
from launch.bundles import bundle_of, chains, side_by_side
from launch.costs import predict
from launch.job import run_bundle
from launch.plan import Plan
from launch.retries import as_it_stands
from slurm.sizing import Machine, slots
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store

POLL_S = 1.0
QUIET_S = 60.0
"""A log without news for so long says what runs."""
LONGEST_RUN_MIN = 60 * 24 * 30


def this_machine() -> Machine:
    """Cores that this process may use, free memory, GPUs."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return Machine(len(os.sched_getaffinity(0)), psutil.virtual_memory().available, gpus)


def run_local(plan: Plan, mirror: Mirror, console: Console) -> list[status.StageStatus]:
    """Run what is missing, in processes of their own, and show it; safe to repeat after anything.

    Ctrl-C asks the processes to save and stop; the same command goes on from there.
    """
    store = Store(plan.sweep.store.resolve())
    machine = this_machine()
    count = slots(machine, max(scale.shape.parameters for scale in plan.scales.values()))
    bundles = side_by_side(chains(plan, predict(plan, store, mirror).seconds), count)
    if bundles:
        _watch(_submit(bundles, plan, mirror, store, machine), plan, store, console)
    return status.survey(as_it_stands(plan, store), store)


def _submit(bundles: list[tuple[Stage, ...]], plan: Plan, mirror: Mirror, store: Store, machine: Machine) -> list:
    """One process a bundle, with its share of the cores or a GPU of its own."""
    import submitit

    sweep = plan.sweep
    threads = sweep.execution.threads or max(1, machine.cores // len(bundles))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    executor = submitit.LocalExecutor(folder=store.root / "jobs")
    executor.update_parameters(timeout_min=LONGEST_RUN_MIN)
    jobs = []
    for number, stages in enumerate(bundles):
        path = store.root / "bundles" / f"{sweep.name}-{uuid.uuid4().hex[:8]}.json"
        bundle_of(plan, mirror, stages, sweep.execution.model_copy(update={"threads": threads})).save(path)
        with _interrupts_ignored():
            jobs.append(executor.submit(run_bundle, str(path), number if machine.gpus else None))
    return jobs


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Children inherit it: a terminal sends Ctrl-C to them too, and submitit's controller would kill its task."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Log:
    """Progress where no terminal is: each stage that ended, and what runs where there was no such news for long."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()
        self._told: set[str] = set()

    def show(self, statuses: list[status.StageStatus]) -> None:
        now = time.monotonic()
        ended = [one for one in statuses if one.state in (*status.SETTLED, "failed")]
        news = [one for one in ended if one.stage.key not in self._told]
        self._told.update(one.stage.key for one in news)
        if not news and now - self._last >= QUIET_S:
            news = [one for one in statuses if one.state == "running"]
        for one in news:
            print(f"[{now - self._started:5.0f} s] {one.state:9s} {one.stage.label}  {one.detail}", flush=True)
            self._last = now


def _watch(jobs: list, plan: Plan, store: Store, console: Console) -> None:
    """Show progress until every job has ended: a live table on a terminal, lines in a log."""
    settled: dict[str, status.StageStatus] = {}
    log = Log()
    live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
    if live:
        live.start()
    try:
        while not all(job.done() for job in jobs):
            statuses = status.survey(as_it_stands(plan, store), store, settled)
            if live:
                live.update(status.table(statuses, plan.sweep.name, everything=False))
            else:
                log.show(statuses)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        console.print("stopping: each process saves at its next step …")
        for job in jobs:
            os.kill(int(job.job_id), signal.SIGTERM)  # submitit's controller hands it on to the bundle's process
        for job in jobs:
            job.wait()
    finally:
        if live:
            live.stop()
    for job in jobs:
        if job.exception() is not None:
            console.print(f"a job ended badly; see {job.paths.stderr}", style="red")
