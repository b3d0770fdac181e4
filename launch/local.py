"""The local door: submitit's local executor, as many bundles side by side as the machine holds."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from launch import status
from launch.estimate.costs import predict
from launch.job.bundle import bundle_of, chains, side_by_side
from launch.job.rank import run_bundle
from launch.pace import Outlook, Pace
from launch.study.plan import Plan
from launch.study.retries import as_it_stands
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store

POLL_S = 1.0
LINE_EVERY_S = 10.0
"""A log says no more often how far the run is."""
QUIET_S = 60.0
"""A log without news for so long says what runs."""
BAR_WIDTH = 40
LONGEST_RUN_MIN = 60 * 24 * 30


ADAM_BYTES = 16
"""Per parameter, in fp32 on one rank (slurm.sizing.memory): weights, gradients, two moments."""
PROCESS_BYTES = 1 << 30
"""Interpreter, torch and libraries."""


@dataclass(frozen=True)
class Machine:
    """What one machine offers to side-by-side processes."""

    cores: int
    memory_bytes: int
    gpus: int


def slots(machine: Machine, parameters: int) -> int:
    """How many stages run side by side: one a GPU; without GPUs one a core, as far as memory reaches.

    One thread a stage beats several: small matrices do not divide well.
    """
    if machine.gpus:
        return machine.gpus
    by_memory = machine.memory_bytes // (ADAM_BYTES * parameters + PROCESS_BYTES)
    return max(1, min(machine.cores, int(by_memory)))


def this_machine() -> Machine:
    """Cores that this process may use, free memory, GPUs."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return Machine(len(os.sched_getaffinity(0)), psutil.virtual_memory().available, gpus)


def run_local(plan: Plan, mirror: Mirror, console: Console) -> list[status.StageStatus]:
    """Run what is missing, in processes of their own, and show it; safe to repeat after anything.

    Ctrl-C asks the processes to save and stop; the same command resumes.
    """
    store = Store(plan.sweep.store.resolve())
    machine = this_machine()
    count = slots(machine, max(scale.shape.parameters for scale in plan.scales.values()))
    prediction = predict(plan, store, mirror)
    bundles = side_by_side(chains(plan, prediction.seconds), count)
    if bundles:
        pace = Pace(prediction, len(bundles))
        _watch(_submit(bundles, plan, mirror, store, machine), plan, store, pace, console)
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
        # From their ends: what their own processes would come to last.
        others = tuple(stage for other in bundles if other is not stages for stage in reversed(other))
        execution = sweep.execution.model_copy(update={"threads": threads})
        bundle_of(plan, mirror, stages, execution, others=others).save(path)
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
    """Progress where no terminal is: how far the run is now and then, and each failure at once."""

    def __init__(self) -> None:
        self._last = 0.0
        self._told: set[str] = set()

    def show(self, statuses: list[status.StageStatus], outlook: Outlook, elapsed_s: float) -> None:
        """
        Args:
            elapsed_s: since the run began.
        """
        at = f"[{elapsed_s:5.0f} s]"
        untold = [progress for progress in statuses if progress.stage.key not in self._told]
        for failed in (progress for progress in untold if progress.state == "failed"):
            self._told.add(failed.stage.key)
            print(f"{at} failed     {failed.stage.label}  {failed.detail}", flush=True)
        settled = [progress for progress in untold if progress.state in status.SETTLED]
        quiet_s = elapsed_s - self._last
        if settled and quiet_s >= LINE_EVERY_S:
            shown = settled
        elif not settled and quiet_s >= QUIET_S:
            shown = [progress for progress in statuses if progress.state == "running"]
        else:
            return
        self._last = elapsed_s
        self._told.update(progress.stage.key for progress in settled)
        newest = f"  {shown[-1].state}  {shown[-1].stage.label}  {shown[-1].detail}" if shown else ""
        others = f"  and {len(shown) - 1} more" if shown[1:] else ""
        print(f"{at} {outlook.words}{newest}{others}", flush=True)


def _bar(outlook: Outlook) -> Table:
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=1.0, completed=outlook.share, width=BAR_WIDTH), outlook.words)
    return row


def _watch(jobs: list, plan: Plan, store: Store, pace: Pace, console: Console) -> None:
    """Show progress until every job has ended: a bar and a live table on a terminal, lines in a log."""
    settled: dict[str, status.StageStatus] = {}
    started, log = time.monotonic(), Log()
    live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
    if live:
        live.start()
    try:
        while not all(job.done() for job in jobs):
            statuses = status.survey(as_it_stands(plan, store), store, settled)
            elapsed_s = time.monotonic() - started
            outlook = pace.look(statuses, elapsed_s)
            if live:
                live.update(Group(_bar(outlook), status.table(statuses, plan.sweep.name, everything=False)))
            else:
                log.show(statuses, outlook, elapsed_s)
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
            console.print(f"a job failed; see {job.paths.stderr}", style="red")
