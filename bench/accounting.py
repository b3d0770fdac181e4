"""What a command takes: wall seconds, processor seconds of all it starts, and what the machine does beside it.

adopt_orphans()
taken = take(["make", "test"], folder, log, dict(os.environ), mark=re.compile("..."))
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
BEFORE_S, SAMPLED_S = 5.0, 0.2


@dataclass(frozen=True)
class Mark:
    """A line of the command's output, and what had been taken when it came."""

    line: str
    wall_s: float
    processor_s: float


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    status: int
    wall_s: float
    processor_s: float
    """User and system seconds of every process that it started, daemons included."""
    others_before: float
    others_during: float
    """Cores that all other processes of the machine kept busy, in the mean."""
    marks: tuple[Mark, ...]


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends: what a daemon used is counted here, too (Linux)."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system does not let a process adopt its descendants' orphans")


def take(command: Sequence[str], folder: Path, log: Path, environment: dict[str, str], mark: re.Pattern[str]) -> Taken:
    """Run a command to its end, its output in `log`; one that fails is told by its status.

    Args:
        folder: where it runs.
        environment: all of its variables.
        mark: matches, with its line's end, the lines of the output at which to look at the clocks.
    """
    others_before = _others(BEFORE_S)
    busy, used, started = _busy_s(), processor_s(), time.perf_counter()
    marks: list[Mark] = []
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    running = True
    while running:
        running = process.poll() is None
        _reap_orphans(process.pid)
        for found in [*mark.finditer(log.read_text(errors="replace"))][len(marks) :]:
            marks.append(Mark(found[0].strip(), time.perf_counter() - started, processor_s() - used))
        time.sleep(SAMPLED_S * running)
    wall, took = time.perf_counter() - started, processor_s() - used
    return Taken(
        process.returncode, wall, took, others_before, max(0.0, (_busy_s() - busy - took) / wall), tuple(marks)
    )


def processor_s() -> float:
    """User and system seconds of all descendants so far: of those reaped, and of those alive with what they reaped."""
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = reaped.ru_utime + reaped.ru_stime
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _reap_orphans(own: int) -> None:
    """Wait for the adopted that ended; `own` is left to its Popen."""
    for child in psutil.Process().children():
        if child.pid != own and child.is_running() and child.status() == psutil.STATUS_ZOMBIE:
            os.waitpid(child.pid, 0)


def _busy_s() -> float:
    """Seconds that all cores of the machine have worked since it started, what the hypervisor took included."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


def _others(seconds: float) -> float:
    busy, used, started = _busy_s(), processor_s(), time.perf_counter()
    time.sleep(seconds)
    elapsed = time.perf_counter() - started
    return max(0.0, (_busy_s() - busy - (processor_s() - used)) / elapsed)
