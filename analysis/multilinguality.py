"""Multilinguality retention: sentence retrieval by layer, before phase 2 (the pretrained encoder) and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.measurements import Arm, Measurements
from analysis.statistics import UNDEFINED, Bootstrap, Estimate, Floats

MEASURE = "retrieval"


@dataclass(frozen=True)
class LayerCurve:
    """Retrieval accuracy of one encoder by layer, the mean over languages."""

    arm: Arm
    """`intermediate` is `none` before phase 2."""
    task: str
    languages: tuple[str, ...]
    layers: Floats
    value: Floats
    low: Floats
    high: Floats
    """[layers]"""
    best_layer: int
    """The layer that was best before phase 2; -1 where that was not measured."""
    change: Estimate = UNDEFINED
    """Accuracy at `best_layer` minus that before phase 2; undefined for `none`."""


def layer_curves(arms: Sequence[Arm], measurements: Measurements, bootstrap: Bootstrap) -> list[LayerCurve]:
    """One curve per scale, intermediate and retrieval task."""
    before = {(arm.scale, arm.targets): arm for arm in arms if arm.intermediate == "none"}
    return [
        _curve(arm, task, before.get((arm.scale, arm.targets)), measurements, bootstrap)
        for arm in arms
        for task in dict(measurements.pairs(arm.ordered_keys, MEASURE))
    ]


def _curve(arm: Arm, task: str, before: Arm | None, measurements: Measurements, bootstrap: Bootstrap) -> LayerCurve:
    languages = _languages(arm, task, measurements)
    layers = measurements.steps(arm.ordered_keys, MEASURE, task, languages[0])
    value, samples = _means(arm, task, languages, layers, measurements, bootstrap)
    low, high = bootstrap.interval(samples)
    best, change = -1, UNDEFINED
    if before is not None:
        shared = [language for language in languages if language in _languages(before, task, measurements)]
        if shared:
            first, first_samples = _means(before, task, shared, layers, measurements, bootstrap)
            best = int(first.argmax())
            if before is not arm:
                after, after_samples = _means(arm, task, shared, layers, measurements, bootstrap)
                change = bootstrap.estimate(after[best] - first[best], (after_samples - first_samples)[:, best])
    return LayerCurve(arm, task, tuple(languages), np.array(layers, dtype=np.float64), value, low, high, best, change)


def _languages(arm: Arm, task: str, measurements: Measurements) -> list[str]:
    return [language for name, language in measurements.pairs(arm.ordered_keys, MEASURE) if name == task]


def _means(
    arm: Arm, task: str, languages: list[str], layers: list[int], measurements: Measurements, bootstrap: Bootstrap
) -> tuple[Floats, Floats]:
    """[layers] and [B, layers], over languages."""
    scores = [measurements.scores(arm.ordered_keys, MEASURE, task, language, layers) for language in languages]
    samples = np.mean([bootstrap.means(part) for part in scores], axis=0)
    return np.mean([part.mean(axis=(0, 1)) for part in scores], axis=0), samples
