"""What a job finds out about its own allocation: where its ranks meet, until when, and who still runs."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slurm.commands import ACTIVE, SlurmError, ask, job_facts
from slurm.probe import minutes

DEADLINE = "RETAIN_DEADLINE"
"""Environment variable: when the time limit ends the job, in seconds since the epoch."""
SUPERSEDED = "superseded"
"""In the place of a job's state: it was requeued while this process lived on, on a node that SLURM took for lost."""
FIRST_PORT = 12_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 200


def first_node(environment: Mapping[str, str]) -> str:
    """Where rank 0 of this step runs, and so where all its ranks meet.

    Raises:
        SlurmError: the node list cannot be read.
    """
    if environment.get("SLURM_STEP_NUM_NODES", "1") == "1":
        return "127.0.0.1"  # alone on its node, a step needs no name service
    return ask(["scontrol", "show", "hostnames", environment["SLURM_STEP_NODELIST"]]).split()[0]


def job_runs(owner: Mapping[str, Any]) -> bool | None:
    """Whether the job that a claim names still runs as it did when it claimed; None where SLURM cannot tell.

    Args:
        owner: what the claim says; its `scheduler` holds SLURM_JOB_ID and, once requeued, SLURM_RESTART_COUNT; its
            `user` is a number.
    """
    theirs = owner.get("scheduler", {})
    if "SLURM_JOB_ID" not in theirs:
        return None
    try:
        facts = job_facts(theirs["SLURM_JOB_ID"])
    except SlurmError as error:
        # Of others' jobs SLURM says that, too, where it keeps them private (PrivateData=jobs).
        mine = owner.get("user", os.getuid()) == os.getuid()
        return False if mine and "Invalid job id" in str(error) else None
    return facts.get("JobState") in ACTIVE and not requeued_since(theirs, facts)


def ended_as(environment: Mapping[str, str]) -> str | None:
    """SLURM's word for the job of an environment, where SLURM or a person has ended it; None where it ended by itself.

    `SUPERSEDED` where it was requeued while this process lived on.
    """
    try:
        facts = job_facts(environment["SLURM_JOB_ID"])
    except SlurmError:
        return None  # slurmctld is away; what the ranks left must do
    if requeued_since(environment, facts):
        return SUPERSEDED
    return None if facts.get("JobState") in ACTIVE else facts.get("JobState")


def requeued_since(environment: Mapping[str, str], facts: Mapping[str, str]) -> bool:
    """Whether a job was requeued since its environment was made.

    Args:
        facts: what scontrol says of the job now.
    """
    return facts.get("Restarts", "0") != restarts(environment)


def restarts(environment: Mapping[str, str]) -> str:
    """How often this job was requeued; SLURM leaves the variable out before the first time."""
    return environment.get("SLURM_RESTART_COUNT", "0")


def environment_of_ranks() -> dict[str, str]:
    """This process's, with a port at which the ranks of a step meet, and the job's time limit.

    Raises:
        SlurmError: no port is free.
    """
    end = deadline(os.environ["SLURM_JOB_ID"])
    return {**os.environ, "MASTER_PORT": str(free_ports()), **({DEADLINE: str(end)} if end else {})}


def free_ports(count: int = 1) -> int:
    """The first of `count` consecutive ports of this host that nobody listens on, drawn at random.

    They lie below the range from which the system hands out ports: no outgoing connection can take one meanwhile.

    Raises:
        SlurmError: none was found.
    """
    first_ephemeral = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32_768
    for _ in range(TRIES):
        first = random.randint(FIRST_PORT, max(first_ephemeral - count, FIRST_PORT))
        if all(map(_is_free, range(first, first + count))):
            return first
    what = "free port" if count == 1 else f"{count} consecutive free ports"
    raise SlurmError(f"no {what} between {FIRST_PORT} and {first_ephemeral} on {socket.gethostname()}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def deadline(job_id: str) -> float | None:
    """When the time limit ends this job, in seconds since the epoch; None where there is none, or SLURM does not say.

    Not its EndTime: a preemption moves that, and would look like the time limit.
    """
    try:
        facts = job_facts(job_id)
        start = time.mktime(time.strptime(facts.get("StartTime", ""), "%Y-%m-%dT%H:%M:%S"))
        limit = minutes(facts.get("TimeLimit", ""))
    except (SlurmError, ValueError):
        return None
    return None if limit is None else start + 60 * limit
