"""Progress of long work: a bar on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LOG_EVERY_S = 10.0


class Progress:
    """Steps of one stage with loss, real tokens per second and time left."""

    def __init__(
        self, label: str, total: int, done: int = 0, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self.label, self.total, self.quiet = label, total, quiet
        self.stream = stream or sys.stdout
        self._first, self._tokens = done, 0
        self._started = self._printed = time.monotonic()
        self._bar = None
        if self.stream.isatty() and not quiet:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.3f} · {task.fields[speed]:,.0f} tokens/s"),
                TimeRemainingColumn(),
                transient=True,
            )
            self._task = self._bar.add_task(label, total=total, completed=done, loss=float("nan"), speed=0.0)
            self._bar.start()

    def step(self, done: int, loss: float, tokens: int) -> None:
        """Step number `done` has ended; it read `tokens` real tokens."""
        self._tokens += tokens
        now = time.monotonic()
        speed = self._tokens / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, loss=loss, speed=speed)
        elif not self.quiet and (now - self._printed >= LOG_EVERY_S or done == self.total):
            self._printed = now
            left = (now - self._started) / max(done - self._first, 1) * (self.total - done)
            print(
                f"{self.label}  step {done}/{self.total}  loss {loss:.3f}  {speed:,.0f} tokens/s  {left:.0f} s left",
                file=self.stream,
                flush=True,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
