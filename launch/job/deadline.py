"""Whether a stage that began now could still save something before the job's time limit."""

from __future__ import annotations

import os
import time

from slurm.job import DEADLINE
from trainers.store import StageEntry

FIRST_GUESS_S = 120.0
"""What a stage takes until it has something to save, while no stage of this job has shown it."""
WITH_SAVING = 1.5
"""Over what another stage took until then: it has to be written, too."""


class Deadline:
    """The time limit of this job, and what its stages take until there is something to save."""

    def __init__(self) -> None:
        self.end = float(os.environ.get(DEADLINE, "inf"))
        # Of a job that is short as a whole, its last fifth: it could never begin anything else.
        self._guess_s = min(FIRST_GUESS_S, 0.2 * (self.end - time.time()))
        self._shown_s: dict[str, float] = {}

    def too_late(self, kind: str) -> bool:
        """Whether a stage of this kind that began now would end before anything of it is saved."""
        shown_s = self._shown_s.get(kind)
        return time.time() > self.end - (self._guess_s if shown_s is None else WITH_SAVING * shown_s)

    def learn(self, kind: str, entry: StageEntry) -> None:
        """Remember how long a stage of this kind, which has just ended, took until there was something to save."""
        if self.end < float("inf") and (shown_s := to_save_s(entry)) is not None:
            self._shown_s[kind] = shown_s


def to_save_s(entry: StageEntry) -> float | None:
    """Seconds from the begin of a stage's last attempt to its first step, or to the result of what takes no steps; None
    where it came to neither."""
    begun = took_s = None
    for event in entry.events("attempt", "step", "ended"):
        if event["event"] == "attempt":
            begun, took_s = event["time"], None
        elif begun is not None and took_s is None:
            took_s = event["time"] - begun
    return took_s
