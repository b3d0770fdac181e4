"""Generated studies whose truth is known, the accuracy over all seeds and examples, and how its coverage is shown."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from analysis.inference.statistics import Floats

CHANCE = 1 / 3
BY_ARM, BY_RUN = 0.15, 0.15
"""Shares of what decides an example that are the arm's own, and chance in each run; the rest is its difficulty."""
SEED_NOISE = {"little": 0.005, "middling": 0.015, "much": 0.04}
"""Standard deviation of an arm's accuracy over seeds, about."""
AT_ONCE = 50
"""Studies that are resampled by the same draws."""
LEAST, MOST = 0.93, 0.97
"""Between which a coverage is what it should be."""


def generate(rng: np.random.Generator, truth: Floats, studies: int, seeds: int, examples: int, noise: float) -> Floats:
    """[seeds, examples, studies, arms] of 0 and 1: a probit model, whose mean over all seeds and examples is `truth`.

    Seeds and examples are crossed, and all arms meet the same examples.

    Args:
        truth: [arms] accuracies.
        noise: standard deviation of an arm's accuracy over seeds, about.
    """
    threshold = norm.ppf(truth)
    by_seed = noise / norm.pdf(threshold)  # what moves the accuracy by `noise`
    difficulty = np.sqrt(1 - BY_ARM - BY_RUN - by_seed**2)
    arms = len(truth)
    return (
        by_seed * rng.standard_normal((seeds, 1, studies, arms))
        + difficulty * rng.standard_normal((1, examples, studies, 1))
        + np.sqrt(BY_ARM) * rng.standard_normal((1, examples, studies, arms))
        + np.sqrt(BY_RUN) * rng.standard_normal((seeds, examples, studies, arms))
        < threshold
    ).astype(np.float64)


def marked(share: float) -> str:
    """A coverage, bold where it is not what it should be."""
    return f"{share:.1%}" if LEAST <= share <= MOST else f"**{share:.1%}**"
