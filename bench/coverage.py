"""How often the study's 95 % intervals hold the truth, on generated studies whose truth is known, as a Markdown page.

python -m bench.coverage > docs/benchmarks/coverage.md          # under two minutes
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from analysis import retention
from analysis.statistics import FEW_SEEDS, Bootstrap, Examples, Floats
from bench.measured import measured

SEEDS, EXAMPLES = (2, 3, 5, 10), (50, 500)
CHANCE = 1 / 3
PARAMETERS = np.array([86e6, 303e6, 3_300e6])
"""Non-embedding parameters of base, large and XL."""
KEPT, LEARNED = np.array([0.60, 0.70, 0.80]), np.array([0.78, 0.83, 0.88])
"""Accuracy of the intermediate task at each scale, after target training and before."""
TARGET = np.array([0.70, 0.74, 0.76])
"""Accuracy of a target: without an intermediate, through one, through another."""
TRUTH = np.concatenate([LEARNED, KEPT, TARGET])
BY_ARM, BY_RUN = 0.15, 0.15
"""Shares of what decides an example that are the arm's own, and chance in each run; the rest is its difficulty."""
SEED_NOISE = {"little": 0.005, "middling": 0.015, "much": 0.04}
"""Standard deviation of an arm's accuracy over seeds, about."""
STATISTICS = ("retention", "gain", "slope", "difference of arms")
LEAST, MOST = 0.93, 0.97
AT_ONCE = 50
"""Studies that are resampled by the same draws."""


class Percentile(Bootstrap):
    """The method before: n of n seeds and examples in every resample, and the middle 95 % of what came out."""

    def interval(self, values: Floats, samples: Floats, seeds: int) -> tuple[Floats, Floats]:
        low, high = np.quantile(samples, [(1 - self.confidence) / 2, (1 + self.confidence) / 2], axis=0)
        return low, high

    def means(self, examples: Examples) -> Floats:
        seeds, count = examples.scores.shape[:2]
        by_seed = np.tensordot(self._draw(1, count), examples.scores, axes=(1, 1))
        return np.einsum("bs,bs...->b...", self._draw(0, seeds), by_seed)

    def _draw(self, level: int, count: int) -> Floats:
        if (level, count) not in self._weights:
            rng = np.random.default_rng([self._root, level, count])
            self._weights[level, count] = rng.multinomial(count, np.full(count, 1 / count), self.resamples) / count
        return self._weights[level, count]


METHODS: dict[str, type[Bootstrap]] = {"percentile": Percentile, "t": Bootstrap}


def statistics(accuracies: Floats) -> Floats:
    """[..., arms] in the order of `TRUTH` → [..., `STATISTICS`], by the functions that the report uses."""
    learned, kept, plain, first, second = np.split(accuracies, [3, 6, 7, 8], axis=-1)
    retained = retention.retention(np.stack([learned, kept], axis=-1), CHANCE)[..., -1]
    slope = retention.scale_slope(retained, PARAMETERS)
    gains = [retention.transfer_gain(via, plain)[..., 0] for via in (first, second)]
    return np.stack([retained[..., 0], gains[0], slope, gains[1] - gains[0]], axis=-1)


def generate(rng: np.random.Generator, studies: int, seeds: int, examples: int, noise: float) -> Floats:
    """[seeds, examples, studies, arms] of 0 and 1: a probit model, whose mean over all seeds and examples is `TRUTH`.

    Seeds and examples are crossed, and all arms meet the same examples.
    """
    threshold = norm.ppf(TRUTH)
    by_seed = noise / norm.pdf(threshold)  # what moves the accuracy by `noise`
    difficulty = np.sqrt(1 - BY_ARM - BY_RUN - by_seed**2)
    arms = len(TRUTH)
    return (
        by_seed * rng.standard_normal((seeds, 1, studies, arms))
        + difficulty * rng.standard_normal((1, examples, studies, 1))
        + np.sqrt(BY_ARM) * rng.standard_normal((1, examples, studies, arms))
        + np.sqrt(BY_RUN) * rng.standard_normal((seeds, examples, studies, arms))
        < threshold
    ).astype(np.float64)


@dataclass(frozen=True)
class Row:
    """What was counted in one kind of study with one method."""

    seeds: int
    examples: int
    noise: str
    method: str
    covered: Floats
    """[`STATISTICS`] share of the intervals that hold the truth."""
    width: Floats
    """[`STATISTICS`] their median width."""


def measure(studies: int, resamples: int, seed: int = 0) -> Iterator[Row]:
    """One row per number of seeds and of examples, noise and method."""
    rng = np.random.default_rng(seed)
    truth = statistics(TRUTH)
    for seeds in SEEDS:
        for examples in EXAMPLES:
            for name, noise in SEED_NOISE.items():
                found: dict[str, list[tuple[Floats, Floats]]] = {method: [] for method in METHODS}
                for _ in range(-(-studies // AT_ONCE)):
                    scores = Examples.alike(generate(rng, min(AT_ONCE, studies), seeds, examples, noise))
                    values = statistics(scores.by_seed.mean(axis=0))
                    for method, kind in METHODS.items():
                        bootstrap = kind(rng, resamples)
                        samples = statistics(bootstrap.means(scores))
                        found[method].append(bootstrap.interval(values, samples, seeds))
                for method, parts in found.items():
                    low, high = (np.concatenate(ends) for ends in zip(*parts, strict=True))
                    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
                    yield Row(seeds, examples, name, method, covered, np.median(high - low, axis=0))


HEADER = """# How often the intervals hold the truth

{measured}: {studies:,} generated studies a row, {resamples:,} resamples each.
A coverage of 95 % is measured here to ± {error:.1%} (one standard error).

A study is generated by a probit model: seeds and examples crossed, all arms on the same examples, scores 0 or 1. Its
truth is the accuracy over all seeds and examples there might be. *Retention* is R(T) at one scale, *gain* a target
through an intermediate minus without, *slope* that of R(T) on log10(parameters) over three scales, *difference of arms*
one gain minus another. The accuracy of an arm varies over seeds by {noise}.

**Bold**: outside {least:.0%} to {most:.0%}."""
NOW = """## Now: t intervals, seeds and examples told apart

A third of the resamples draws seeds, a third examples, a third both, n − 1 of n (Rao & Wu 1988, JASA 83). The first
two variances are added, less that of single runs, which is in either and shows in the last third.
The degrees of freedom are those of seeds, their number minus one, over the share of seeds in the variance.
Satterthwaite (1946, Biometrics Bulletin 2) has that share squared, which covers too rarely with two or three seeds."""
LIMITS = """Two seeds remain two: where they differ much, their interval covers less often than it says, and the report
calls such cells provisional."""


def page(rows: list[Row], studies: int, resamples: int) -> str:
    """The whole page."""
    header = HEADER.format(
        measured=measured("python -m bench.coverage"),
        studies=studies,
        resamples=resamples,
        error=np.sqrt(0.95 * 0.05 / studies),
        noise=", ".join(f"{deviation:.3f} ({name})" for name, deviation in SEED_NOISE.items()),
        least=LEAST,
        most=MOST,
    )
    now, before = ([row for row in rows if row.method == method] for method in ("t", "percentile"))
    costs = "## What the difference costs\n\nMedian width of the interval of retention, before → now."
    old = "## Before: percentiles of one bootstrap over both"
    parts = [header, NOW, *_table(now), LIMITS, old, *_table(before), costs, _widths(before, now)]
    return "\n\n".join(parts)


def _table(rows: list[Row]) -> tuple[str, str]:
    """The table, and a sentence about it."""
    lines = [
        f"| seeds | examples | noise of seeds | {' | '.join(STATISTICS)} |",
        "| --- " * (3 + len(STATISTICS)) + "|",
    ]
    for row in rows:
        shares = [f"{share:.1%}" if LEAST <= share <= MOST else f"**{share:.1%}**" for share in row.covered]
        lines.append(f"| {row.seeds} | {row.examples} | {row.noise} | {' | '.join(shares)} |")
    covered = np.array([row.covered for row in rows])
    below, above = (covered < LEAST).mean(), (covered > MOST).mean()
    return (
        "\n".join(lines),
        f"{1 - below - above:.0%} are inside, {below:.0%} below and {above:.0%} above; the least is {covered.min():.1%}"
        f", with three seeds or more {covered[[row.seeds >= FEW_SEEDS for row in rows]].min():.1%}.",
    )


def _widths(before: list[Row], now: list[Row]) -> str:
    lines = ["| seeds | examples | noise of seeds | width |", "| --- | --- | --- | --- |"]
    for old, new in zip(before, now, strict=True):
        lines.append(f"| {new.seeds} | {new.examples} | {new.noise} | {old.width[0]:.3f} → {new.width[0]:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=800, help="generated studies a row")
    parser.add_argument("--resamples", type=int, default=500, help="of each study")
    chosen = parser.parse_args()
    print(page(list(measure(chosen.studies, chosen.resamples)), chosen.studies, chosen.resamples))


if __name__ == "__main__":
    main()
