"""What a batch step finds out about its own allocation: where ranks meet, and until when."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slurm.client import SlurmError, ask, job_facts

DEADLINE = "RETAIN_DEADLINE"
"""Environment variable: when the time limit ends the job, in seconds since the epoch."""
FIRST_PORT = 12_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 200


def rendezvous(environment: Mapping[str, str]) -> dict[str, str]:
    """`MASTER_ADDR` and `MASTER_PORT` for the ranks of this job; to be asked on its first node.

    The port is free here and below the range from which the system hands out ports, so that no outgoing connection
    can take it between now and rank 0's start; jobs that share a node look in a different order.

    Raises:
        SlurmError: the node list cannot be read, or no port is free.
    """
    nodes = ask(["scontrol", "show", "hostnames", environment["SLURM_JOB_NODELIST"]]).split()
    # Alone on its node, a job needs no name service.
    address = nodes[0] if len(nodes) > 1 else "127.0.0.1"
    return {"MASTER_ADDR": address, "MASTER_PORT": str(free_port(environment["SLURM_JOB_ID"]))}


def job_runs(owner: Mapping[str, Any]) -> bool | None:
    """Whether the job that a claim names still runs as it did when it claimed; None where SLURM cannot tell.

    Args:
        owner: what the claim says; its `scheduler` holds SLURM_JOB_ID and, once requeued, SLURM_RESTART_COUNT.
    """
    theirs = owner.get("scheduler", {})
    if "SLURM_JOB_ID" not in theirs:
        return None
    try:
        facts = job_facts(theirs["SLURM_JOB_ID"])
    except SlurmError as error:
        return False if "Invalid job id" in str(error) else None
    return facts.get("JobState") == "RUNNING" and facts.get("Restarts", "0") == restarts(theirs)


def restarts(environment: Mapping[str, str]) -> str:
    """How often this job was requeued; SLURM leaves the variable out before the first time."""
    return environment.get("SLURM_RESTART_COUNT", "0")


def free_port(job_id: str) -> int:
    """A free port of this host outside the ephemeral range.

    Raises:
        SlurmError: none was found.
    """
    first_ephemeral = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32_768
    draw = random.Random(f"{job_id} {time.time_ns()}")
    for _ in range(TRIES):
        port = draw.randrange(FIRST_PORT, max(first_ephemeral, FIRST_PORT + 1))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise SlurmError(f"no free port between {FIRST_PORT} and {first_ephemeral} on {socket.gethostname()}")


def deadline(job_id: str) -> float | None:
    """When the time limit ends this job, in seconds since the epoch; None where SLURM does not say."""
    try:
        end = job_facts(job_id).get("EndTime", "")
        return time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S"))
    except (SlurmError, ValueError):
        return None
