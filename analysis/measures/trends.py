"""The trend of retention over scale: of each training by itself, and the mean of those that can be averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.inference.statistics import Bootstrap, Estimate, Floats
from analysis.measures import retention
from analysis.measures.curves import HEADS, Curve, shares
from trainers.stage.languages import ENGLISH


@dataclass(frozen=True)
class Trend:
    """Slope of R(T) on log10(non-embedding parameters), English."""

    smallest: Curve
    """That of the smallest scale."""
    scales: tuple[str, ...]
    seeds: int
    """Of the scale that has the fewest."""
    overall: Estimate
    within: dict[str, Estimate]
    """The same inside each LayerNorm family that has two scales or more: placement is confounded with scale."""
    adjusted: Estimate
    """The slope at equal placement; undefined where no family has two scales."""
    samples: Floats
    adjusted_samples: Floats
    """[B] resamples of the overall slope, and of that at equal placement."""


def scale_trends(curves: Sequence[Curve], bootstrap: Bootstrap) -> list[Trend]:
    """One trend per training, probed task and head with a defined English R(T) at two scales or more."""
    groups: dict[tuple, list[Curve]] = {}
    for curve in curves:
        if curve.language == ENGLISH and not curve.undefined:
            groups.setdefault((*curve.training, curve.task, curve.head), []).append(curve)
    return [_trend(group, bootstrap) for group in groups.values() if _sizes(group) > 1]


def different_task(trend: Trend, head: str) -> bool:
    """Whether it is of this head, and of a target with another task than the probed one."""
    return trend.smallest.head == head and not trend.smallest.same_task


def pooled_trends(trends: Sequence[Trend], head: str) -> list[Trend]:
    """Those whose mean tells of scale: of different tasks, and over every scale that any of them has.

    A slope from base to large is not that from base to XXL: where trends of either were averaged, the mean would
    hang on which trainings have come how far, or have a retention at the scale where little is learned.
    """
    own = [trend for trend in trends if different_task(trend, head)]
    scales = {scale for trend in own for scale in trend.scales}
    return [trend for trend in own if set(trend.scales) == scales]


def pooled_slopes(
    trends: Sequence[Trend], bootstrap: Bootstrap, at_equal_placement: bool = False
) -> dict[str, Estimate]:
    """Head → the mean slope of its pooled trends.

    Args:
        at_equal_placement: of the adjusted slopes, where these are defined; else of the overall ones.
    """
    pooled = {}
    for head in HEADS:
        own = pooled_trends(trends, head)
        if at_equal_placement:
            own = [trend for trend in own if not math.isnan(trend.adjusted.value)]
        if own:
            share = shares([trend.smallest for trend in own])
            values = [(trend.adjusted if at_equal_placement else trend.overall).value for trend in own]
            samples = [trend.adjusted_samples if at_equal_placement else trend.samples for trend in own]
            pooled[head] = bootstrap.estimate(share @ values, share @ samples, min(trend.seeds for trend in own))
    return pooled


def _sizes(group: Sequence[Curve]) -> int:
    return len({curve.arm.non_embedding_parameters for curve in group})


def _trend(group: list[Curve], bootstrap: Bootstrap) -> Trend:
    overall, samples = _slope(group, bootstrap, retention.scale_slope)
    families: dict[str, list[Curve]] = {}
    for curve in group:
        families.setdefault(curve.arm.layer_norm, []).append(curve)
    within = {
        family: _slope(members, bootstrap, retention.scale_slope)[0]
        for family, members in families.items()
        if _sizes(members) > 1
    }
    placement = [curve.arm.layer_norm for curve in group]
    adjusted, adjusted_samples = _slope(
        group, bootstrap, partial(retention.slope_at_equal_placement, layer_norms=placement)
    )
    return Trend(
        group[0],
        tuple(curve.arm.scale for curve in group),
        min(len(curve.seeds) for curve in group),
        overall,
        within,
        adjusted,
        samples,
        adjusted_samples,
    )


def _slope(
    group: list[Curve], bootstrap: Bootstrap, slope: Callable[[Floats, Floats], Floats]
) -> tuple[Estimate, Floats]:
    parameters = np.array([curve.arm.non_embedding_parameters for curve in group], dtype=np.float64)
    values = np.array([curve.final.value for curve in group])
    samples = slope(np.stack([curve.final_samples for curve in group], axis=-1), parameters)
    seeds = min(len(curve.seeds) for curve in group)
    return bootstrap.estimate(slope(values, parameters), samples, seeds), samples
