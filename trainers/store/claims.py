"""Who works on a stage: numbered claim files, created exclusively; the highest number holds the stage.

The number is a fencing token: a job that was taken for dead and taken over finds a higher one, and stops.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from trainers.store.files import StoreError, as_json, create, write_json, writing

Judge = Callable[[dict[str, Any]], bool | None]
"""Whether the job that a claim names still runs; None where that cannot be told.  A door that has a scheduler knows."""
JOB_VARIABLES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")
CLAIM_STALE_S = 900.0
"""A claim from another host whose file has not been touched for so long belongs to a dead job."""
BEAT_EVERY_S = 60.0


class StageInUse(StoreError):
    """Another living job works on this stage."""


class ClaimLost(StoreError):
    """Another job has taken this stage over; nothing more may be written."""


def scheduler_variables() -> dict[str, str]:
    """What SLURM tells this process of its job; nothing outside a job."""
    return {name: os.environ[name] for name in JOB_VARIABLES if name in os.environ}


def nobody_knows(_owner: dict[str, Any]) -> None:
    """The judge of a door without a scheduler."""


def claim(folder: Path, job: str, judge: Judge = nobody_knows) -> Claim:
    """Take the next number, unless a living job holds the highest.

    Raises:
        StageInUse: a living job holds it.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
    while True:
        held = _highest(folder)
        if held and _alive(folder / f"{held:06d}", judge):
            owner = _claimant(folder / f"{held:06d}")
            raise StageInUse(f"stage {folder.parent.name} is being run by {owner['job']} on {owner['host']}")
        taken = Claim(folder, held + 1)
        if taken.create(job):
            return taken


def living_holder(folder: Path, judge: Judge = nobody_knows) -> dict[str, Any] | None:
    """Who holds the stage, if the holder lives."""
    held = _highest(folder) if folder.is_dir() else 0
    path = folder / f"{held:06d}"
    return _claimant(path) if held and _alive(path, judge) else None


def last_holder(folder: Path) -> str | None:
    """The job that took it last, living or not; None where nobody has."""
    held = _highest(folder) if folder.is_dir() else 0
    return _claimant(folder / f"{held:06d}").get("job")


class Claim:
    """A numbered claim; the number is the fencing token."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.path = folder / f"{number:06d}"
        self._beaten = time.monotonic()

    def create(self, job: str) -> bool:
        """Create the claim file; False where another process was first."""
        owner = {
            "job": job,
            "host": socket.gethostname(),
            "user": os.getuid(),
            "pid": os.getpid(),
            "process_started": psutil.Process().create_time(),
            "scheduler": scheduler_variables(),
            "claimed_at": time.time(),
        }
        return create(self.path, as_json(owner))

    def check(self) -> None:
        """Say that we still live, and stop if the stage was taken over.

        Raises:
            ClaimLost: a higher claim exists.
        """
        if _highest(self.folder) != self.number:
            raise ClaimLost(f"stage {self.folder.parent.name} was taken over by another job; this one stops")
        with writing(self.path):
            os.utime(self.path)

    def beat(self) -> None:
        """Show other hosts that this job lives; cheap enough for every step."""
        if time.monotonic() - self._beaten >= BEAT_EVERY_S:
            self._beaten = time.monotonic()
            with suppress(OSError):  # if the store fails, the next write reports it
                os.utime(self.path)

    def release(self) -> None:
        """Let others have the stage at once; the file stays, as a record of who worked on it."""
        if self.path.exists():
            write_json(self.path, {**_claimant(self.path), "released_at": time.time()})


def _highest(folder: Path) -> int:
    return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=0)


def _claimant(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _alive(path: Path, judge: Judge) -> bool:
    owner = _claimant(path)
    if not owner or "released_at" in owner:
        return False
    if (verdict := judge(owner)) is not None:
        return verdict
    if owner["host"] != socket.gethostname():
        return time.time() - path.stat().st_mtime < CLAIM_STALE_S
    try:
        process = psutil.Process(owner["pid"])
        return abs(process.create_time() - owner["process_started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
