"""The published study's claims, and this study's own question, as tests of the user's data.

A claim is about effects, differences of scores: that u of n at least are above a bound (or below it).  It is

    supported      where so many are: (n − u + 1) times the p-value that ranks u-th is significant (Benjamini & Heller
                   2008).  Of all effects (u = n) that is Berger's rule (1982): the interval of each is above the bound
    contradicted   where so many are on the other side that u cannot be left: the same test of n − u + 1 effects.  Of
                   all effects that is Bonferroni's: one is below
    cannot tell    otherwise, and wherever an arm, a target or a second seed is missing, or seeds differ between arms

The bound is 0.  Where a claim is that something does not happen ("does as well", "does not gain") it is a point off: no
data show that an effect is 0, they can show that it is less than what would matter.

Effects are paired: gains over no intermediate on common seeds, all drawn by the same bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

import numpy as np

from analysis.benchmark.published import PHANG_ABSTRACT, PHANG_NUMBER, PHANG_QUOTED
from analysis.effects import MANY, Gains, NotInSweep
from analysis.inference.effect import CannotTell, Effect, mean, same_seeds
from analysis.inference.statistics import FEWEST_SEEDS, SIGNIFICANT, UNDEFINED, Bootstrap, Estimate, Examples, p_value
from analysis.measures.curves import HEADS
from analysis.measures.trends import pooled_trends
from analysis.study import Study
from trainers.tasks import ALL_NINE, TASKS

Word = Literal["supported", "contradicted", "cannot tell"]
RELEVANT = 0.01
"""What is less counts as no difference: a point of 100."""
ALL_SCALES = "all"


@dataclass(frozen=True)
class Claim:
    """What was claimed, and the effects that are above its bound if it is true."""

    text: str
    published: str
    """In points."""
    source: str
    effects: Callable[[Gains], list[Effect]]
    needs: str
    """What a sweep must hold for the claim to be judged by it."""
    bound: float = 0.0
    below: bool = False
    """They are below the bound, and not above."""
    most: bool = False
    """More than half of them are, and not all."""


@dataclass(frozen=True)
class Judged:
    """A claim at one scale."""

    text: str
    published: str
    source: str
    scale: str
    word: Word
    estimate: Estimate
    """The effect that decides, of all the least; undefined where the data cannot judge at all."""
    reason: str = ""
    """Why the data cannot tell."""
    needs: str = ""
    """What the sweep lacks for any of its results to judge the claim; empty where it lacks nothing."""


def judged(study: Study, bootstrap: Bootstrap) -> list[Judged]:
    """Every claim at every scale, and the study's own question over all scales.

    Also those of which the sweep holds too little: they say what it would take.

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
    except CannotTell as missing:
        needs = claim.needs if isinstance(missing, NotInSweep) else ""
        return Judged(*told, "cannot tell", UNDEFINED, str(missing), needs)
    estimates = [one.estimate(gains.bootstrap) for one in effects]
    if any(np.isnan(estimate.low) for estimate in estimates):
        return Judged(*told, "cannot tell", UNDEFINED, "there is no interval")
    side = -1 if claim.below else 1
    beyond = [side * (one.value - claim.bound) for one in effects]
    p = [p_value(distance, one.samples, len(one.seeds)) for distance, one in zip(beyond, effects, strict=True)]
    for_it, against = (
        [one if sign * distance > 0 else 1.0 for one, distance in zip(p, beyond, strict=True)] for sign in (1, -1)
    )
    needed = len(effects) // 2 + 1 if claim.most else len(effects)
    ranked = sorted(zip(beyond, estimates, strict=True), key=itemgetter(0), reverse=True)
    deciding = ranked[needed - 1][1]
    if _at_least(needed, for_it):
        return Judged(*told, "supported", deciding)
    if _at_least(len(effects) - needed + 1, against):
        return Judged(*told, "contradicted", deciding)
    if deciding.low <= claim.bound <= deciding.high:
        why = f"the interval holds {'values of either kind' if claim.bound else '0'}"
    else:
        why = f"not so after correction for {len(effects)} effects"
    return Judged(*told, "cannot tell", deciding, why)


def _at_least(count: int, p_values: Sequence[float]) -> bool:
    """Whether so many hold (Benjamini & Heller 2008, eq. 2: the partial conjunction by Bonferroni)."""
    return (len(p_values) - count + 1) * sorted(p_values)[count - 1] < SIGNIFICANT


def _own_question(study: Study, head: str) -> Judged:
    told = (
        f"Retention rises with scale ({head} head; R per tenfold parameters)",
        "–",
        "this study's question",
        ALL_SCALES,
    )
    trends = pooled_trends(study.trends, head)
    slope = study.pooled_slopes.get(head, UNDEFINED)
    if not trends or np.isnan(slope.low):
        return Judged(
            *told, "cannot tell", UNDEFINED, "no training has a retention at every scale that others have, two or more"
        )
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
        raise NotInSweep("it takes targets with training data and targets without")
    retrieved = mean([gains.over_singles(target) for target in untrained])
    return [retrieved - gains.over_singles(target) for target in trained]


def _through_each_single(target: str) -> Callable[[Gains], list[Effect]]:
    return lambda gains: [gains.of(intermediate, target) for intermediate in gains.singles]


def _best_of_each_target(gains: Gains) -> list[Effect]:
    """Picked on all seeds but one, and scored on that one, in turn: picked by its own score, the best always gains."""
    candidates = [name for name in gains.intermediates if name in ALL_NINE or name == "all9"]
    if len(candidates) < MANY:
        raise NotInSweep(f"of the published intermediates the sweep has {len(candidates)}, fewer than {MANY}")
    effects = [[gains.of(name, target) for name in candidates] for target in gains.targets]
    same_seeds([effect for row in effects for effect in row])
    found = np.array([[effect.by_seed for effect in row] for row in effects])  # [targets, candidates, seeds]
    others = found.sum(axis=-1, keepdims=True) - found
    by_seed = np.take_along_axis(found, others.argmax(axis=1, keepdims=True), axis=1).mean(axis=(0, 1))
    samples = gains.bootstrap.means(Examples.alike(by_seed[:, None]))
    return [Effect(float(by_seed.mean()), samples, effects[0][0].seeds, by_seed)]


def _english_as_well(changed: Callable[[str], str | None], what: str) -> Callable[[Gains], list[Effect]]:
    """`changed` names the plain intermediate of which another is a variant."""

    def effects(gains: Gains) -> list[Effect]:
        pairs = [(plain, name) for name in gains.intermediates if (plain := changed(name)) in gains.intermediates]
        if not pairs:
            raise NotInSweep(f"the sweep has no intermediate both without and {what}")
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


SINGLES = f"{MANY} of the published single intermediates"
CLAIMS = (
    *(
        Claim(
            f"{title} as the intermediate raises the target average",
            f"+{points}",
            PHANG_QUOTED,
            _raises(name),
            name,
        )
        for name, title, points in (("squad", "SQuAD", 8.2), ("mnli", "MNLI", 7.5), ("hellaswag", "HellaSwag", 7.0))
    ),
    Claim("All nine together raise it most", "+8.7", PHANG_QUOTED, _all_nine_most, f"all9 and {SINGLES}"),
    Claim(
        "Targets without training data (BUCC, Tatoeba) gain most",
        "–",
        PHANG_ABSTRACT,
        _retrieval_most,
        f"tatoeba or bucc, another target, and {SINGLES}",
    ),
    Claim(
        "TyDiQA gains with many intermediates (here: with most)",
        "+10.9 at best",
        PHANG_NUMBER,
        _through_each_single("tydiqa"),
        f"tydiqa and {SINGLES}",
        most=True,
    ),
    Claim(
        "XNLI does not gain with many intermediates (here: with most, less than a point)",
        "+1.2 at best",
        PHANG_NUMBER,
        _through_each_single("xnli"),
        f"xnli and {SINGLES}",
        RELEVANT,
        below=True,
        most=True,
    ),
    Claim(
        "The best intermediate of each target gains",
        "+5.4",
        PHANG_QUOTED,
        _best_of_each_target,
        f"{MANY} of the published intermediates",
    ),
    Claim(
        "English does as well as with multilingual MLM beside it",
        "–",
        PHANG_ABSTRACT,
        _english_as_well(without_mlm, "with multilingual MLM"),
        "an intermediate with MLM beside the same without, as mnli+mlm and mnli",
        -RELEVANT,
    ),
    Claim(
        "English does as well as translated training data",
        "–",
        PHANG_ABSTRACT,
        _english_as_well(untranslated, "in translation"),
        "an intermediate in translation beside the same in English, as mnli@de and mnli",
        -RELEVANT,
    ),
)
