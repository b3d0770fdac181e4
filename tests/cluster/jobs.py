"""What tests ask of jobs on the cluster: submit one, wait for what becomes of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from slurm.devcluster import DevCluster

T = TypeVar("T")
TIMEOUT_S = 90.0
POLL_S = 0.2
PASSING = {"", "PENDING", "RUNNING", "REQUEUED", "COMPLETING", "SUSPENDED", "RESIZING"}


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = TIMEOUT_S) -> T:
    """The condition's value once it is true; an AssertionError that tells the last value where it never is."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {timeout_s:.0f} s for {what}; at last it was {value!r}"
        time.sleep(POLL_S)
    return value


def sbatch(cluster: DevCluster, script: str, *options: str) -> str:
    """The id of a job that runs a shell script; its output is thrown away unless the options say where it goes."""
    return cluster.run("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script)


def queued(cluster: DevCluster, job: str) -> str:
    """What the queue says of a job or array element: PENDING, RUNNING …; "" once it has left the queue."""
    lines = cluster.run("squeue", "--noheader", "--all", "--format=%i %T").splitlines()
    return next((state for name, state in map(str.split, lines) if name == job), "")


def wait_for_running(cluster: DevCluster, job: str) -> None:
    wait_until(lambda: queued(cluster, job) == "RUNNING", f"job {job} to run")


def history(cluster: DevCluster, job: str) -> list[str]:
    """The state of each incarnation of a job, or of each element of an array, as accounting has it; the newest last."""
    said = cluster.run("sacct", "--duplicates", "-X", "-n", "-P", "--format=State", f"--jobs={job}")
    return [re.sub(" .*", "", state) for state in said.splitlines()]


def final_state(cluster: DevCluster, job: str, timeout_s: float = TIMEOUT_S) -> str:
    """The state in which a job ended, once it has left the queue and accounting knows: COMPLETED, NODE_FAIL …"""
    wait_until(lambda: not queued(cluster, job), f"job {job} to leave the queue", timeout_s)
    return wait_until(
        lambda: (states := history(cluster, job)) and states[-1] not in PASSING and states[-1],
        f"accounting to know how job {job} ended",
    )
