"""How many seeds it takes to see a difference between two scales, from the variance seen so far: `retain power`.

The test is the report's own (`statistics.spread`): the variance of a difference is that over seeds, which falls with
their number n, and that over examples, which does not,

    σ² / n + v,    with (n − 1) / share of seeds in it    degrees of freedom.

Its power is that of a t test (Cohen 1988, ch. 2): a normal difference over an error that was estimated, averaged over
what the estimate may be.  Few seeds know their own variance badly: beside σ² stands its upper 80 % limit, with which
the wanted power is reached in four of five studies (Browne 1995, Statistics in Medicine 14).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import stats

from analysis.inference.statistics import ROUNDING, SIGNIFICANT, Floats, variances
from analysis.study import Study
from trainers.stage.languages import ENGLISH

MOST_SEEDS = 200
"""Beyond, seeds are not the way."""
CAUTION = 0.8
QUANTILES = (np.arange(1000) + 0.5) / 1000
"""Of the estimated error, over which power is averaged (SciPy's noncentral t gives NaN or worse for two seeds)."""
ENOUGH = 0.8
"""Power that is usually asked for."""
GAIN = "gain"


@dataclass(frozen=True)
class Outlook:
    """One measure's difference between two scales."""

    measure: str
    """`stored` or `refit`: R(T) through that head; `gain`: the mean over languages."""
    smaller: str
    larger: str
    trainings: int
    """From so many the variances are pooled."""
    seeds: int
    """In common, of the training that has most; 0 where nothing is foretold."""
    by_seed: float = math.nan
    """σ: standard deviation of the difference over seeds."""
    by_examples: float = math.nan
    """√v: standard error of the difference over examples."""
    needed: float = math.nan
    """Seeds for the wanted power; infinite where no number up to MOST_SEEDS gives it."""
    cautious: float = math.nan
    """The same from the upper limit of σ."""
    visible: float = math.nan
    """The least difference that the seeds so far would show with the wanted power."""
    not_enough: str = ""
    """Why nothing is foretold; empty where something is."""


def outlooks(study: Study, difference: float, wanted: float = ENOUGH) -> list[Outlook]:
    """Each measure between each two scales that follow one another in size.

    Args:
        difference: δ between the scales, in units of R(T) or of scores in [0, 1].
        wanted: the power.

    Raises:
        ValueError: a difference that is not above 0, or a power that is not between SIGNIFICANT and 1.
    """
    if not difference > 0:
        raise ValueError(f"A difference of {difference} cannot be looked for: it has to be above 0.")
    if not SIGNIFICANT < wanted < 1:
        raise ValueError(f"A power of {wanted} cannot be asked for: it lies between {SIGNIFICANT} and 1.")
    found = []
    for measure in ("stored", "refit", GAIN):
        arms = _arms(study, measure)
        for smaller, larger in pairwise(study.scales):
            both = arms.get(smaller, {}).keys() & arms.get(larger, {}).keys()
            pairs = [_difference(arms[larger][name], arms[smaller][name]) for name in sorted(both)]
            found.append(_outlook(measure, smaller, larger, pairs, difference, wanted))
    return found


def power(seeds: int, difference: float, by_seed: float, by_examples: float) -> float:
    """How probably a true difference is found to differ from 0.

    Args:
        seeds: n, two or more.
        by_seed: σ, standard deviation over seeds.
        by_examples: √v, standard error over examples.

    Returns:
        NaN where a deviation is, and of one seed.
    """
    variance = by_seed**2 / seeds + by_examples**2
    if variance == 0:
        return 1.0
    share = by_seed**2 / seeds / variance
    freedom = (seeds - 1) / share if share > 0 else np.inf
    limit, distance = stats.t.ppf(1 - SIGNIFICANT / 2, freedom), difference / math.sqrt(variance)
    estimated = np.sqrt(stats.chi2.ppf(QUANTILES, freedom) / freedom) if np.isfinite(freedom) else np.ones(1)
    return float(np.mean(stats.norm.sf(limit * estimated - distance) + stats.norm.cdf(-limit * estimated - distance)))


def seeds_needed(difference: float, by_seed: float, by_examples: float, wanted: float = ENOUGH) -> float:
    """The least number of seeds, from two on; infinite where MOST_SEEDS are too few: then examples are what lacks."""
    low, high = 2, MOST_SEEDS
    if not power(high, difference, by_seed, by_examples) >= wanted:  # nor where it is NaN
        return math.inf
    while low < high:  # power rises with seeds
        middle = (low + high) // 2
        if power(middle, difference, by_seed, by_examples) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def visible_difference(seeds: int, by_seed: float, by_examples: float, wanted: float = ENOUGH) -> float:
    """The least difference that is found with the wanted power, to a thousandth of itself; NaN where power is."""
    if math.isnan(power(seeds, 1.0, by_seed, by_examples)):
        return math.nan
    low, high = 0.0, 1e-6
    while power(seeds, high, by_seed, by_examples) < wanted:
        low, high = high, 2 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(seeds, middle, by_seed, by_examples) >= wanted else (middle, high)
    return high


def upper_limit(by_seed: float, freedom: int) -> float:
    """What a standard deviation seen with so many degrees of freedom lies below, in CAUTION of studies."""
    return by_seed * math.sqrt(freedom / stats.chi2.ppf(1 - CAUTION, freedom))


@dataclass(frozen=True)
class _Arm:
    by_seed: dict[int, float]
    samples: Floats


def _arms(study: Study, measure: str) -> dict[str, dict[tuple, _Arm]]:
    """Scale → training → values."""
    found: dict[str, dict[tuple, _Arm]] = {}
    for scale, name, seeds, values, samples in _values(study, measure):
        found.setdefault(scale, {})[name] = _Arm(dict(zip(seeds, values.tolist(), strict=True)), samples)
    return found


def _values(study: Study, measure: str) -> Iterator[tuple[str, tuple, Sequence[int], Floats, Floats]]:
    """Scale, training, seeds, [seeds] values and [B] resamples."""
    if measure == GAIN:
        for cell in study.cells:
            if cell.gains_by_seed is not None and cell.gain_samples is not None:
                by_seed, samples = cell.gains_by_seed.mean(axis=1), cell.gain_samples.mean(axis=1)
                yield cell.arm.scale, (cell.arm.intermediate, cell.target), cell.paired_seeds, by_seed, samples
        return
    for curve in study.curves:
        if (curve.head, curve.language, curve.undefined, curve.same_task) == (measure, ENGLISH, "", False):
            yield curve.arm.scale, (*curve.training, curve.task), curve.seeds, curve.by_seed[:, -1], curve.final_samples


def _difference(larger: _Arm, smaller: _Arm) -> tuple[Floats, float]:
    """[seeds in common] differences, and their variance over examples."""
    common = sorted(larger.by_seed.keys() & smaller.by_seed.keys())
    differences = np.array([larger.by_seed[seed] - smaller.by_seed[seed] for seed in common])
    return differences, float(variances(larger.samples - smaller.samples)[1])


def _outlook(
    measure: str, smaller: str, larger: str, pairs: Iterable[tuple[Floats, float]], difference: float, wanted: float
) -> Outlook:
    usable = [(by_seed, v) for by_seed, v in pairs if len(by_seed) > 1 and np.isfinite([*by_seed, v]).all()]
    if not usable:
        return Outlook(measure, smaller, larger, 0, 0, not_enough="no training with two seeds in common")
    freedoms = [len(by_seed) - 1 for by_seed, _ in usable]
    own = [float(by_seed.var(ddof=1)) for by_seed, _ in usable]
    by_seed = math.sqrt(np.average(own, weights=freedoms))
    by_examples = math.sqrt(np.mean([v for _, v in usable]))
    if math.hypot(by_seed, by_examples) <= ROUNDING:
        return Outlook(measure, smaller, larger, 0, 0, not_enough="nothing varied over seeds or examples")
    seeds = max(freedoms) + 1
    # Trainings share seeds, so that their variances are not independent: the degrees of freedom are those of one.
    cautious = upper_limit(by_seed, max(freedoms))
    return Outlook(
        measure,
        smaller,
        larger,
        len(usable),
        seeds,
        by_seed,
        by_examples,
        seeds_needed(difference, by_seed, by_examples, wanted),
        seeds_needed(difference, cautious, by_examples, wanted),
        visible_difference(seeds, by_seed, by_examples, wanted),
    )
