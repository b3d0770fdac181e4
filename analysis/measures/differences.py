"""The grid of the study: what each intermediate adds to each target, at each scale and between scales."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from analysis.inference.effect import Effect
from analysis.inference.statistics import Bootstrap, Estimate
from analysis.measures.multilinguality import LayerCurve
from analysis.measures.transfer import Cell
from trainers.stage.languages import ENGLISH
from trainers.tasks.intermediates import NONE

SIDES = ("English", "other languages")

Point = tuple[str, str, str]
"""Side, intermediate, target."""


@dataclass(frozen=True)
class GridGain:
    """A gain at one scale, or the difference of two scales' gains."""

    where: str
    """`large`, or `large − base`."""
    side: str
    intermediate: str
    target: str
    gain: Estimate


def gain_grids(
    cells: Sequence[Cell], layers: Sequence[LayerCurve], scales: Sequence[str], bootstrap: Bootstrap
) -> list[GridGain]:
    """Gains of all scales, then the differences of scales that follow one another, and of the ends.

    Args:
        scales: from small to large.
    """
    effects: dict[str, dict[Point, Effect]] = {scale: {} for scale in scales}
    for scale, point, effect in _gains(cells, layers):
        effects[scale][point] = effect
    gains = [
        GridGain(scale, *point, effect.estimate(bootstrap))
        for scale in scales
        for point, effect in effects[scale].items()
    ]
    pairs = [*pairwise(scales), *([(scales[0], scales[-1])] if len(scales) > 2 else [])]
    for smaller, larger in pairs:
        for point, effect in effects[larger].items():
            other = effects[smaller].get(point)
            if other and effect.seeds == other.seeds:  # else they are not paired
                gains.append(GridGain(f"{larger} − {smaller}", *point, (effect - other).estimate(bootstrap)))
    return gains


def _gains(cells: Sequence[Cell], layers: Sequence[LayerCurve]) -> Iterator[tuple[str, Point, Effect]]:
    """Scale, point, gain."""
    for cell in cells:
        if cell.gain_samples is None:
            continue
        english = [place for place, gain in enumerate(cell.gains) if gain.language == ENGLISH]
        others = [place for place, gain in enumerate(cell.gains) if gain.language != ENGLISH]
        for side, places in zip(SIDES, (english, others), strict=True):
            if places:
                value = sum(cell.gains[place].gain.value for place in places) / len(places)
                samples = cell.gain_samples[:, places].mean(axis=1)
                point = side, cell.arm.intermediate, cell.target
                yield cell.arm.scale, point, Effect(value, samples, cell.paired_seeds)
    for curve in layers:
        if curve.arm.intermediate != NONE and curve.change_samples is not None and not math.isnan(curve.change.value):
            point = (SIDES[1], curve.arm.intermediate, curve.task)
            effect = Effect(curve.change.value, curve.change_samples, tuple(curve.arm.seeds))
            yield curve.arm.scale, point, effect
