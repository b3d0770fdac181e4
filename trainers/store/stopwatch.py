"""Where a stage's seconds go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Lap:
    """One timed passage; its seconds are known when it has ended."""

    seconds: float = 0.0


class Stopwatch:
    """Adds up seconds by part: `with watch("train") as lap: …`."""

    def __init__(self, *parts: str) -> None:
        self.seconds = dict.fromkeys(parts, 0.0)

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @contextmanager
    def __call__(self, part: str) -> Iterator[Lap]:
        lap, started = Lap(), time.perf_counter()
        try:
            yield lap
        finally:
            lap.seconds = time.perf_counter() - started
            self.seconds[part] += lap.seconds
