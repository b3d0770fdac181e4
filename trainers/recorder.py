"""What a stage says while it runs: events in the store (the truth), the same rows to W&B (beside it)."""

from __future__ import annotations

from typing import Any

from trainers.probes import Score
from trainers.stage import Stage
from trainers.store import EventLog
from trainers.tracking import Tracker, step_axis


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
            self.tracker.log({self._axis: step, "train/loss": loss, "train/learning_rate": learning_rate,
                              "train/tokens_per_s": tokens / max(seconds, 1e-9)})

    def measured(self, scores: list[Score], at: int) -> None:
        """Scores at a step (or, for retrieval, at a layer)."""
        for score in scores:
            self.event("measured", at=at, measure=score.measure, task=score.task, language=score.language,
                       metric=score.metric, value=score.value, examples=score.examples, chance=score.chance)
        if self.tracker is None:
            return
        for score in scores:
            curve = curve_name(score)
            if curve not in self._described:
                self._described.add(curve)
                self.tracker.describe(curve, {"examples": score.examples, "chance": score.chance})
        self.tracker.log({self._axis: at, **{curve_name(score): score.value for score in scores}})


def curve_name(score: Score) -> str:
    """W&B's name of a curve: `<measure>/<task>/<language>/<metric>`."""
    return f"{score.measure}/{score.task}/{score.language}/{score.metric}"
