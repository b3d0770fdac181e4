"""How often the report's other intervals hold the truth: those of curves, of languages and of win rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from analysis.inference.improvement import improvement_interval
from analysis.inference.statistics import FEW_SEEDS, UNDEFINED, Bootstrap, Estimate, Examples, Floats
from analysis.measures import decay, retention
from bench.probit import AT_ONCE, CHANCE, LEAST, SEED_NOISE, generate, marked

SEEDS, EXAMPLES = (2, 3, 5, 10), (200, 1000)
STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128], dtype=np.float64)
LEARNED, STAYS, HALF = 0.83, 0.3, 8.0
"""A(0), and what R(τ) falls to with which half-life of the part that is lost."""
FLAT = 0.80
"""Accuracy of a task of which nothing is forgotten."""
WITHOUT, VIA = np.array([0.74, 0.64, 0.60]), np.array([0.84, 0.70, 0.66])
"""Accuracy of a target in English and two other languages."""
RETAINED = STAYS + (1 - STAYS) * 2 ** (-STEPS / HALF)
TRUTH = np.concatenate([CHANCE + (LEARNED - CHANCE) * RETAINED, np.full(len(STEPS), FLAT), WITHOUT, VIA])
ENDS = np.cumsum([len(STEPS), len(STEPS), len(WITHOUT)])
TASKS = ((1, 0.0), (3, 0.0), (3, 0.8), (9, 0.0), (9, 0.8))
"""How many, and the share of a run's luck that they have in common."""
RATES = (0.5, 0.7, 0.92, 0.98)
WIN_SEEDS = (2, 3, 4, 5, 10)
MOSTLY = 0.5
"""Coverage is spoken of where there is an interval in more than this share of studies: else it is of chosen ones."""


def measures(accuracies: Floats) -> dict[str, Floats]:
    """[..., arms] in the order of `TRUTH` → what the bootstrap resamples as it is, [...] each."""
    curve, _, without, via = np.split(accuracies, ENDS, axis=-1)
    return {
        "backward transfer": retention.backward_transfer(curve),
        "area": retention.area_under_retention(retention.retention(curve, CHANCE), STEPS),
        "gap": retention.cross_lingual_gap(via),
        "change of gap": retention.gap_change(via, without),
        "gain retention": retention.gain_retention(retention.transfer_gain(via, without)),
    }


TRUE = {name: float(value) for name, value in measures(TRUTH).items()}
TRUE |= {"forgetting": float(retention.forgetting(TRUTH[: len(STEPS)])), "forgetting of nothing": 0.0}
TRUE |= {"half-life": HALF * math.log2((1 - STAYS) / (0.5 - STAYS)), "asymptote": STAYS}


def estimates(values: Floats, samples: Floats, seeds: int, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Of one study, [arms] and [B, arms], what the report would print; undefined where it would print none."""
    resampled = measures(samples)
    found = {name: bootstrap.estimate(value, resampled[name], seeds) for name, value in measures(values).items()}
    curve, flat, without, via = np.split(np.arange(len(TRUTH)), ENDS)
    for name, arms in (("forgetting", curve), ("forgetting of nothing", flat)):
        total, drawn = values[arms], samples[:, arms]
        found[name] = bootstrap.greatest(retention.forgetting(total), total - total[-1], drawn - drawn[:, -1:], seeds)
    gain = bootstrap.estimate(values[via[0]] - values[without[0]], samples[:, via[0]] - samples[:, without[0]], seeds)
    if not gain.differs_from_zero:
        found["gain retention"] = UNDEFINED
    retained = (retention.retention(one[..., curve], CHANCE) for one in (values, samples))
    fit = decay.fit(*retained, STEPS, seeds, bootstrap)
    return {**found, "half-life": fit.half_life, "asymptote": fit.asymptote}


@dataclass(frozen=True)
class Row:
    """What was counted in one kind of study."""

    seeds: int
    examples: int
    noise: str
    given: dict[str, float]
    """Share of the studies in which there is an interval."""
    covered: dict[str, float]
    """Share of these intervals that hold the truth."""
    of_nothing: float
    """The mean forgetting found where there is none."""


def measure(studies: int, resamples: int, seed: int = 0) -> Iterator[Row]:
    """One row per number of seeds and of examples, and noise."""
    rng = np.random.default_rng(seed)
    for seeds in SEEDS:
        for examples in EXAMPLES:
            for name, noise in SEED_NOISE.items():
                yield _row(rng, studies, resamples, seeds, examples, name, noise)


def _row(
    rng: np.random.Generator, studies: int, resamples: int, seeds: int, examples: int, name: str, noise: float
) -> Row:
    found: list[dict[str, Estimate]] = []
    while len(found) < studies:
        count, bootstrap = min(AT_ONCE, studies - len(found)), Bootstrap(rng, resamples)
        scores = Examples.alike(generate(rng, TRUTH, count, seeds, examples, noise))
        values, samples = scores.by_seed.mean(axis=0), bootstrap.means(scores)
        found += [estimates(values[study], samples[:, study], seeds, bootstrap) for study in range(count)]
    there = {kind: [one[kind] for one in found if not math.isnan(one[kind].low)] for kind in TRUE}
    return Row(
        seeds,
        examples,
        name,
        {kind: len(some) / studies for kind, some in there.items()},
        {
            kind: float(np.mean([one.low <= TRUE[kind] <= one.high for one in some])) if some else math.nan
            for kind, some in there.items()
        },
        float(np.mean([one["forgetting of nothing"].value for one in found])),
    )


def win_rates(studies: int, seed: int = 0) -> Iterator[tuple[int, int, float, list[float], list[float]]]:
    """Seeds, tasks, what they share; for each of `RATES` the coverage and the median width."""
    rng = np.random.default_rng(seed)
    for seeds in WIN_SEEDS:
        for tasks, shared in TASKS:
            covered, widths = [], []
            for rate in RATES:
                ends = np.array([_win_rate(rng, seeds, tasks, shared, rate) for _ in range(studies)])
                covered.append(float(np.mean((ends[:, 0] <= rate) & (rate <= ends[:, 1]))))
                widths.append(float(np.median(ends[:, 1] - ends[:, 0])))
            yield seeds, tasks, shared, covered, widths


def _win_rate(rng: np.random.Generator, seeds: int, tasks: int, shared: float, rate: float) -> tuple[float, float]:
    """The interval of one study: scores are normal, and of a run's luck all tasks share a part."""
    together, alone = rng.standard_normal((2, seeds, 1)), rng.standard_normal((2, seeds, tasks))
    via, without = math.sqrt(shared) * together + math.sqrt(1 - shared) * alone
    found = improvement_interval(via + math.sqrt(2) * norm.ppf(rate), without)
    return found.low, found.high


CURVES = """## Curves and languages

Nine probes of R(τ), from 1 towards {stays} with a half-life of {half:.0f} steps, and a target in English and two other
languages, with an intermediate that adds 0.10 in English and 0.06 elsewhere. *Forgetting of nothing* is that of a flat
curve: the greatest of nine probes is so by luck, too, and the value lies too high by what the last column says; the
interval of forgetting is made to hold the true one, and is wider for it. In brackets: in how many studies there is an
interval, where not in all. A half-life needs a curve that passes ½ before the last probe, an asymptote the form with a
plateau, gain retention a gain in English whose interval leaves 0 out."""
WINS = """## The probability of improvement

Of normal scores. *Go together* is the share of a run's luck that all its tasks have in common. In brackets the median
width. The interval is made to cover at least as often as it says, whatever tasks share; where they share nothing, a
narrower one would do. **Bold**: below {least:.0%}."""


def sections(studies: int, resamples: int) -> list[str]:
    """Parts of the page: each a text, a table and, of the curves, a sentence about it."""
    return [
        CURVES.format(stays=STAYS, half=HALF),
        *_curve_table(list(measure(studies, resamples))),
        WINS.format(least=LEAST),
        _win_table(win_rates(studies)),
    ]


def _curve_table(rows: list[Row]) -> tuple[str, str]:
    lines = [
        f"| seeds | examples | noise of seeds | {' | '.join(TRUE)} | found of nothing |",
        "| --- " * (4 + len(TRUE)) + "|",
    ]
    for row in rows:
        cells = [_cell(row.covered[kind], row.given[kind]) for kind in TRUE]
        lines.append(f"| {row.seeds} | {row.examples} | {row.noise} | {' | '.join(cells)} | +{row.of_nothing:.3f} |")
    worst = [f"{kind} {_least(rows, kind):.1%}" for kind in TRUE]
    return "\n".join(lines), (
        f"The least with {FEW_SEEDS} seeds or more, where more than {MOSTLY:.0%} of the studies have an interval: "
        f"{', '.join(worst)}."
    )


def _least(rows: list[Row], kind: str) -> float:
    usual = [row for row in rows if row.seeds >= FEW_SEEDS and row.given[kind] > MOSTLY]
    return min((row.covered[kind] for row in usual), default=math.nan)


def _cell(covered: float, given: float) -> str:
    if math.isnan(covered):
        return "–"
    return marked(covered) + (f" ({given:.0%})" if given < 1 else "")


def _win_table(rows: Iterable[tuple[int, int, float, list[float], list[float]]]) -> str:
    lines = [
        f"| seeds | tasks | go together | {' | '.join(f'P = {rate}' for rate in RATES)} |",
        "| --- " * (3 + len(RATES)) + "|",
    ]
    for seeds, tasks, shared, covered, widths in rows:
        bold = ["**" if share < LEAST else "" for share in covered]
        cells = [f"{b}{share:.1%}{b} ({width:.2f})" for b, share, width in zip(bold, covered, widths, strict=True)]
        lines.append(f"| {seeds} | {tasks} | {shared:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)
