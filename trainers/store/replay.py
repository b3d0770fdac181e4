"""What W&B should show of a stage, by the store; what W&B lacks of it; and sending that.

    missing = shown_by_store(entry).less(shown_by_wandb)
    if missing:
        send(stage, missing, tracking)

Points are compared, not rows: of what was measured again after a crash the last counts, on both sides.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.stage import Stage
from trainers.stage.scores import Score
from trainers.store import StageEntry
from trainers.store.record import step_row
from trainers.store.tracking import Tracking, start, step_axis

START_TIMEOUT_S = 60.0
FINISH_TIMEOUT_S = 120.0
"""For the upload of one run."""

Points = dict[int, dict[str, float]]
"""Step (or layer) → curve → value."""


@dataclass(frozen=True)
class Shown:
    """What W&B shows, or is to show, of one stage."""

    config: Mapping[str, Any]
    """The stage, its scale's facts, and what the values of each curve rest on; as JSON gives them."""
    points: Points
    summary: Mapping[str, Any]
    """The stage's result; nothing while it has none."""
    state: str
    """W&B's word: `finished` where the stage completed."""

    def less(self, there: Shown | None) -> Shown | None:
        """What `there` lacks of this; None where that is nothing.  The configuration is always whole."""
        if there is None:
            return self
        points: Points = {}
        for at, values in self.points.items():
            known = there.points.get(at, {})
            if new := {name: value for name, value in values.items() if not _same(value, known.get(name))}:
                points[at] = new
        as_told = _within(self.config, there.config) and _within(self.summary, there.summary)
        ended = not self.summary or there.state == self.state
        return None if as_told and ended and not points else Shown(self.config, points, self.summary, self.state)


def shown_by_store(entry: StageEntry) -> Shown:
    """What W&B is to show of a stage that was begun.

    Raises:
        ValueError: stage.json is no stage of this version.
    """
    scale: dict[str, Any] = {}
    curves: dict[str, dict[str, Any]] = {}
    points: Points = {}
    for event in entry.events("attempt", "step", "measured"):
        if event["event"] == "attempt":
            scale = event["scale"]
        elif event["event"] == "step":
            row = step_row(event["loss"], event["learning_rate"], event["tokens"], event["seconds"])
            points.setdefault(event["step"], {}).update(row)
        else:
            score = Score(*(event[name] for name in Score._fields))
            curves[score.curve] = {"examples": score.examples, "chance": score.chance}
            points.setdefault(event["at"], {})[score.curve] = score.value
    config = {"stage": entry.stage.model_dump(mode="json"), "scale": scale, "curves": curves}
    result = entry.result or {}
    state = "finished" if result.get("outcome") == "completed" else "failed"
    return Shown(json.loads(json.dumps(config)), points, result, state)


def points_of(stage: Stage, rows: Iterable[Mapping[str, Any]]) -> Points:
    """The points of W&B's rows, oldest first; W&B's own columns (`_step` …) left out."""
    axis = step_axis(stage)
    points: Points = {}
    for row in rows:
        if axis in row:
            values = {name: value for name, value in row.items() if name != axis and not name.startswith("_")}
            points.setdefault(int(row[axis]), {}).update(values)
    return points


def send(stage: Stage, missing: Shown, tracking: Tracking) -> None:
    """Give W&B what it lacks of a stage, as one more session of the stage's run.

    Raises:
        wandb.Error, TimeoutError: W&B refused it or cannot be reached; what it has it keeps.
    """
    axis = step_axis(stage)
    with tempfile.TemporaryDirectory(prefix="retain-wandb-") as folder:
        run = start(
            stage,
            dict(missing.config),
            tracking,
            Path(folder),
            init_timeout=START_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,
            finish_timeout_raises=True,
        )
        run.config.update(missing.config, allow_val_change=True)
        for at, values in sorted(missing.points.items()):
            run.log({axis: at, **values})
        run.summary.update(missing.summary)
        run.finish(exit_code=0 if missing.state == "finished" else 1)


def _within(told: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return all(_kept(value) == _kept(there.get(name)) for name, value in told.items())


def _kept(value: Any) -> Any:
    """A value as W&B keeps it: without empty objects."""
    if isinstance(value, Mapping):
        kept = {name: _kept(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one is not None} or None
    return value


def _same(value: float, known: Any) -> bool:
    """W&B gives numbers that JSON lacks as words ("NaN")."""
    return known is not None and repr(float(value)) == repr(float(known))
