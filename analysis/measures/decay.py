"""The shape of forgetting: three forms of R(τ), fitted by least squares, chosen by their error at steps left out.

    exponential   2^(−τ/h)                  all is lost, at one rate (Ebbinghaus 1885)
    power         (1 + τ)^(−1/log2(1 + h))  all is lost, ever more slowly (Wixted & Ebbesen 1991, Psych. Science 2)
    plateau       a + (1 − a) 2^(−τ/h)      a part stays

Given h, a is linear and has a closed form; h is looked up on a grid of logarithmic steps (variable projection, Golub &
Pereyra 1973, SIAM J. Numer. Anal. 10).  So all resamples are fitted at once, by matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.inference.statistics import UNDEFINED, Bootstrap, Estimate, Floats

FEWEST_STEPS = 4
"""After τ = 0: with fewer, a form of two parameters cannot be told from chance."""
ALIKE = 0.005
"""Errors are told apart in steps of so much; of forms that are alike the simplest is taken."""
GRID = 256
BEYOND = 8.0
"""The grid of h goes from the first probed step over BEYOND to the last times BEYOND."""


@dataclass(frozen=True)
class Form:
    """A family of curves that fall from R(0) = 1."""

    name: str
    shape: Callable[[Floats, Floats], Floats]
    """(τ, h) → the part that is lost, 1 at first and ½ at τ = h."""
    reach: Callable[[Floats, Floats], Floats]
    """(share, h) → τ at which only that share of the part is left."""
    stays: bool
    """Whether a part stays; else a = 0."""


def _exponential(step: Floats, half: Floats) -> Floats:
    return 2.0 ** (-step / half)


def _power(step: Floats, half: Floats) -> Floats:
    return (1 + step) ** (-1 / np.log2(1 + half))


FORMS = (
    Form("exponential", _exponential, lambda share, half: -half * np.log2(share), stays=False),
    Form("power", _power, lambda share, half: share ** -np.log2(1 + half) - 1, stays=False),
    Form("plateau", _exponential, lambda share, half: -half * np.log2(share), stays=True),
)


@dataclass(frozen=True)
class Fit:
    """The form that foretells best what was left out."""

    form: str
    error: float
    """Root mean square error at the steps left out, one after another."""
    half_life: Estimate
    """Steps; infinite where the fitted curve passes ½ only after the last probed step, or never; so its ends."""
    asymptote: Estimate
    """Undefined but for `plateau`: the other forms have 0 by what they are."""
    undefined: str = ""
    """Why there is no fit; then everything else is undefined."""


NO_FIT = Fit("", math.nan, UNDEFINED, UNDEFINED, "not fitted")


def fit(value: Floats, samples: Floats, steps: Floats, seeds: int, bootstrap: Bootstrap) -> Fit:
    """Choose a form for the mean curve, and fit it to every resample.

    Args:
        value: [τ] R, with R(0) = 1.
        samples: [B, τ] its resamples.
        steps: [τ] rising, from 0.
        seeds: on how many it rests.

    Returns:
        Intervals hold for the chosen form: that another could have been chosen is not in them.
    """
    if len(steps) - 1 < FEWEST_STEPS:
        why = f"{len(steps) - 1} probed steps after 0 are fewer than {FEWEST_STEPS}"
        return Fit("", math.nan, UNDEFINED, UNDEFINED, why)
    if np.isnan(value).any():
        return Fit("", math.nan, UNDEFINED, UNDEFINED, "a probe is not a number")
    errors = {form.name: held_out_error(form, value, steps) for form in FORMS}
    form = min(FORMS, key=lambda form: round(errors[form.name] / ALIKE))
    half, asymptote = fitted(form, value[None], steps)
    halves, asymptotes = fitted(form, samples, steps)
    return Fit(
        form.name,
        errors[form.name],
        _half_life(half_life(form, half, asymptote)[0], half_life(form, halves, asymptotes), steps, seeds, bootstrap),
        bootstrap.estimate(asymptote[0], asymptotes, seeds) if form.stays else UNDEFINED,
    )


def fitted(form: Form, retained: Floats, steps: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Least squares: h and a of each curve.

    Args:
        retained: [n, τ] R.
        weights: [n, τ] of the steps; None is 1 for each.

    Returns:
        [n] h on the grid, [n] a in [0, 1]; NaN of curves with a NaN.
    """
    weights = np.ones((1, len(steps))) if weights is None else weights  # one row serves all curves
    grid = _grid(steps)
    lost = form.shape(steps, grid[:, None])  # [grid, τ]
    stays = 1 - lost
    weighted = weights * retained
    # The residual R − lost − a · stays, squared and summed, is a parabola in a.
    constant = (weighted * retained).sum(axis=1)[:, None] - 2 * weighted @ lost.T + weights @ (lost**2).T
    linear = weighted @ stays.T - weights @ (lost * stays).T
    square = weights @ (stays**2).T
    asymptote = np.clip(linear / square, 0, 1) if form.stays else np.zeros_like(linear)
    best = (constant - 2 * asymptote * linear + asymptote**2 * square).argmin(axis=1)
    unknown = np.isnan(retained).any(axis=1)
    return np.where(unknown, np.nan, grid[best]), np.where(unknown, np.nan, asymptote[np.arange(len(best)), best])


def curve(form: Form, half: Floats, asymptote: Floats, steps: Floats) -> Floats:
    """[n] h, [n] a, [τ] → [n, τ] R."""
    return asymptote[:, None] + (1 - asymptote[:, None]) * form.shape(steps, half[:, None])


def half_life(form: Form, half: Floats, asymptote: Floats) -> Floats:
    """τ at which R = ½, infinite where a ≥ ½: [n], [n] → [n]."""
    share = (0.5 - asymptote) / np.where(asymptote < 1, 1 - asymptote, 1)
    falls = ~(share <= 0)
    return np.where(falls, form.reach(np.where(falls, share, 0.5), half), np.inf)


def held_out_error(form: Form, value: Floats, steps: Floats) -> float:
    """Fit without one step after 0, foretell R there; the root of the mean squared error over such steps."""
    left_out = np.arange(1, len(steps))
    weights = np.ones((len(left_out), len(steps)))
    weights[left_out - 1, left_out] = 0
    half, asymptote = fitted(form, np.broadcast_to(value, weights.shape), steps, weights)
    foretold = curve(form, half, asymptote, steps)[left_out - 1, left_out]
    return float(np.sqrt(np.mean((foretold - value[left_out]) ** 2)))


def _half_life(value: float, samples: Floats, steps: Floats, seeds: int, bootstrap: Bootstrap) -> Estimate:
    """A t interval of its logarithm; what lies beyond the last probed step was not seen, and is said to be infinite."""
    last = steps[-1]
    if value > last:
        return Estimate(math.inf)
    grid = _grid(steps)
    low, high = bootstrap.interval(np.log(value), np.log(np.clip(samples, grid[0], grid[-1])), seeds)
    return Estimate(float(value), float(np.exp(low)), math.inf if high > np.log(last) else float(np.exp(high)))


def _grid(steps: Floats) -> Floats:
    return np.geomspace(steps[1] / BEYOND, steps[-1] * BEYOND, GRID)
