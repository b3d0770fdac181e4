"""Retention curves of every arm, probed task, head and language."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.inference.statistics import FEWEST_SEEDS, UNDEFINED, Bootstrap, Estimate, Floats
from analysis.measures import decay, retention
from analysis.records.measurements import Arm, Measurements, path
from trainers.stage.languages import ENGLISH
from trainers.stage.scores import FOLDS, without_fold

HEADS = ("stored", "refit")
"""The measures that make a curve: A (stored head) and P (refit head)."""


@dataclass(frozen=True)
class Curve:
    """R(τ) of one arm's probed task, through one head, in one language."""

    arm: Arm
    head: str
    task: str
    """The probed task: the intermediate, or one of its tasks."""
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
    fit: decay.Fit
    """The shape of the curve; only English curves that are defined are fitted."""
    backward_transfer: Estimate
    forgetting: Estimate
    final_samples: Floats
    """[B] resamples of R(T), drawn alike for all curves."""

    @property
    def subject(self) -> str:
        """What is retained, as a person calls it: `mnli`, or of an intermediate of several tasks `all9 · mnli`."""
        return f"{self.arm.intermediate} · {self.task}" if len(self.arm.probed) > 1 else self.arm.intermediate

    @property
    def same_task(self) -> bool:
        """The target trains on the probed task itself: a longer training of it, and no test of retention."""
        return self.task == self.arm.trained

    @property
    def path(self) -> str:
        """What a person calls the curve, e.g. `mnli → pawsx`."""
        return path(self.subject, self.arm.targets) + " (same task)" * self.same_task

    @property
    def training(self) -> tuple[str, tuple[str, ...]]:
        """Intermediate and targets: the training in which this was probed, at whatever scale."""
        return self.arm.intermediate, self.arm.targets


@dataclass(frozen=True)
class HeadComparison:
    """Did the head fail, or was the representation lost?  Mean R(T) of one scale's trainings, English.

    Each training counts once, however many of its intermediate's tasks are probed; so it does in pooled slopes.
    """

    scale: str
    trainings: int
    stored: Estimate
    refit: Estimate
    difference: Estimate
    """refit − stored: what a new head would still find."""


def retention_curves(arms: Sequence[Arm], measurements: Measurements, bootstrap: Bootstrap) -> list[Curve]:
    """Every curve that the arms' probes give; arms without probes (`none`) give none."""
    return [
        _curve(arm, head, task, language, measurements, bootstrap)
        for arm in arms
        for head in HEADS
        for task, language in measurements.pairs(arm.ordered_keys, head)
        if measurements.steps(arm.ordered_keys, head, task, language)[:1] == [0]
    ]


def head_comparisons(curves: Sequence[Curve], bootstrap: Bootstrap) -> list[HeadComparison]:
    """One per scale, over the English curves that are defined through both heads; same-task trainings left out."""
    pairs: dict[str, dict[tuple, dict[str, Curve]]] = {}
    for curve in curves:
        if curve.language == ENGLISH and not curve.undefined and not curve.same_task:
            pairs.setdefault(curve.arm.scale, {}).setdefault((*curve.training, curve.task), {})[curve.head] = curve
    found = []
    for scale, probed in pairs.items():
        both = [heads for heads in probed.values() if len(heads) == len(HEADS)]
        if both:
            share = shares([heads["stored"] for heads in both])
            value = {head: share @ [heads[head].final.value for heads in both] for head in HEADS}
            samples = {head: share @ [heads[head].final_samples for heads in both] for head in HEADS}
            seeds = min(len(curve.seeds) for heads in both for curve in heads.values())
            stored, refit = (bootstrap.estimate(value[head], samples[head], seeds) for head in HEADS)
            difference = bootstrap.estimate(
                value["refit"] - value["stored"], samples["refit"] - samples["stored"], seeds
            )
            trainings = len({heads["stored"].training for heads in both})
            found.append(HeadComparison(scale, trainings, stored, refit, difference))
    return found


def final_means(curves: Sequence[Curve], bootstrap: Bootstrap) -> dict[tuple[Arm, str], Estimate]:
    """Arm and head → R(T) in English, the mean over those of its probed tasks where it is defined."""
    groups: dict[tuple[Arm, str], list[Curve]] = {}
    for curve in curves:
        if curve.language == ENGLISH and not curve.undefined:
            groups.setdefault((curve.arm, curve.head), []).append(curve)
    return {
        name: bootstrap.estimate(
            float(np.mean([curve.final.value for curve in group])),
            np.mean([curve.final_samples for curve in group], axis=0),
            len(name[0].seeds),
        )
        for name, group in groups.items()
    }


def shares(curves: Sequence[Curve]) -> Floats:
    """What each curve counts in a mean in which each training counts once."""
    probed = Counter(curve.training for curve in curves)
    return np.array([1 / probed[curve.training] for curve in curves]) / len(probed)


def _curve(arm: Arm, head: str, task: str, language: str, measurements: Measurements, bootstrap: Bootstrap) -> Curve:
    keys = arm.ordered_keys
    steps = measurements.steps(keys, head, task, language)
    found = measurements.examples(keys, head, task, language, steps)
    by_seed = found.by_seed  # [seeds, τ]
    samples = bootstrap.means(found) + _of_refitting(
        keys, head, task, language, steps, measurements, bootstrap
    )  # [B, τ]
    base, base_samples = _base(arm, head, task, language, measurements, bootstrap)

    total = by_seed.mean(axis=0)
    what = "A(0) − c" if head == "stored" else "P(0) − P_base"
    # Whether these runs had anything to retain their examples can tell, even of one seed.
    several = len(keys) if len(keys) >= FEWEST_SEEDS else None
    denominator = bootstrap.estimate(total[0] - base.mean(), samples[:, 0] - base_samples, several)
    undefined = (
        f"{what} is unknown: the untouched encoder was not probed"
        if np.isnan(base).any()
        else retention.nothing_to_retain(denominator, what)
    )

    retained = retention.retention if head == "stored" else retention.representation_retention
    value, value_samples = retained(total, base.mean()), retained(samples, base_samples)
    low, high = bootstrap.interval(value, value_samples, len(keys))
    low[0] = high[0] = value[0]  # R(0) = 1 by what it is, which nothing can vary
    x = np.array(steps, dtype=np.float64)
    area = partial(retention.area_under_retention, steps=x)
    return Curve(
        arm,
        head,
        task,
        language,
        tuple(arm.seeds),
        x,
        retained(by_seed, base),
        value,
        low,
        high,
        undefined,
        final=UNDEFINED if undefined else bootstrap.estimate(value[-1], value_samples[:, -1], len(keys)),
        area=UNDEFINED if undefined else bootstrap.estimate(area(value), area(value_samples), len(keys)),
        half_life=math.nan if undefined else float(retention.half_life(value, x)),
        fit=decay.NO_FIT
        if undefined or language != ENGLISH
        else decay.fit(value, value_samples, x, len(keys), bootstrap),
        backward_transfer=bootstrap.estimate(
            retention.backward_transfer(total), retention.backward_transfer(samples), len(keys)
        ),
        forgetting=bootstrap.greatest(
            retention.forgetting(total), total - total[-1], samples - samples[:, -1:], len(keys)
        ),
        final_samples=value_samples[:, -1],
    )


def _base(
    arm: Arm, head: str, task: str, language: str, measurements: Measurements, bootstrap: Bootstrap
) -> tuple[Floats, Floats]:
    """What retention is measured from, [seeds] and [B]: c for the stored head, P_base for the refit one.

    NaN where the untouched encoder was not probed.
    """
    if head == "stored":
        chance = measurements.chance(arm.ordered_keys[0], head, task, language)
        return np.full(len(arm.seeds), chance), np.full(bootstrap.resamples, chance)
    parents = [arm.parents[seed] or "" for seed in arm.seeds]
    if not measurements.steps(parents, "untouched", task, language):
        return np.full(len(arm.seeds), np.nan), np.full(bootstrap.resamples, np.nan)
    found = measurements.examples(parents, "untouched", task, language, [0])
    refitting = _of_refitting(parents, "untouched", task, language, [0], measurements, bootstrap)
    return found.by_seed[:, 0], (bootstrap.means(found) + refitting)[:, 0]


def _of_refitting(
    keys: Sequence[str],
    measure: str,
    task: str,
    language: str,
    steps: Sequence[int],
    measurements: Measurements,
    bootstrap: Bootstrap,
) -> Floats | float:
    """[B, τ] what other refit examples would change; 0 where there are no heads without a fold.

    The folds are the same in all stages, so that P(τ), P(0) and P_base change together.
    """
    measures = [without_fold(measure, fold) for fold in range(FOLDS)]
    if any(not set(steps) <= set(measurements.steps(keys, one, task, language)) for one in measures):
        return 0.0
    without = [measurements.values(keys, one, task, language, steps).mean(axis=0) for one in measures]
    return bootstrap.of_training_examples(np.array(without))
