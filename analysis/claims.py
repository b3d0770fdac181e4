"""The published study's claims, and this study's own question, as tests of the user's data.

A claim is about effects: differences of scores, in points of 100, that are all above 0 if it is true.  It is

    supported      where the interval of each effect lies above 0 (then no correction is needed: Berger 1982)
    contradicted   where an effect is below 0, corrected for how many there are (Bonferroni)
                   (of a claim with a margin, 0 is that much lower in both)
    cannot tell    otherwise, and wherever an arm, a target or a second seed is missing, or seeds differ between arms

Effects are paired: gains over no intermediate on common seeds, all drawn by the same bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from analysis.curves import HEADS
from analysis.published import PHANG, PHANG_ABSTRACT, PHANG_RECALLED
from analysis.statistics import SIGNIFICANT, UNDEFINED, Bootstrap, Estimate, Examples, Floats, p_value
from analysis.study import Study
from trainers.tasks import ALL_NINE, TASKS
from trainers.tasks.intermediates import NONE

Word = Literal["supported", "contradicted", "cannot tell"]
FEWEST_SEEDS = 2
MANY = 3
"""From so many intermediates on, a mean over them is about intermediates."""
AS_WELL = 0.01
"""One thing does as well as another if it is not worse by so much: a point of 100."""
ALL_SCALES = "all"


class CannotTell(Exception):
    """Why the data cannot judge a claim, in words."""


@dataclass(frozen=True)
class Effect:
    """A difference of scores, in [-1, 1]."""

    value: float
    samples: Floats
    """[B]"""
    by_seed: Floats
    """[seeds]"""
    seeds: tuple[int, ...]

    def __sub__(self, other: Effect) -> Effect:
        _same_seeds([self, other])
        difference = self.value - other.value, self.samples - other.samples, self.by_seed - other.by_seed
        return Effect(*difference, self.seeds)

    def estimate(self, bootstrap: Bootstrap) -> Estimate:
        """
        Args:
            bootstrap: that which drew the samples.
        """
        return bootstrap.estimate(self.value, self.samples, len(self.seeds))


def mean(effects: Sequence[Effect]) -> Effect:
    """Each counts once.

    Raises:
        CannotTell: they rest on different seeds, so that they cannot be paired.
    """
    _same_seeds(effects)
    value = float(np.mean([effect.value for effect in effects]))
    samples, by_seed = (np.mean([getattr(one, name) for one in effects], axis=0) for name in ("samples", "by_seed"))
    return Effect(value, samples, by_seed, effects[0].seeds)


def _same_seeds(effects: Sequence[Effect]) -> None:
    if len({effect.seeds for effect in effects}) > 1:
        raise CannotTell("the arms that are compared rest on different seeds")


class Gains:
    """What each intermediate adds to each target at one scale: the mean over languages, English included."""

    def __init__(self, study: Study, scale: str, bootstrap: Bootstrap) -> None:
        self.bootstrap = bootstrap
        planned = study.compared.filter(pl.col("scale") == scale)
        self.intermediates = sorted(set(planned["intermediate"]) - {NONE})
        self.targets = sorted({target for targets in planned["targets"] for target in targets})
        self._found: dict[tuple[str, str], Effect] = {}
        for cell in study.cells:
            if cell.arm.scale == scale and cell.gain_samples is not None and cell.gains_by_seed is not None:
                by_seed = cell.gains_by_seed.mean(axis=1)
                self._add(
                    cell.arm.intermediate, cell.target, cell.gain_samples.mean(axis=1), by_seed, cell.paired_seeds
                )
        for curve in study.layers:
            if curve.arm.scale == scale and curve.change_samples is not None and curve.change_by_seed is not None:
                seeds = tuple(curve.arm.seeds)
                self._add(curve.arm.intermediate, curve.task, curve.change_samples, curve.change_by_seed, seeds)

    def _add(self, intermediate: str, target: str, samples: Floats, by_seed: Floats, seeds: tuple[int, ...]) -> None:
        self._found[intermediate, target] = Effect(float(by_seed.mean()), samples, by_seed, seeds)

    def of(self, intermediate: str, target: str) -> Effect:
        """
        Raises:
            CannotTell: it was not measured, or on too few seeds.
        """
        if intermediate not in self.intermediates or target not in self.targets:
            raise CannotTell(f"{intermediate} → {target} is not in this sweep")
        effect = self._found.get((intermediate, target))
        if effect is None or not np.isfinite(effect.value):
            raise CannotTell(
                f"{intermediate} → {target} has no gain: not finished, diverged, or not in the languages of none"
            )
        if len(effect.seeds) < FEWEST_SEEDS:
            raise CannotTell(f"{intermediate} → {target} has fewer than {FEWEST_SEEDS} seeds in common with none")
        return effect

    def average(self, intermediate: str) -> Effect:
        """Over all targets of the sweep, each counting once."""
        if intermediate not in self.intermediates:
            raise CannotTell(f"{intermediate} is not in this sweep")
        return mean([self.of(intermediate, target) for target in self.targets])

    @property
    def singles(self) -> list[str]:
        """The single English tasks of the published study.

        Raises:
            CannotTell: they are too few to be spoken of as intermediates in general.
        """
        found = [name for name in self.intermediates if name in ALL_NINE]
        if len(found) < MANY:
            raise CannotTell(f"of the published single intermediates the sweep has {len(found)}, fewer than {MANY}")
        return found

    def over_singles(self, target: str) -> Effect:
        """The mean over the single intermediates."""
        return mean([self.of(intermediate, target) for intermediate in self.singles])


@dataclass(frozen=True)
class Claim:
    """What was claimed, and the effects that are above 0 if it is true."""

    text: str
    published: str
    """In points."""
    source: str
    effects: Callable[[Gains], list[Effect]]
    margin: float = 0.0
    """How far below 0 an effect may lie."""


@dataclass(frozen=True)
class Judged:
    """A claim at one scale."""

    text: str
    published: str
    source: str
    scale: str
    word: Word
    estimate: Estimate
    """The least of the effects; undefined where the data cannot judge at all."""
    reason: str = ""
    """Why the data cannot tell."""


def judged(study: Study, bootstrap: Bootstrap) -> list[Judged]:
    """Every claim at every scale, and the study's own question over all scales.

    Args:
        bootstrap: that which drew the study.
    """
    by_scale = {scale: Gains(study, scale, bootstrap) for scale in study.scales}
    found = [_judge(claim, scale, gains) for claim in CLAIMS for scale, gains in by_scale.items()]
    return [*found, *(_own_question(study, head) for head in HEADS)]


def _judge(claim: Claim, scale: str, gains: Gains) -> Judged:
    told = claim.text, claim.published, claim.source, scale
    try:
        effects = claim.effects(gains)
    except CannotTell as why:
        return Judged(*told, "cannot tell", UNDEFINED, str(why))
    estimates = [one.estimate(gains.bootstrap) for one in effects]
    least = min(estimates, key=lambda estimate: estimate.value)
    if any(np.isnan(estimate.low) for estimate in estimates):
        return Judged(*told, "cannot tell", UNDEFINED, "there is no interval")
    if all(estimate.low > -claim.margin for estimate in estimates):
        return Judged(*told, "supported", least)
    beyond = [(one.value + claim.margin, one) for one in effects]
    against = [p_value(value, one.samples, len(one.seeds)) for value, one in beyond if value < 0]
    if any(p * len(effects) < SIGNIFICANT for p in against):
        return Judged(*told, "contradicted", least)
    return Judged(*told, "cannot tell", least, f"the interval holds {'values of either kind' if claim.margin else '0'}")


def _own_question(study: Study, head: str) -> Judged:
    told = (
        f"Retention rises with scale ({head} head; R per tenfold parameters)",
        "–",
        "this study's question",
        ALL_SCALES,
    )
    trends = [trend for trend in study.trends if trend.smallest.head == head and not trend.smallest.same_task]
    slope = study.pooled_slopes.get(head, UNDEFINED)
    if not trends or np.isnan(slope.low):
        return Judged(*told, "cannot tell", UNDEFINED, "no retention is defined at two scales or more")
    if min(trend.seeds for trend in trends) < FEWEST_SEEDS:
        return Judged(*told, "cannot tell", UNDEFINED, f"an arm has fewer than {FEWEST_SEEDS} seeds")
    if slope.differs_from_zero:
        return Judged(*told, "supported" if slope.above_zero else "contradicted", slope)
    return Judged(*told, "cannot tell", slope, "the interval holds 0")


def _raises(intermediate: str) -> Callable[[Gains], list[Effect]]:
    return lambda gains: [gains.average(intermediate)]


def _all_nine_most(gains: Gains) -> list[Effect]:
    return [gains.average("all9") - gains.average(single) for single in gains.singles]


def _retrieval_most(gains: Gains) -> list[Effect]:
    untrained = [target for target in gains.targets if not TASKS[target].training_task]
    trained = [target for target in gains.targets if TASKS[target].training_task]
    if not untrained or not trained:
        raise CannotTell("it takes targets with training data and targets without")
    retrieved = mean([gains.over_singles(target) for target in untrained])
    return [retrieved - gains.over_singles(target) for target in trained]


def _tydiqa_not_xnli(gains: Gains) -> list[Effect]:
    tydiqa = gains.over_singles("tydiqa")
    return [tydiqa, tydiqa - gains.over_singles("xnli")]


def _best_of_each_target(gains: Gains) -> list[Effect]:
    """Picked on all seeds but one, and scored on that one, in turn: picked by its own score, the best always gains."""
    candidates = [name for name in gains.intermediates if name in ALL_NINE or name == "all9"]
    if len(candidates) < MANY:
        raise CannotTell(f"of the published intermediates the sweep has {len(candidates)}, fewer than {MANY}")
    effects = [[gains.of(name, target) for name in candidates] for target in gains.targets]
    _same_seeds([effect for row in effects for effect in row])
    found = np.array([[effect.by_seed for effect in row] for row in effects])  # [targets, candidates, seeds]
    others = found.sum(axis=-1, keepdims=True) - found
    by_seed = np.take_along_axis(found, others.argmax(axis=1, keepdims=True), axis=1).mean(axis=(0, 1))
    samples = gains.bootstrap.means(Examples.alike(by_seed[:, None]))
    return [Effect(float(by_seed.mean()), samples, by_seed, effects[0][0].seeds)]


def _english_as_well(changed: Callable[[str], str | None], what: str) -> Callable[[Gains], list[Effect]]:
    """`changed` names the plain intermediate of which another is a variant."""

    def effects(gains: Gains) -> list[Effect]:
        pairs = [(plain, name) for name in gains.intermediates if (plain := changed(name)) in gains.intermediates]
        if not pairs:
            raise CannotTell(f"the sweep has no intermediate both without and {what}")
        return [gains.average(plain) - gains.average(name) for plain, name in pairs if plain]

    return effects


def without_mlm(name: str) -> str | None:
    """`mnli` of `mnli+mlm`; None of any other name."""
    plain, found, rest = name.partition("+mlm")
    return plain if found and not rest else None


def untranslated(name: str) -> str | None:
    """`mnli` of `mnli@de-ru`; None of what is not translated, or is with language modelling, too."""
    if "@" not in name or without_mlm(name):
        return None
    return "+".join(part.partition("@")[0] for part in name.split("+"))


CLAIMS = (
    *(
        Claim(f"{title} as the intermediate raises the target average", f"+{points}", PHANG_RECALLED, _raises(name))
        for name, title, points in (("squad", "SQuAD", 8.2), ("mnli", "MNLI", 7.5), ("hellaswag", "HellaSwag", 7.0))
    ),
    Claim("All nine together raise it most", "+8.7", PHANG_RECALLED, _all_nine_most),
    Claim("Targets without training data (BUCC, Tatoeba) gain most", "–", PHANG_ABSTRACT, _retrieval_most),
    Claim("TyDiQA gains with many intermediates, more than XNLI", "+10.9, +1.2", PHANG, _tydiqa_not_xnli),
    Claim("The best intermediate of each target gains", "+5.4", PHANG_ABSTRACT, _best_of_each_target),
    Claim(
        "English does as well as with multilingual MLM beside it",
        "–",
        PHANG_ABSTRACT,
        _english_as_well(without_mlm, "with multilingual MLM"),
        AS_WELL,
    ),
    Claim(
        "English does as well as translated training data",
        "–",
        PHANG_ABSTRACT,
        _english_as_well(untranslated, "in translation"),
        AS_WELL,
    ),
)
