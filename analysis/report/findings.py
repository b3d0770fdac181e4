"""What the answer rests on, in sentences made from the numbers: each with its interval, and plainly where data cannot
tell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from analysis.inference.statistics import FEW_SEEDS, FEWEST_SEEDS, SIGNIFICANT, Estimate
from analysis.measures.search import PointScore, numbers, training
from analysis.study import Study

DASH = "–"
"""Stands where there is no value."""
FEW_INTERMEDIATES = 3
"""Of more it is told between which values they lie."""


def findings(study: Study) -> list[str]:
    """Sentences about the study as a whole, the most important first."""
    sentences = [*_search(study), *_placement(study), *_head_or_encoder(study), *_widest(study)]
    if not sentences and not by_intermediate(study):
        return ["The data cannot tell yet: no target training and no retrieval has completed."]
    return [*sentences, *_reservations(study)]


def by_intermediate(study: Study) -> list[str]:
    """What each intermediate does: its gains, and what becomes of retrieval."""
    return [*_gains(study), *_multilinguality(study)]


def number_text(value: float, form: str) -> str:
    """As `form` writes it, a dash where there is none."""
    return DASH if math.isnan(value) else f"{value:{form}}".replace("-", "−")


def interval_text(estimate: Estimate, form: str) -> str:
    """`[0.502, 0.708]`; empty where there is none."""
    if math.isnan(estimate.value) or math.isnan(estimate.low):
        return ""
    return f"[{estimate.low:{form}}, {estimate.high:{form}}]".replace("-", "−")


def shown(estimate: Estimate, sign: bool = False, digits: int = 3) -> str:
    """`0.600 [0.502, 0.708]`; a dash where there is no value."""
    form = f"{'+' if sign else ''}.{digits}f"
    return " ".join(filter(None, (number_text(estimate.value, form), interval_text(estimate, form))))


def said(estimate: Estimate, sign: bool = False) -> str:
    """As `shown`, with as many digits as a sentence bears, and never broken over two lines.

    Two, and three where with two something would read 0 that is not.
    """
    digits = 3 if any(0 < abs(end) < 0.005 for end in (estimate.value, estimate.low, estimate.high)) else 2
    return shown(estimate, sign, digits).replace(" ", "\N{NO-BREAK SPACE}")


def _search(study: Study) -> Iterator[str]:
    if not study.points:
        return
    axes = dict.fromkeys(axis for point in study.points for axis in point.settings)
    yield (
        f"This sweep searches {' and '.join(axes)}. Each scale, intermediate and target is compared at its own best "
        "point, by English development score; no test score had a part in the choice."
    )
    edge = sum(_at_the_edge(point, study.points) for point in study.points if point.best)
    if edge:
        yield (
            f"Of {counted(sum(point.best for point in study.points), 'best point')}, {edge} lie at the edge of what "
            "was searched: a better value may lie beyond."
        )


def _at_the_edge(best: PointScore, points: Sequence[PointScore]) -> bool:
    """Whether a numeric setting of the best point is the least or the largest that its training was tried with."""
    tried = [point.settings for point in points if training(point) == training(best)]
    for axis in best.settings:
        values = numbers(one[axis] for one in tried)
        if len(set(values)) > 1 and float(best.settings[axis]) in (min(values), max(values)):
            return True
    return False


def _placement(study: Study) -> Iterator[str]:
    families = dict(study.stages.drop_nulls("layer_norm").select("scale", "layer_norm").iter_rows())
    if study.trends and len(set(families.values())) > 1:
        members = {
            family: [scale for scale in study.scales if families.get(scale) == family]
            for family in sorted(set(families.values()))
        }
        placed = "; ".join(f"{family}-LN: {', '.join(scales)}" for family, scales in members.items())
        equal = ", ".join(f"{head} head {said(slope, sign=True)}" for head, slope in study.adjusted_slopes.items())
        yield (
            f"LayerNorm placement changes along the scales ({placed}) and is confounded with size: "
            + (f"at equal placement the slope is, {equal}." if equal else "no placement has two sizes to compare.")
        )


def _head_or_encoder(study: Study) -> Iterator[str]:
    for heads in study.heads:
        words = verdict(
            heads.difference,
            "part of the loss is the head’s, not the encoder’s",
            "the encoder lost a larger share than the head shows",
            "the data cannot tell whether the head or the encoder lost it",
        )
        yield (
            f"{heads.scale}: after target training {said(heads.stored)} of the intermediate task is left through "
            f"the stored head and {said(heads.refit)} through a refit one (mean of "
            f"{counted(heads.trainings, 'training')}): {words}."
        )


def _widest(study: Study) -> Iterator[str]:
    """Between which gains the intermediates lie, where there are too many to be read one by one."""
    known = [mean for mean in study.mean_gains if not math.isnan(mean.others.value)]
    largest = sorted((mean for mean in known if mean.scale == known[-1].scale), key=lambda mean: mean.others.value)
    if len(largest) > FEW_INTERMEDIATES:
        ends = [f"{said(mean.others, sign=True)} ({mean.intermediate})" for mean in (largest[0], largest[-1])]
        yield (
            f"At {known[-1].scale} the {len(largest)} intermediates that have every target add between "
            f"{' and '.join(ends)} to zero-shot scores in other languages than English "
            f"(mean over {listed(largest[0].targets)})."
        )


def _gains(study: Study) -> Iterator[str]:
    for intermediate in dict.fromkeys(mean.intermediate for mean in study.mean_gains):
        means = [mean for mean in study.mean_gains if mean.intermediate == intermediate]
        parts = "; ".join(
            f"{mean.scale} not enough, no gain in {listed(mean.lacking)}"
            if mean.lacking
            else f"{mean.scale} {said(mean.english, sign=True)} and {said(mean.others, sign=True)}"
            for mean in means
        )
        gains = [gain for cell in study.cells if cell.arm.intermediate == intermediate for gain in cell.gains]
        real = [gain for gain in gains if gain.p_holm < SIGNIFICANT]
        up = sum(gain.gain.value > 0 for gain in real)
        unclear = len(gains) - len(real)
        yield (
            f"What {intermediate} adds to zero-shot scores in English and in other languages (mean over "
            f"{listed(means[0].targets)}): {parts}. "
            f"Of {counted(len(gains), 'single score')} (scale, target, language) it raises {up} and lowers "
            f"{len(real) - up} (p < {SIGNIFICANT} after Holm)"
            f"{f'; of {unclear} the data cannot tell' if unclear else ''}."
        )


def _multilinguality(study: Study) -> Iterator[str]:
    changed = [curve for curve in study.layers if not math.isnan(curve.change.value)]
    for intermediate in dict.fromkeys(curve.arm.intermediate for curve in changed):
        own = [curve for curve in changed if curve.arm.intermediate == intermediate]
        parts = [
            f"in {task} by "
            + "; ".join(f"{curve.arm.scale} {said(curve.change, sign=True)}" for curve in own if curve.task == task)
            for task in dict.fromkeys(curve.task for curve in own)
        ]
        yield f"{intermediate} changes retrieval, at the layer that the sweep fixed, {', '.join(parts)}."


def _reservations(study: Study) -> Iterator[str]:
    if study.arms and study.fewest_seeds < FEWEST_SEEDS:
        yield (
            "Some cells have one seed, which tells nothing of others: what it shows has no interval, and nothing is "
            "concluded from it."
        )
    elif study.arms and study.fewest_seeds < FEW_SEEDS:
        yield (
            f"Some cells have fewer than {FEW_SEEDS} seeds: their intervals say little about other seeds, and every "
            "sentence here is provisional."
        )
    if study.arms and not study.has_examples:
        yield "Intervals cover seeds only: no scores of single examples were found."


def origin(study: Study) -> str:
    """The seeds, and the fingerprint by which `retain report --reproduce` draws the same again."""
    return " · ".join(filter(None, (seeds_note(study), study.fingerprint)))


def seeds_note(study: Study) -> str:
    """How many seeds there are, and that they are few where they are."""
    fewest, most = study.fewest_seeds, len(study.seeds)
    if most == 0:
        return "no seed has completed"
    count = f"{most} seed{'s' * (most != 1)}" if fewest in (most, 0) else f"{fewest} to {most} seeds"
    return count if fewest >= FEW_SEEDS else f"{count}: fewer than {FEW_SEEDS}, so other seeds may look different"


def verdict(estimate: Estimate, above: str, below: str, unclear: str) -> str:
    """By the side of 0 on which the interval lies."""
    return above if estimate.above_zero else below if estimate.below_zero else unclear


def tally(estimates: Sequence[Estimate]) -> str:
    """E.g. `rises in 3, falls in 1 and cannot be told in 2`."""
    above, below = sum(one.above_zero for one in estimates), sum(one.below_zero for one in estimates)
    counts = {"rises": above, "falls": below, "cannot be told": len(estimates) - above - below}
    whole = "any" if counts["cannot be told"] == len(estimates) else "all"
    return listed(
        [f"{words} in {count if count < len(estimates) else whole}" for words, count in counts.items() if count]
    )


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def compact(number: float) -> str:
    """Three digits and a unit: 85.1M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:  # which three digits round up to the unit
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"
