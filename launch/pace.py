"""How much of a sweep is done, and when it ends: predicted costs, corrected by what this run has measured."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from launch.estimate.costs import Prediction, group_of
from launch.status import SETTLED, StageStatus

LARGEST_SHARE = 0.99
"""Shown at the most while anything is left."""
PRIOR_SHARE = 0.1
"""What the run has measured counts as much as the prediction when so much of its work is done."""
TRAINED = 0.95
"""Of a stage that has taken all its steps: its evaluation is left."""


@dataclass(frozen=True)
class Outlook:
    """Where a run stands."""

    share: float
    """Of all the sweep's work, what is done: 0 to 1, and 1 only where all of it is."""
    left_s: float
    """Until the last process has nothing to do."""

    @property
    def words(self) -> str:
        """E.g. `41 % done, about 1 min 30 s left (ends 14:32)`."""
        done = f"{int(100 * self.share)} % done"
        if self.share == 1:
            return done
        end = time.localtime(time.time() + self.left_s)
        return f"{done}, about {about(self.left_s)} left (ends {time.strftime('%H:%M', end)})"


class Pace:
    """How far one run is.  `look` is called again and again; the share that it returns never falls."""

    def __init__(self, predicted: Prediction, processes: int) -> None:
        """
        Args:
            predicted: when the run begins.
            processes: how many share the work.
        """
        self._predicted, self._steps = predicted.seconds, predicted.steps
        self._typical_s = statistics.fmean(self._predicted.values()) if self._predicted else 1.0
        self._processes = max(1, processes)
        self._first_steps: dict[str, int] = {}
        """Taken before this run, of which the prediction knows."""
        self._share = 0.0

    def look(self, statuses: Sequence[StageStatus], elapsed_s: float) -> Outlook:
        """
        Args:
            statuses: of all the sweep's stages.
            elapsed_s: since the run began.
        """
        if not self._first_steps:
            self._first_steps = {status.stage.key: status.step for status in statuses}
        corrections = self._corrections(statuses, elapsed_s)
        done_s = lost_s = 0.0
        left: dict[str, float] = {}
        for status in statuses:
            expected_s = corrections[group_of(status.stage)] * self._predicted_s(status)
            if status.state in SETTLED:
                done_s += status.seconds
            elif status.state in ("failed", "blocked"):
                lost_s += expected_s
            else:
                done_s += self._trained(status) * expected_s
                left[status.stage.key] = (1 - self._trained(status)) * expected_s
        missing_s = lost_s + sum(left.values())
        self._share = max(self._share, min(LARGEST_SHARE, done_s / (done_s + missing_s)) if missing_s else 1.0)
        # They end at about one time, but no stage is shared.
        return Outlook(self._share, max([sum(left.values()) / self._processes, *left.values()]))

    def _predicted_s(self, status: StageStatus) -> float:
        return self._predicted.get(status.stage.key, self._typical_s)

    def _trained(self, status: StageStatus) -> float:
        """Share of a stage's work that is done, by its steps."""
        first, last = self._first_steps.get(status.stage.key, 0), self._steps.get(status.stage.key, 0)
        return TRAINED * min(1.0, max(0, status.step - first) / (last - first)) if last > first else 0.0

    def _corrections(self, statuses: Sequence[StageStatus], elapsed_s: float) -> dict[str, float]:
        """Measured over predicted seconds of each group of stages; of one without any finished, that of the run."""
        ours = [status for status in statuses if status.stage.key in self._predicted]
        ended = [status for status in ours if status.state in SETTLED]
        running = [status for status in ours if status.state == "running"]
        done_s = sum(map(self._predicted_s, ended)) + sum(
            self._trained(status) * self._predicted_s(status) for status in running
        )
        prior_s = PRIOR_SHARE * sum(map(self._predicted_s, ours))
        overall = (elapsed_s * self._processes + prior_s) / (done_s + prior_s) if prior_s else 1.0
        measured: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for status in ended:
            measured[group_of(status.stage)].append((status.seconds, self._predicted_s(status)))
        corrections = defaultdict(lambda: overall)
        for group, pairs in measured.items():  # shrunk towards the run's by the weight of one stage
            seconds, predicted_s = map(sum, zip(*pairs, strict=True))
            one_s = predicted_s / len(pairs)
            corrections[group] = (seconds + overall * one_s) / (predicted_s + one_s)
        return corrections


GRAINS = (
    (60, 5, (("s", 1),)),
    (600, 10, (("min", 60), ("s", 1))),
    (7200, 60, (("h", 3600), ("min", 60))),
    (172_800, 600, (("h", 3600), ("min", 60))),
    (math.inf, 3600, (("d", 86_400), ("h", 3600))),
)
"""Below so many seconds, a duration is told in steps of so many, in these units."""


def about(seconds: float) -> str:
    """5 s, 1 min 30 s, 12 min, 2 h 10 min, 3 d 4 h: no finer than a guess is."""
    grain, units = next((grain, units) for limit, grain, units in GRAINS if seconds < limit)
    left, parts = max(grain, round(seconds / grain) * grain), []
    for unit, size in units:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts)
