"""What a stage says while it runs: events in the store (the truth), the same rows to W&B (beside it)."""

from __future__ import annotations

from typing import Any

from trainers.stage import Stage
from trainers.stage.scores import Score
from trainers.store import EventLog
from trainers.store.tracking import Tracker, step_axis


def step_row(loss: float, learning_rate: float, tokens: int, seconds: float) -> dict[str, float]:
    """What W&B shows of an optimizer step."""
    return {
        "train/loss": loss,
        "train/learning_rate": learning_rate,
        "train/tokens_per_s": tokens / max(seconds, 1e-9),
    }


class Recorder:
    """Rank 0's pen; on other ranks nothing is written."""

    def __init__(self, stage: Stage, log: EventLog | None, tracker: Tracker | None) -> None:
        self.stage, self.log, self.tracker = stage, log, tracker
        self._axis = step_axis(stage)
        self._described: set[str] = set()

    def event(self, event: str, **facts: Any) -> None:
        if self.log is not None:
            self.log.write(event, **facts)

    def step(self, step: int, loss: float, learning_rate: float, tokens: int, seconds: float) -> None:
        """Optimizer step number `step` (counted from 1) has ended."""
        self.event("step", step=step, loss=loss, learning_rate=learning_rate, tokens=tokens, seconds=seconds)
        if self.tracker is not None:
            self.tracker.log({self._axis: step, **step_row(loss, learning_rate, tokens, seconds)})

    def measured(self, scores: list[Score], at: int) -> None:
        """Scores at a step (or, for retrieval, at a layer)."""
        for score in scores:
            self.event("measured", at=at, **score._asdict())
        if self.tracker is None:
            return
        for score in scores:
            if score.curve not in self._described:
                self._described.add(score.curve)
                self.tracker.describe(score.curve, {"examples": score.examples, "chance": score.chance})
        self.tracker.log({self._axis: at, **{score.curve: score.value for score in scores}})

    def sync(self) -> None:
        """Force the events to the disk."""
        if self.log is not None:
            self.log.sync()

    def finish(self, result: dict[str, Any]) -> None:
        """Hand the stage's result to W&B."""
        if self.tracker is not None:
            self.tracker.finish(result, exit_code=0 if result["outcome"] == "completed" else 1)

    def close(self) -> None:
        """End W&B's run (as failed, unless it was finished) and the event log."""
        if self.tracker is not None:
            self.tracker.finish(exit_code=1)
        if self.log is not None:
            self.log.close()
