"""Uncertainty: a two-level paired bootstrap, t intervals that cover with few seeds, Holm's correction.

What is compared here was measured on the same examples with the same seeds, so one draw of seeds and one of examples
serves all arms, scales, steps and languages at once: that is what makes the comparisons paired.  Seeds and examples
are crossed (every seed meets every example), so each has its own share of the variance (Owen 2007, "The pigeonhole
bootstrap").  A third of the resamples draws seeds, a third examples, and a third both: the variance over a few seeds is
itself not known well, that over many examples is, and only variances told apart can be joined to one interval.  The
chance of single runs is in either of them; the last third shows how much it is, so that it counts once.  How often such
intervals cover is measured in docs/benchmarks/coverage.md; percentile intervals do too rarely with few seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

RESAMPLES = 1200
SIGNIFICANT = 0.05
"""Below such a corrected p, a difference is called one."""
FEWEST_SEEDS = 2
"""One seed tells nothing of others: what it shows is told, without an interval, and nothing is concluded from it."""
FEW_SEEDS = 3
"""Below so many seeds an interval says little about other seeds; figures and tables then say so."""
ROUNDING = 1e-12
"""A standard error below this, of scores in [0, 1], is what rounding leaves: nothing has varied."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high < 0

    @property
    def differs_from_zero(self) -> bool:
        return self.above_zero or self.below_zero


UNDEFINED = Estimate(math.nan)


@dataclass(frozen=True)
class Examples:
    """Scores of single examples and their weights; the score of all is the weighted mean.

    Weights of 1 make it accuracy, a sentence's words accuracy over words, and a sentence's predicted and gold chunks
    micro F1, Σ 2 · right / Σ (predicted + gold): what a resample of examples scores is computed alike for all.
    """

    scores: Floats
    weights: Floats
    """Both [seeds, examples, ...]."""

    @classmethod
    def alike(cls, scores: Floats) -> Examples:
        """Examples that weigh alike."""
        return cls(scores, np.ones_like(scores))

    @property
    def by_seed(self) -> Floats:
        """[seeds, ...]"""
        return _weighted((self.weights * self.scores).sum(axis=1), self.weights.sum(axis=1))

    def drawn(self, shares: Floats) -> Floats:
        """What drawn examples score: [n, examples] shares → [n, seeds, ...]."""
        if np.ptp(self.weights) == 0 and self.weights.any():
            return np.tensordot(shares, self.scores, axes=(1, 1))
        totals, weights = (
            np.tensordot(shares, summed, axes=(1, 1)) for summed in (self.weights * self.scores, self.weights)
        )
        return _weighted(totals, weights)


class Bootstrap:
    """Draws seeds and examples with replacement; equal counts get equal draws, whatever is asked first.

    Two sets that only happen to be equally large share their draws, too: their resampled means then have the
    covariance that the paired rows show, which is none.
    """

    def __init__(self, rng: np.random.Generator, resamples: int = RESAMPLES, confidence: float = 0.95) -> None:
        """
        Args:
            rng: decides all draws; one generator in one state gives one report.
            resamples: how often a study is drawn anew, B, in thirds: rounded down to a multiple of 3.
            confidence: how often an interval is to cover the truth.
        """
        self.resamples, self.confidence = resamples // 3 * 3, confidence
        self._root = int(rng.integers(2**63))
        self._weights: dict[tuple[int, int], Floats] = {}

    def means(self, examples: Examples) -> Floats:
        """The score over seeds and examples, in every resample.

        Returns:
            [B, ...]; NaN where there is nothing to draw from (one seed and one example).
        """
        seeds, count, *further = examples.scores.shape
        if seeds < 2 and count < 2:
            return np.full((self.resamples, *further), np.nan)
        drawn_seeds, of_examples = self._draw(0, seeds), examples.drawn(self._draw(1, count))
        by_seeds = np.tensordot(drawn_seeds, examples.by_seed, axes=1)
        by_both = np.einsum("bs,bs...->b...", drawn_seeds, of_examples)
        return np.concatenate([by_seeds, of_examples.mean(axis=1), by_both])

    def means_of_each(self, parts: Sequence[Examples]) -> Floats:
        """The score of each part in every resample; parts of equally many examples are drawn together, which is faster.

        Args:
            parts: of the same seeds, one score each: [seeds, examples, 1].

        Returns:
            [B, parts]
        """
        found = np.empty((self.resamples, len(parts)))
        for count in {part.scores.shape[1] for part in parts}:
            alike = [place for place, part in enumerate(parts) if part.scores.shape[1] == count]
            scores = np.concatenate([parts[place].scores for place in alike], axis=-1)
            weights = np.concatenate([parts[place].weights for place in alike], axis=-1)
            found[:, alike] = self.means(Examples(scores, weights))
        return found

    def of_training_examples(self, without: Floats) -> Floats:
        """What other training examples of a probe would change, in every resample, to be added to its `means`.

        Drawn from a normal distribution with the covariance of the delete-a-group jackknife (Shao & Tu 1995, The
        Jackknife and Bootstrap, 2.3); it counts as variance over examples.

        Args:
            without: [folds, ...] what the probe scores without each fold of them.

        Returns:
            [B, ...]
        """
        folds = len(without)
        draws = np.random.default_rng([self._root, 2, folds]).standard_normal((self.resamples // 3, folds))
        change = np.tensordot(draws, np.sqrt((folds - 1) / folds) * (without - without.mean(axis=0)), axes=1)
        return np.concatenate([np.zeros_like(change), change, change])

    def estimate(self, value: float | Floats, samples: Floats, seeds: int | None) -> Estimate:
        """`value` with its interval.

        Args:
            samples: [B], the value in every resample.
            seeds: on how many the value rests; of several arms, those of the arm with the fewest.  None where examples
                alone are asked about: the pretrained encoder has no seed.
        """
        low, high = self.interval(np.asarray(value, dtype=np.float64), samples, seeds)
        return Estimate(float(value), float(low), float(high))

    def interval(self, values: Floats, samples: Floats, seeds: int | None) -> tuple[Floats, Floats]:
        """Student's t interval about each value: [...], [B, ...] → two of [...]; NaN where `spread` is."""
        error, freedom = spread(samples, seeds)
        half_width = special.stdtrit(freedom, (1 + self.confidence) / 2) * error
        return values - half_width, values + half_width

    def greatest(self, value: float | Floats, differences: Floats, samples: Floats, seeds: int) -> Estimate:
        """`value`, the greatest of some differences and 0, with an interval that holds whichever is greatest in truth.

        What is seen to be greatest is so by luck, too, and lies too high: a t interval about it leaves the truth below.
        Surely above the true one is the greatest of all upper ends, and below it that of lower ends which hold together
        (Bonferroni; Chernozhukov, Lee & Rosen 2013, Econometrica 81).

        Args:
            differences: [k]; what never varied is left out.
            samples: [B, k], the differences in every resample.
        """
        error, freedom = spread(samples, seeds)
        varied, tail = ~np.isnan(error), (1 - self.confidence) / 2
        if not varied.any():
            return Estimate(float(value))
        ends = tail / varied.sum(), 1 - tail
        low, high = ((differences + special.stdtrit(freedom, end) * error)[varied].max() for end in ends)
        return Estimate(float(value), max(float(low), 0.0), float(high))

    def _draw(self, level: int, count: int) -> Floats:
        """[B / 3, count] weights that sum to 1, of seeds (level 0) or examples (level 1).

        n - 1 of n are drawn: then the variance of drawn means is the unbiased one, s²/n (Rao & Wu 1988).
        """
        if (level, count) not in self._weights:
            rng = np.random.default_rng([self._root, level, count])
            weights = np.full((self.resamples // 3, count), 1 / count)
            if count > 1:
                weights = rng.multinomial(count - 1, weights[0], size=len(weights)) / (count - 1)
            self._weights[level, count] = weights
        return self._weights[level, count]


def spread(samples: Floats, seeds: int | None) -> tuple[Floats, Floats]:
    """Standard error of a value and its degrees of freedom: [B, ...] → two of [...].

    The error is NaN of fewer than FEWEST_SEEDS (None: no seed has a part in the value), and where no resample differs:
    two seeds that happen to agree say nothing about a third.

    The variance over seeds has one degree of freedom less than there are seeds, that over examples any number.  Joined,
    Satterthwaite (1946) divides the former by the squared share of seeds in the variance; with two or three seeds that
    share is as uncertain as the variance, and his intervals cover too rarely.  Undiminished by the square, they cover.
    """
    of_seeds, of_examples = variances(samples)
    variance = of_seeds + of_examples
    share = of_seeds / np.where(variance == 0, 1, variance)
    freedom = np.where(share > 0, max((seeds or 1) - 1, 1) / np.where(share > 0, share, 1), np.inf)
    told = (variance > ROUNDING**2) & (seeds is None or seeds >= FEWEST_SEEDS)
    return np.sqrt(np.where(told, variance, np.nan)), freedom


def variances(samples: Floats) -> tuple[Floats, Floats]:
    """Variance of a value over seeds, with the chance of single runs, and that over examples: [B, ...] → two of [...].

    Either draw alone shows the variance of its own level and that of single runs, a seed on an example.  Where both are
    drawn as they were alone, what is left of their sum is the latter.
    """
    by_seeds, by_examples, by_both = np.split(samples, 3)
    of_runs = (by_both - by_seeds - by_examples).var(axis=0)
    return by_seeds.var(axis=0), np.maximum(by_examples.var(axis=0) - of_runs, 0)


def _weighted(totals: Floats, weights: Floats) -> Floats:
    """0 where nothing weighs: F1 without any chunk."""
    return totals / np.where(weights == 0, 1, weights)


def p_value(value: float, samples: Floats, seeds: int) -> float:
    """Two-sided p that a value is 0: below 1 - confidence just where its interval leaves 0 out.

    Not the share of resamples beyond 0: that is never below 2/B, and Holm's correction over XTREME's 150 pairs of a
    task and a language would then find nothing, whatever the data.

    Args:
        samples: [B], the value in every resample.
        seeds: on how many it rests.

    Returns:
        NaN (not testable) where nothing varied or of one seed; but 1 of arms that are the same in everything.
    """
    error, freedom = spread(samples, seeds)
    if math.isnan(error):
        return 1.0 if (np.abs([value, *samples]) < ROUNDING).all() else math.nan
    return float(2 * special.stdtr(freedom, -abs(value) / error))


def holm(p_values: Sequence[float]) -> Floats:
    """Holm's step-down adjustment (Holm 1979): reject where the result is at most α.

    Args:
        p_values: [n]; a NaN (not testable) stays NaN and does not count.

    Returns:
        [n] adjusted p-values, in the order given.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    remaining = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * remaining))
    return adjusted


def replicability(p_values: Sequence[float], level: float = SIGNIFICANT) -> int:
    """In how many data sets an effect holds, whichever they are (Dror et al. 2017, TACL 5: k̂, Bonferroni's variant).

    That at least u of n effects are there is tested by (n − u + 1) · p₍ᵤ₎, and all such claims up to k̂ hold at once.
    The data sets may depend on each other, as languages with one source do.

    Args:
        p_values: [n]; a NaN (not testable) counts as no effect.
    """
    p = np.sort(np.nan_to_num(np.asarray(p_values, dtype=np.float64), nan=1.0))
    within = (len(p) - np.arange(len(p))) * p <= level
    return len(p) if within.all() else int(within.argmin())


def interquartile_mean(scores: Floats) -> float:
    """Mean of the middle half of all values (Agarwal et al. 2021, rliable): fewer outliers, less noise than a median.

    Args:
        scores: of any shape, e.g. [seeds, languages].

    Returns:
        NaN where there are none, or one is NaN: it could stand anywhere in the order.
    """
    if np.isnan(scores).any():
        return math.nan
    ordered = np.sort(scores, axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean()) if len(ordered) else math.nan
