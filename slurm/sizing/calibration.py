"""How far predictions are off, learned from what was measured: one factor, its spread, and the error that is left."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN_SPREAD = (1 / 3, 3.0)
"""Where nothing was measured yet, a prediction may be off by this much."""


@dataclass(frozen=True)
class Calibration:
    """What predictions are to be multiplied by."""

    factor: float = 1.0
    spread: tuple[float, float] = UNKNOWN_SPREAD
    """The interval of 8 in 10 measurements, as shares of the corrected prediction."""
    error: float | None = None
    """Median relative error of predicting each measurement from the others: half of them are closer."""
    pairs: int = 0

    def interval(self, prediction: float) -> tuple[float, float, float]:
        """Low, middle and high of a corrected prediction."""
        middle = self.factor * prediction
        return self.spread[0] * middle, middle, self.spread[1] * middle


def calibrate(pairs: Sequence[tuple[float, float]]) -> Calibration:
    """Learn from (predicted, measured) pairs: the median of their ratios, which a few odd ones do not move.

    Raises:
        ValueError: a number is not above 0.
    """
    for predicted, measured in pairs:
        if predicted <= 0 or measured <= 0:
            raise ValueError(f"predicted and measured must be above 0, but a pair is ({predicted}, {measured})")
    if not pairs:
        return Calibration()
    ratios = [measured / predicted for predicted, measured in pairs]
    factor = statistics.median(ratios)
    if len(ratios) == 1:
        return Calibration(factor, UNKNOWN_SPREAD, None, 1)
    deciles = statistics.quantiles(ratios, n=10, method="inclusive")
    spread = (min(1.0, deciles[0] / factor), max(1.0, deciles[-1] / factor))
    return Calibration(factor, spread, statistics.median(left_out_errors(ratios)), len(ratios))


def left_out_errors(ratios: Sequence[float]) -> list[float]:
    """|predicted / measured − 1| of each pair, its prediction corrected by the median ratio of all the others."""
    found = []
    for place, ratio in enumerate(ratios):
        others = [*ratios[:place], *ratios[place + 1 :]]
        found.append(abs(statistics.median(others) / ratio - 1))
    return found
