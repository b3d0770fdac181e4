"""How probably a run through an intermediate scores more than a run without it, and how well few seeds know that.

The pairs of runs that are compared share runs, and tasks may share them, too: the intermediate's training serves all
targets.  So a win rate θ of n seeds varies by θ (1 − θ) · s, where s is about 1 / n if all tasks go together and less
if they do not.  s is estimated from what each seed's runs won (Sen 1960; DeLong et al. 1988, Biometrics 44); Wilson's
interval (1927, JASA 22) then holds each θ from which the rate seen is not too far.  A t interval about the rate would
have no width where every seed wins.  How often this one covers is measured in docs/benchmarks/coverage.md.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from analysis.inference.statistics import FEWEST_SEEDS, Estimate, Floats

UNSEEN = 0.02
"""Variance that is added as if tasks went together: where nearly all is won, few losses hide how they cluster."""


def probability_of_improvement(via: Floats, without: Floats) -> float:
    """P(a run with is better than a run without), the mean over tasks; ties are half (Agarwal et al. 2021, rliable).

    Args:
        via: [n, tasks] scores.
        without: [m, tasks].

    Returns:
        NaN where a score is.
    """
    return float(_wins(via, without).mean())


def improvement_interval(via: Floats, without: Floats, confidence: float = 0.95) -> Estimate:
    """`probability_of_improvement` of paired seeds, over which alone its interval goes: none of one seed.

    Args:
        via, without: [seeds, tasks], of the same seeds.
        confidence: how often the interval is to cover the truth; with few seeds it does more often.
    """
    value, seeds = probability_of_improvement(via, without), len(via)
    if seeds < FEWEST_SEEDS or math.isnan(value):
        return Estimate(value)
    wins = _wins(via, without)
    by_seed = wins.mean(axis=0) + wins.mean(axis=1)
    unseen = UNSEEN / seeds
    share = (by_seed.var(ddof=1) + unseen) / seeds / (value * (1 - value) + unseen)
    quantile = (1 + confidence) / 2
    # Never beyond that of tasks which all go together, half a seed less for two seeds' few possible rates.
    squared = min(special.stdtrit(seeds - 1, quantile) ** 2 * share, special.ndtri(quantile) ** 2 / (seeds - 0.5))
    middle = (value + squared / 2) / (1 + squared)
    half_width = math.sqrt(squared * value * (1 - value) + squared**2 / 4) / (1 + squared)
    return Estimate(value, float(max(middle - half_width, 0.0)), float(min(middle + half_width, 1.0)))


def _wins(via: Floats, without: Floats) -> Floats:
    """[n, m] share of tasks in which each run is better than each other."""
    return ((1 + np.sign(via[:, None] - without[None])) / 2).mean(axis=-1)
