"""Retention curves of every arm, head and language, and their trend over scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis import retention
from analysis.measurements import Arm, Measurements
from analysis.statistics import UNDEFINED, Bootstrap, Estimate, Floats
from trainers.tasks import ENGLISH

HEADS = ("stored", "refit")
"""The measures that make a curve: A (stored head) and P (refit head)."""


@dataclass(frozen=True)
class Curve:
    """R(τ) of one arm, through one head, in one language."""

    arm: Arm
    head: str
    task: str
    """The probed task: the intermediate, or in other languages its multilingual form."""
    language: str
    seeds: tuple[int, ...]
    steps: Floats
    """[τ]"""
    by_seed: Floats
    """[seeds, τ] R of each seed alone."""
    value: Floats
    low: Floats
    high: Floats
    """[τ] R of the means over seeds and examples, and its interval."""
    undefined: str
    """Why R is undefined; empty where it is not."""
    final: Estimate
    """R(T)"""
    area: Estimate
    half_life: float
    """Infinite where R never fell below ½."""
    backward_transfer: Estimate
    forgetting: Estimate
    final_samples: Floats
    """[B] resamples of R(T), drawn alike for all curves."""


@dataclass(frozen=True)
class Trend:
    """Slope of R(T) on log10(non-embedding parameters), English."""

    intermediate: str
    targets: tuple[str, ...]
    head: str
    scales: tuple[str, ...]
    seeds: int
    """Of the scale that has the fewest."""
    overall: Estimate
    within: dict[str, Estimate]
    """The same inside each LayerNorm family that has two scales or more: placement is confounded with scale."""
    samples: Floats
    """[B] resamples of the overall slope."""


def retention_curves(arms: Sequence[Arm], measurements: Measurements, bootstrap: Bootstrap) -> list[Curve]:
    """Every curve that the arms' probes give; arms without probes (`none`) give none."""
    return [_curve(arm, head, task, language, measurements, bootstrap)
            for arm in arms for head in HEADS for task, language in measurements.pairs(_keys(arm), head)]


def scale_trends(curves: Sequence[Curve], bootstrap: Bootstrap) -> list[Trend]:
    """One trend per intermediate, targets and head with a defined English R(T) at two scales or more."""
    groups: dict[tuple, list[Curve]] = {}
    for curve in curves:
        if curve.language == ENGLISH and not curve.undefined:
            groups.setdefault((curve.arm.intermediate, curve.arm.targets, curve.head), []).append(curve)
    return [_trend(*name, group, bootstrap) for name, group in groups.items() if _sizes(group) > 1]


def _keys(arm: Arm) -> list[str]:
    return [arm.keys[seed] for seed in arm.seeds]


def _curve(arm: Arm, head: str, task: str, language: str, measurements: Measurements, bootstrap: Bootstrap) -> Curve:
    keys = _keys(arm)
    steps = measurements.steps(keys, head, task, language)
    scores = measurements.scores(keys, head, task, language, steps)
    measured, samples = scores.mean(axis=1), bootstrap.means(scores)  # [seeds, τ], [B, τ]

    if head == "stored":
        chance = measurements.chance(keys[0], head, task, language)
        base, base_samples = np.full(len(keys), chance), np.full(len(samples), chance)
        what = "A(0) − c"
    else:
        parents = [arm.parents[seed] or "" for seed in arm.seeds]
        if not measurements.steps(parents, "untouched", task, language):
            base, base_samples = np.full(len(keys), np.nan), np.full(len(samples), np.nan)
        else:
            untouched = measurements.scores(parents, "untouched", task, language, [0])
            base, base_samples = untouched.mean(axis=1)[:, 0], bootstrap.means(untouched)[:, 0]
        what = "P(0) − P_base"

    retained = retention.representation_retention  # with c for P_base it is `retention.retention`
    total = measured.mean(axis=0)
    denominator = bootstrap.estimate(total[0] - base.mean(), samples[:, 0] - base_samples)
    undefined = (f"{what} is unknown: the untouched encoder was not probed" if np.isnan(base).any()
                 else retention.nothing_to_retain(denominator, what))
    value = retained(total, base.mean())
    value_samples = retained(samples, base_samples)
    low, high = bootstrap.interval(value_samples)
    x = np.array(steps, dtype=np.float64)
    area = partial(retention.area_under_retention, steps=x)
    return Curve(
        arm, head, task, language, tuple(arm.seeds), x, retained(measured, base), value, low, high, undefined,
        final=UNDEFINED if undefined else bootstrap.estimate(value[-1], value_samples[:, -1]),
        area=UNDEFINED if undefined else bootstrap.estimate(area(value), area(value_samples)),
        half_life=math.nan if undefined else float(retention.half_life(value, x)),
        backward_transfer=_estimate(retention.backward_transfer, total, samples, bootstrap),
        forgetting=_estimate(retention.forgetting, total, samples, bootstrap),
        final_samples=value_samples[:, -1],
    )


def _estimate(measure, total: Floats, samples: Floats, bootstrap: Bootstrap) -> Estimate:
    return bootstrap.estimate(measure(total), measure(samples))


def _sizes(group: Sequence[Curve]) -> int:
    return len({curve.arm.non_embedding_parameters for curve in group})


def _trend(intermediate: str, targets: tuple[str, ...], head: str, group: list[Curve], bootstrap: Bootstrap) -> Trend:
    overall, samples = _slope(group, bootstrap)
    families: dict[str, list[Curve]] = {}
    for curve in group:
        families.setdefault(curve.arm.layer_norm, []).append(curve)
    within = {family: _slope(members, bootstrap)[0] for family, members in families.items() if _sizes(members) > 1}
    return Trend(intermediate, targets, head, tuple(curve.arm.scale for curve in group),
                 min(len(curve.seeds) for curve in group), overall, within, samples)


def _slope(group: list[Curve], bootstrap: Bootstrap) -> tuple[Estimate, Floats]:
    parameters = np.array([curve.arm.non_embedding_parameters for curve in group], dtype=np.float64)
    values = np.array([curve.final.value for curve in group])
    samples = retention.scale_slope(np.stack([curve.final_samples for curve in group], axis=-1), parameters)
    return bootstrap.estimate(retention.scale_slope(values, parameters), samples), samples
