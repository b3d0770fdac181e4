"""Zero-shot transfer: what an intermediate adds to each target in each language, and each cell's summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from analysis.inference.statistics import UNDEFINED, Bootstrap, Estimate, Floats, holm, interquartile_mean, p_value
from analysis.measures import retention
from analysis.records.measurements import Arm, Measurements
from trainers.stage.languages import ENGLISH

MEASURE = "zero_shot"


@dataclass(frozen=True)
class Gain:
    """G(l): what training through the intermediate adds to a target in one language."""

    language: str
    gain: Estimate
    p: float
    """Two-sided, uncorrected; NaN where untestable."""
    p_holm: float = math.nan
    """Corrected over the languages and targets of one scale and intermediate."""


@dataclass(frozen=True)
class Cell:
    """One scale, intermediate and target; scores over the cell's seeds, gains over those it shares with `none`."""

    arm: Arm
    target: str
    seeds: tuple[int, ...]
    scores: dict[str, Estimate]
    """Zero-shot score by language, English first."""
    others: Estimate
    """Mean score of the languages other than English."""
    others_iqm: float
    """Their interquartile mean over seeds and languages."""
    gap: Estimate
    """Cross-lingual transfer gap."""
    paired_seeds: tuple[int, ...] = ()
    """Seeds that `none` has, too; empty for `none` itself."""
    gains: tuple[Gain, ...] = ()
    others_gain: Estimate = UNDEFINED
    """Mean gain of the languages other than English."""
    gain_retention: Estimate = UNDEFINED
    """Mean gain of other languages over the English one; undefined where that is within its interval of 0."""
    gap_change: Estimate = UNDEFINED
    """The gap through the intermediate minus the gap without."""
    gain_samples: Floats | None = None
    """[B, languages] resamples of the gains."""
    gains_by_seed: Floats | None = None
    """[paired seeds, languages]"""
    paired_scores: tuple[Floats, ...] = ()
    """[paired seeds] mean scores over languages: through the intermediate, and without."""

    @property
    def english_gain(self) -> Estimate:
        return next((gain.gain for gain in self.gains if gain.language == ENGLISH), UNDEFINED)


@dataclass(frozen=True)
class MeanGain:
    """What an intermediate adds at one scale: the mean over targets, each target counting once."""

    scale: str
    intermediate: str
    targets: tuple[str, ...]
    """Over which it goes: the same for every scale and intermediate."""
    lacking: tuple[str, ...]
    """Those without a gain here: where there are any, the mean is undefined."""
    english: Estimate
    others: Estimate


def lacking(found: Iterable[Cell]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Scale and intermediate → the targets in which it has no gain in a language in which another has one.

    Means over unlike targets differ by what the targets are, whatever the intermediates do: where any is lacking,
    there is no mean that could stand beside the others.
    """
    arms: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for cell in found:
        own = {(cell.target, gain.language) for gain in cell.gains}
        arms.setdefault((cell.arm.scale, cell.arm.intermediate), set()).update(own)
    every = set().union(*arms.values())
    return {arm: tuple(sorted({target for target, _ in every - own})) for arm, own in arms.items()}


def mean_gains(found: Sequence[Cell], bootstrap: Bootstrap) -> list[MeanGain]:
    """One per scale and intermediate, over the targets that have English and other languages."""
    groups: dict[tuple[str, str], list[tuple[Cell, Floats]]] = {}
    for cell in found:
        if cell.gain_samples is not None and cell.gains[0].language == ENGLISH and len(cell.gains) > 1:
            groups.setdefault((cell.arm.intermediate, cell.arm.scale), []).append((cell, cell.gain_samples))
    counted = [cell for members in groups.values() for cell, _ in members]
    targets, absent = tuple(sorted({cell.target for cell in counted})), lacking(counted)
    means = []
    for (intermediate, scale), members in groups.items():
        english = others = UNDEFINED
        if not absent[scale, intermediate]:
            seeds = min(len(cell.paired_seeds) for cell, _ in members)
            english = bootstrap.estimate(
                float(np.mean([cell.english_gain.value for cell, _ in members])),
                np.mean([samples[:, 0] for _, samples in members], axis=0),
                seeds,
            )
            others = bootstrap.estimate(
                float(np.mean([cell.others_gain.value for cell, _ in members])),
                np.mean([samples[:, 1:].mean(axis=1) for _, samples in members], axis=0),
                seeds,
            )
        means.append(MeanGain(scale, intermediate, targets, absent[scale, intermediate], english, others))
    return means


def cells(arms: Sequence[Arm], measurements: Measurements, bootstrap: Bootstrap) -> list[Cell]:
    """One cell per arm and target that was scored, gains corrected for their number."""
    without = {(arm.scale, arm.trained): arm for arm in arms if arm.intermediate == "none"}

    @cache  # the arms without an intermediate are drawn once, and not for each that has one
    def scores(keys: tuple[str, ...], target: str, languages: tuple[str, ...]) -> Scores:
        return Scores(keys, target, languages, measurements, bootstrap)

    found = [
        _cell(arm, target, languages, without.get((arm.scale, arm.trained)), measurements, bootstrap, scores)
        for arm in arms
        for target, languages in languages_by_target(arm.ordered_keys, measurements).items()
    ]
    return _corrected(found)


def languages_by_target(keys: Sequence[str], measurements: Measurements) -> dict[str, list[str]]:
    """Each target that all of these stages were scored in, after the same step, with its languages, English first."""
    targets: dict[str, list[str]] = {}
    for task, language in measurements.pairs(keys, MEASURE):
        if measurements.steps(keys, MEASURE, task, language):
            targets.setdefault(task, []).append(language)
    return targets


class Scores:
    """Scores of one target in several languages: per seed, in the mean, and in every resample."""

    def __init__(
        self,
        keys: Sequence[str],
        target: str,
        languages: Sequence[str],
        measurements: Measurements,
        bootstrap: Bootstrap,
    ) -> None:
        by_language = []
        for language in languages:
            steps = measurements.steps(keys, MEASURE, target, language)[-1:]
            by_language.append(measurements.examples(keys, MEASURE, target, language, steps))
        self.by_seed: Floats = np.concatenate([found.by_seed for found in by_language], axis=-1)  # [seeds, languages]
        self.value: Floats = self.by_seed.mean(axis=0)
        self.samples: Floats = bootstrap.means_of_each(by_language)


def _cell(
    arm: Arm,
    target: str,
    languages: list[str],
    without: Arm | None,
    measurements: Measurements,
    bootstrap: Bootstrap,
    scores: Callable[[tuple[str, ...], str, tuple[str, ...]], Scores],
) -> Cell:
    def scores_of(owner: Arm, seeds: Iterable[int]) -> Scores:
        return scores(tuple(owner.keys[seed] for seed in seeds), target, tuple(languages))

    ours, count = scores_of(arm, arm.seeds), len(arm.seeds)
    has_english = languages[0] == ENGLISH  # it stands first wherever it is
    others = slice(int(has_english), None)
    both = has_english and len(languages) > 1

    def mean_of_others(value: Floats, samples: Floats, seeds: int) -> Estimate:
        if not languages[others]:
            return UNDEFINED
        return bootstrap.estimate(value[others].mean(), samples[:, others].mean(axis=1), seeds)

    gap = UNDEFINED
    if both:
        gap = bootstrap.estimate(
            retention.cross_lingual_gap(ours.value), retention.cross_lingual_gap(ours.samples), count
        )
    cell = Cell(
        arm,
        target,
        tuple(arm.seeds),
        scores={
            language: bootstrap.estimate(ours.value[place], ours.samples[:, place], count)
            for place, language in enumerate(languages)
        },
        others=mean_of_others(ours.value, ours.samples, count),
        others_iqm=interquartile_mean(ours.by_seed[:, others]),
        gap=gap,
    )
    shared = _shared_seeds(arm, without, target, languages, measurements)
    if without is None or not shared:
        return cell
    via, plain = scores_of(arm, shared), scores_of(without, shared)
    count = len(shared)
    value = retention.transfer_gain(via.value, plain.value)
    samples = retention.transfer_gain(via.samples, plain.samples)
    gains = []
    for place, language in enumerate(languages):
        gain = bootstrap.estimate(value[place], samples[:, place], count)
        gains.append(Gain(language, gain, p_value(gain.value, samples[:, place], count)))
    kept = change = UNDEFINED
    if both:
        change = bootstrap.estimate(
            retention.gap_change(via.value, plain.value), retention.gap_change(via.samples, plain.samples), count
        )
    if both and gains[0].gain.differs_from_zero:
        kept = bootstrap.estimate(retention.gain_retention(value), retention.gain_retention(samples), count)
    return replace(
        cell,
        paired_seeds=tuple(shared),
        gains=tuple(gains),
        others_gain=mean_of_others(value, samples, count),
        gain_retention=kept,
        gap_change=change,
        gain_samples=samples,
        gains_by_seed=retention.transfer_gain(via.by_seed, plain.by_seed),
        paired_scores=(via.by_seed.mean(axis=1), plain.by_seed.mean(axis=1)),
    )


def _shared_seeds(
    arm: Arm, without: Arm | None, target: str, languages: list[str], measurements: Measurements
) -> list[int]:
    """The seeds that can be paired: none where an arm has no counterpart, or was scored in other languages."""
    if without is None or without is arm:
        return []
    shared = sorted(set(arm.keys) & set(without.keys))
    there = languages_by_target([without.keys[seed] for seed in shared], measurements).get(target)
    return shared if there == languages else []


def _corrected(found: list[Cell]) -> list[Cell]:
    families: dict[tuple[str, str], list[Gain]] = {}
    for cell in found:
        families.setdefault((cell.arm.scale, cell.arm.intermediate), []).extend(cell.gains)
    adjusted = {name: iter(holm([gain.p for gain in gains])) for name, gains in families.items()}
    return [
        replace(
            cell,
            gains=tuple(
                replace(gain, p_holm=float(next(adjusted[cell.arm.scale, cell.arm.intermediate])))
                for gain in cell.gains
            ),
        )
        for cell in found
    ]
