"""SLURM's commands, asked and answered: no shell, a time limit each, errors in sentences.

Every question that the rest of the system has for a scheduler is a function here; what they return is parsed once.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0
IN_LIST = 500
"""Job ids in one command at the most: command lines have an end."""

LIVING = frozenset(
    {
        "PENDING",
        "RUNNING",
        "CONFIGURING",
        "COMPLETING",
        "SUSPENDED",
        "STOPPED",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    }
)
"""States of a job that still runs or will; a NODE_FAIL or PREEMPTED job that is requeued is back in PENDING."""

ACTIVE = ("RUNNING", "SUSPENDED")
"""States of a job that has its nodes, and that nobody has ended yet."""

LAUNCH_FAILED = "launch failed requeued held"
"""Reason of a job that SLURM holds for ever because a node could not start it (a prolog failed, an answer was lost)."""

SEPARATOR = "\x1f"
"""Between the columns of an answer: no name or reason holds it."""


class SlurmError(RuntimeError):
    """SLURM refused or could not be asked; the message says what it answered."""

    def __init__(self, message: str, unsure: bool = False) -> None:
        super().__init__(message)
        self.unsure = unsure
        """The command may have done its work all the same (it timed out, or the answer was lost)."""


@dataclass(frozen=True)
class QueuedJob:
    """One job, or one element of an array, as `squeue` shows it."""

    job_id: str
    """What scancel and scontrol take: `123`, or `123_4` for an element of an array."""
    name: str
    user: str
    state: str
    reason: str
    """Why it waits, or the nodes it runs on."""

    @property
    def living(self) -> bool:
        """Whether it still holds or will hold what it was given."""
        return self.state in LIVING

    @property
    def active(self) -> bool:
        """Whether it has its nodes, and nobody has ended it yet."""
        return self.state in ACTIVE

    @property
    def launch_failed(self) -> bool:
        """Whether it waits for `release`, and for nothing else."""
        return LAUNCH_FAILED in self.reason.replace("_", " ")


LOST_ANSWERS = (
    "timed out",
    "unable to contact",
    "connection refused",
    "connection reset",
    "communication",
    "zero bytes",
)


def ask(command: Sequence[str], timeout_s: float = TIMEOUT_S, both: bool = False) -> str:
    """What a command prints; `both` adds what it says on its error output.

    Raises:
        SlurmError: it is not installed, fails, or does not answer in time.
    """
    shown = " ".join(command[:3])
    # Without it a client in another language or time format would answer in words that nobody parses.
    environment = {**os.environ, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, timeout=timeout_s, env=environment)
    except FileNotFoundError as error:
        raise SlurmError(
            f"{command[0]} is not on this machine's PATH: run this on a login node of the cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"`{shown} …` did not answer within {timeout_s:.0f} s", unsure=True) from error
    if done.returncode:
        error_output = (done.stderr.strip() or done.stdout.strip()).replace("\n", "; ")
        # Ended by a signal, SIGPIPE where slurmctld hung up: nobody knows how far it came.
        unsure = done.returncode < 0 or any(words in error_output.lower() for words in LOST_ANSWERS)
        raise SlurmError(f"`{shown} …` failed with {done.returncode}: {error_output}", unsure=unsure)
    return done.stdout + done.stderr if both else done.stdout


def queue(name_prefix: str = "") -> list[QueuedJob]:
    """Every job in the queue, one call; arrays by element.

    Args:
        name_prefix: keeps the jobs whose name starts so.

    Raises:
        SlurmError: slurmctld cannot be reached.  (slurmdbd is not asked.)
    """
    columns = ("%i", "%j", "%u", "%T", "%R")
    answer = ask(["squeue", "--noheader", "--array", "--states=all", "--format", SEPARATOR.join(columns)])
    rows = (line.split(SEPARATOR) for line in answer.splitlines())
    jobs = (QueuedJob(*(field.strip() for field in row)) for row in rows if len(row) == len(columns))
    return [job for job in jobs if job.name.startswith(name_prefix)]


def start_estimate(script: Path) -> str | None:
    """When SLURM would start the job of a script, e.g. `2026-11-23T08:15:00`; nothing is submitted.

    Raises:
        SlurmError: it would refuse the job.
    """
    answer = ask(["sbatch", "--test-only", str(script)], both=True)
    start = re.search(r"to start at (\S+)", answer)
    return start.group(1) if start else None


def cancel(job_ids: Iterable[str]) -> None:
    """End jobs; those that have ended already are no error.

    Raises:
        SlurmError: SLURM refuses, e.g. another user's jobs.
    """
    for ids in _in_lists(job_ids):
        ask(["scancel", "--quiet", *ids])


def release(job_ids: Iterable[str]) -> None:
    """Let jobs that are held start when their turn comes.

    Raises:
        SlurmError: SLURM refuses, e.g. another user's jobs.
    """
    for ids in _in_lists(job_ids):
        ask(["scontrol", "release", ",".join(ids)])


def requeue(job_id: str, exclude: Iterable[str] = ()) -> None:
    """Put a job back into the queue, away from some nodes.

    Raises:
        SlurmError: the job may not be requeued or is unknown.
    """
    ask(["scontrol", "requeue", job_id])
    # Only of a pending job can they be changed; who calls this from inside it still lives for SLURM's KillWait.
    if nodes := ",".join(sorted(set(exclude))):
        ask(["scontrol", "update", f"JobId={job_id}", f"ExcNodeList={nodes}"])


def job_facts(job_id: str) -> dict[str, str]:
    """What `scontrol show job` says, by field; of an array the element that is asked for.

    Raises:
        SlurmError: the job is unknown or slurmctld cannot be reached.
    """
    return fields(ask(["scontrol", "--oneliner", "show", "job", job_id]))


def fields(line: str) -> dict[str, str]:
    """`Key=value Key=value …`, as scontrol prints it; a value with spaces keeps its first word."""
    return {name: value for name, _, value in (word.partition("=") for word in line.split()) if _}


def _in_lists(words: Iterable[str]) -> Iterable[list[str]]:
    job_ids = list(words)
    return (job_ids[start : start + IN_LIST] for start in range(0, len(job_ids), IN_LIST))
