"""Zero-shot transfer: what an intermediate adds to each target in each language, and each cell's summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis import retention
from analysis.measurements import Arm, Measurements
from analysis.statistics import (
    UNDEFINED,
    Bootstrap,
    Estimate,
    Floats,
    holm,
    interquartile_mean,
    p_value,
)
from trainers.tasks import ENGLISH

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

    @property
    def english_gain(self) -> Estimate:
        return next((gain.gain for gain in self.gains if gain.language == ENGLISH), UNDEFINED)


def cells(arms: Sequence[Arm], measurements: Measurements, bootstrap: Bootstrap) -> list[Cell]:
    """One cell per arm and target that was scored, gains corrected for their number."""
    without = {(arm.scale, arm.trained): arm for arm in arms if arm.intermediate == "none"}
    found = [
        _cell(arm, target, languages, without.get((arm.scale, arm.trained)), measurements, bootstrap)
        for arm in arms for target, languages in _languages(arm.keys.values(), measurements).items()
    ]
    return _corrected(found)


def _languages(keys, measurements: Measurements) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {}
    for task, language in measurements.pairs(list(keys), MEASURE):
        targets.setdefault(task, []).append(language)
    return targets


class _Scores:
    """Scores of one target in several languages: per seed, in the mean, and in every resample."""

    def __init__(self, keys: list[str], target: str, languages: list[str], measurements: Measurements,
                 bootstrap: Bootstrap) -> None:
        by_language = []
        for language in languages:
            steps = measurements.steps(keys, MEASURE, target, language)[-1:]
            by_language.append(measurements.scores(keys, MEASURE, target, language, steps)[..., 0])
        self.by_seed: Floats = np.stack([scores.mean(axis=1) for scores in by_language], axis=-1)  # [seeds, languages]
        self.value: Floats = self.by_seed.mean(axis=0)
        self.samples: Floats = np.stack([bootstrap.means(scores) for scores in by_language], axis=-1)


def _cell(arm: Arm, target: str, languages: list[str], without: Arm | None, measurements: Measurements,
          bootstrap: Bootstrap) -> Cell:
    ours = _Scores([arm.keys[seed] for seed in arm.seeds], target, languages, measurements, bootstrap)
    foreign = [place for place, language in enumerate(languages) if language != ENGLISH]
    english = languages.index(ENGLISH) if ENGLISH in languages else None

    def of_others(value: Floats, samples: Floats) -> Estimate:
        if not foreign:
            return UNDEFINED
        return bootstrap.estimate(value[foreign].mean(), samples[:, foreign].mean(axis=1))

    def gap_of(scores: _Scores) -> tuple[Floats, Floats]:
        return tuple(retention.cross_lingual_gap(part[..., english], part[..., foreign])  # type: ignore[return-value]
                     for part in (scores.value, scores.samples))

    both = english is not None and bool(foreign)
    cell = Cell(
        arm, target, tuple(arm.seeds),
        scores={language: bootstrap.estimate(ours.value[place], ours.samples[:, place])
                for place, language in enumerate(languages)},
        others=of_others(ours.value, ours.samples),
        others_iqm=interquartile_mean(ours.by_seed[:, foreign]),
        gap=bootstrap.estimate(*gap_of(ours)) if both else UNDEFINED,
    )
    shared = sorted(set(arm.keys) & set(without.keys)) if without and arm.intermediate != "none" else []
    if not shared or without is None:
        return cell
    languages_without = _languages([without.keys[seed] for seed in shared], measurements).get(target, [])
    if languages_without != languages:
        return cell
    via, plain = (_Scores([owner.keys[seed] for seed in shared], target, languages, measurements, bootstrap)
                  for owner in (arm, without))
    value, samples = retention.transfer_gain(via.value, plain.value), retention.transfer_gain(via.samples, plain.samples)
    gains = []
    for place, language in enumerate(languages):
        gain = bootstrap.estimate(value[place], samples[:, place])
        gains.append(Gain(language, gain, p_value(gain, samples[:, place])))
    kept = change = UNDEFINED
    if both:
        change = bootstrap.estimate(*(a - b for a, b in zip(gap_of(via), gap_of(plain), strict=True)))
        if gains[english or 0].gain.differs_from_zero:
            kept = bootstrap.estimate(*(retention.gain_retention(part[..., english], part[..., foreign])
                                        for part in (value, samples)))
    return replace(cell, paired_seeds=tuple(shared), gains=tuple(gains), others_gain=of_others(value, samples),
                   gain_retention=kept, gap_change=change)


def _corrected(found: list[Cell]) -> list[Cell]:
    families: dict[tuple[str, str], list[Gain]] = {}
    for cell in found:
        families.setdefault((cell.arm.scale, cell.arm.intermediate), []).extend(cell.gains)
    adjusted = {name: iter(holm([gain.p for gain in gains])) for name, gains in families.items()}
    return [replace(cell, gains=tuple(replace(gain, p_holm=float(next(adjusted[cell.arm.scale, cell.arm.intermediate])))
                                      for gain in cell.gains)) for cell in found]
