"""Multilinguality retention: sentence retrieval by layer, before phase 2 (the pretrained encoder) and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.inference.statistics import UNDEFINED, Bootstrap, Estimate, Floats
from analysis.measures import retention
from analysis.records.measurements import Arm, Measurements
from trainers.tasks.intermediates import NONE

PLAIN, NORMED = "retrieval", "retrieval_normed"
"""On the hidden states as they are; and after the final LayerNorm, where the encoder has one (pre-LN: XL, XXL)."""

Measured = tuple[str, str]
"""Measure and task."""


@dataclass(frozen=True)
class LayerCurve:
    """Retrieval accuracy of one encoder by layer, the mean over languages."""

    arm: Arm
    """`intermediate` is `none` before phase 2."""
    task: str
    languages: tuple[str, ...]
    layers: Floats
    value: Floats
    changes: Floats
    """Both [layers]; changes since before phase 2 are over the languages that both encoders have, NaN without any."""
    compared_layer: int
    """The layer at the depth that the sweep fixed before its results were seen."""
    compared: Estimate
    """There, and only there, accuracy has an interval: the other layers are shown and not concluded from."""
    change: Estimate = UNDEFINED
    """Accuracy at `compared_layer` minus that before phase 2; undefined for `none` and where that was not measured."""
    change_samples: Floats | None = None
    """[B] resamples of the change."""
    change_by_seed: Floats | None = None
    """[seeds]"""


def layer_curves(
    arms: Sequence[Arm], measure: str, measurements: Measurements, bootstrap: Bootstrap, depth: float
) -> list[LayerCurve]:
    """One curve per scale, intermediate and retrieval task that have the measure.

    Args:
        measure: `PLAIN` or `NORMED`.
        depth: share of the layers at which encoders are compared.
    """
    before = {(arm.scale, arm.targets): arm for arm in arms if arm.intermediate == "none"}
    return [
        _curve(arm, (measure, task), before.get((arm.scale, arm.targets)), measurements, bootstrap, depth)
        for arm in arms
        for task in dict(measurements.pairs(arm.ordered_keys, measure))
    ]


def _curve(
    arm: Arm, what: Measured, before: Arm | None, measurements: Measurements, bootstrap: Bootstrap, depth: float
) -> LayerCurve:
    languages = _languages(arm, what, measurements)
    layers = measurements.steps(arm.ordered_keys, *what, languages[0])
    compared = round(depth * layers[-1])
    by_seed, samples = _means(arm, what, languages, compared, measurements, bootstrap)
    value = _by_layer(arm, what, languages, layers, measurements)
    curve = LayerCurve(
        arm,
        what[1],
        tuple(languages),
        np.array(layers, dtype=np.float64),
        value,
        np.full_like(value, np.nan),
        compared,
        bootstrap.estimate(by_seed.mean(), samples, None if arm.intermediate == NONE else len(arm.seeds)),
    )
    if before is None or before is arm:
        return curve
    shared = [language for language in languages if language in _languages(before, what, measurements)]
    if not shared:
        return curve
    first, first_samples = _means(before, what, shared, compared, measurements, bootstrap, fixed=True)
    after, after_samples = _means(arm, what, shared, compared, measurements, bootstrap)
    # The pretrained encoder has no seed of its own: the seeds are those of phase 2.
    change_by_seed = retention.multilinguality_change(after, first.mean())
    change_samples = retention.multilinguality_change(after_samples, first_samples)
    both = (_by_layer(owner, what, shared, layers, measurements) for owner in (arm, before))
    return replace(
        curve,
        changes=retention.multilinguality_change(*both),
        change=bootstrap.estimate(change_by_seed.mean(), change_samples, len(arm.seeds)),
        change_samples=change_samples,
        change_by_seed=change_by_seed,
    )


def _by_layer(arm: Arm, what: Measured, languages: list[str], layers: list[int], measurements: Measurements) -> Floats:
    """[layers] scores, means over languages and seeds."""
    return np.mean([measurements.values(arm.ordered_keys, *what, one, layers) for one in languages], axis=(0, 1))


def _languages(arm: Arm, what: Measured, measurements: Measurements) -> list[str]:
    measure, task = what
    return [language for name, language in measurements.pairs(arm.ordered_keys, measure) if name == task]


def _means(
    arm: Arm,
    what: Measured,
    languages: list[str],
    layer: int,
    measurements: Measurements,
    bootstrap: Bootstrap,
    fixed: bool = False,
) -> tuple[Floats, Floats]:
    """[seeds] and [B], means over languages.

    Args:
        fixed: no seed changes this encoder: where there are no examples to draw it has one value, not an unknown one.
    """
    found = [measurements.examples(arm.ordered_keys, *what, language, [layer]) for language in languages]
    drawn = bootstrap.means_of_each(found)
    if fixed:
        drawn = np.where(np.isnan(drawn), [part.by_seed.mean() for part in found], drawn)
    return np.mean([part.by_seed[:, 0] for part in found], axis=0), drawn.mean(axis=1)
