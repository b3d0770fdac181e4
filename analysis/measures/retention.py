"""The study's definitions, each as a pure function (DESIGN §6); nothing else in this package defines a measure.

A source is named where a definition has one; what is called this project's own was first written down in DESIGN §6.
Scores lie in [0, 1].  τ is the step of target training, 0 … T; curves have τ on their last axis, beginning at τ = 0.
Leading axes (resamples, seeds) are carried along, so that a bootstrap resamples whole ratios, never their parts.

    A(τ)    score of the intermediate task with the head stored after phase 2, re-attached to the encoder of step τ
    P(τ)    the same with a linear head refitted to frozen features of step τ;  P_base: on the untouched encoder
    c       chance: the score of the answer that is commonest in training (spans: of one answer to every question)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.inference.statistics import Estimate, Floats


def retention(scores: Floats, chance: float | Floats) -> Floats:
    """R(τ) = (A(τ) − c) / (A(0) − c): 1 where nothing is lost, 0 where the stored head is back at chance.

    This project's own: larger encoders begin higher, so that what they lose in points does not compare.

    Args:
        scores: [..., τ] A.
        chance: c, or [...].

    Returns:
        [..., τ]; NaN where A(0) = c.  Ask `nothing_to_retain` before believing a ratio.
    """
    return representation_retention(scores, np.asarray(chance, dtype=np.float64))  # the same ratio, from c


def representation_retention(probes: Floats, base: Floats) -> Floats:
    """(P(τ) − P_base) / (P(0) − P_base): what is left in the encoder, whatever became of the head.

    This project's own; P is a linear probe of frozen features (Alain & Bengio 2017).

    Args:
        probes: [..., τ] P.
        base: [...] P_base.

    Returns:
        [..., τ].
    """
    base = base[..., None]
    return _ratio(probes - base, probes[..., :1] - base)


def nothing_to_retain(denominator: Estimate, what: str) -> str:
    """Why a retention is undefined: its denominator is within its own confidence interval of 0, or below.

    This project's own rule.

    Args:
        denominator: A(0) − c or P(0) − P_base, with its interval.
        what: its name, for the sentence.

    Returns:
        A sentence; empty where the ratio is defined.
    """
    if denominator.above_zero:
        return ""
    if np.isnan(denominator.low):
        return f"{what} = {denominator.value:.3f} has no interval (nothing varied, or one seed without examples)"
    return (
        f"{what} = {denominator.value:.3f} [{denominator.low:.3f}, {denominator.high:.3f}] "
        "is not above 0: there is nothing to retain"
    )


def backward_transfer(scores: Floats) -> Floats:
    """A(T) − A(0) (Lopez-Paz & Ranzato 2017, GEM, for two tasks): [..., τ] → [...]."""
    return scores[..., -1] - scores[..., 0]


def forgetting(scores: Floats) -> Floats:
    """max over τ of A(τ), minus A(T) (Chaudhry et al. 2018): [..., τ] → [...], never negative."""
    return scores.max(axis=-1) - scores[..., -1]


def area_under_retention(retained: Floats, steps: Floats) -> Floats:
    """Mean height of R by the trapezoid rule over x = log2(1 + τ) / log2(1 + T).

    Probes stand at 0, 1, 2, 4 … T, evenly spaced on this axis; over τ itself the last two would decide all.
    This project's own.

    Args:
        retained: [..., τ] R.
        steps: [τ] rising, from 0.

    Returns:
        [...]; 1 where R = 1 throughout.  Where T = 0, R(0).
    """
    if steps[-1] == 0:
        return retained[..., 0]
    return np.trapezoid(retained, np.log2(1 + steps) / np.log2(1 + steps[-1]), axis=-1)


def half_life(retained: Floats, steps: Floats) -> Floats:
    """The first probed τ with R(τ) < ½.  This project's own.

    Args:
        retained: [..., τ] R.
        steps: [τ] rising.

    Returns:
        [...]; infinite where R stays above to the end, NaN where R is.
    """
    below = retained < 0.5
    first = np.where(below.any(axis=-1), steps[below.argmax(axis=-1)].astype(np.float64), np.inf)
    return np.where(np.isnan(retained).any(axis=-1), np.nan, first)


def transfer_gain(via: Floats, without: Floats) -> Floats:
    """G = score via the intermediate − score without it (STILTs, Phang et al. 2018): two of one shape → the same."""
    return via - without


def gain_retention(gains: Floats) -> Floats:
    """mean over l ≠ en of G(l), over G(en): how much of the English gain other languages get.  This project's own.

    Args:
        gains: [..., languages] G(l), English first, of two languages at least.

    Returns:
        [...].  Undefined where G(en) is within its own interval of 0.
    """
    return _ratio(gains[..., 1:].mean(axis=-1), gains[..., 0])


def cross_lingual_gap(scores: Floats) -> Floats:
    """score(en) − mean over l ≠ en of score(l) (XTREME, Hu et al. 2020).

    Args:
        scores: [..., languages], English first, of two languages at least.

    Returns:
        [...]
    """
    return scores[..., 0] - scores[..., 1:].mean(axis=-1)


def gap_change(via: Floats, without: Floats) -> Floats:
    """The gap through the intermediate − the gap without: below 0 where other languages gain more than English.

    This project's own.

    Args:
        via, without: [..., languages] scores, as `cross_lingual_gap` takes them.

    Returns:
        [...]
    """
    return cross_lingual_gap(via) - cross_lingual_gap(without)


def multilinguality_change(after: Floats, before: Floats) -> Floats:
    """Retrieval accuracy after phase 2 − before it, at each layer: 0 where multilinguality is retained.

    This project's own, on the encoders in which Phang et al. 2020 retrieve.  A difference and no share: retrieval
    often rises, and in some layers of the pretrained encoder there is next to nothing to keep a share of.

    Args:
        after, before: [..., layers], of the same layers and over the same languages.

    Returns:
        [..., layers]
    """
    return after - before


def scale_slope(values: Floats, non_embedding_parameters: Floats) -> Floats:
    """Least-squares slope of a measure on log10(non-embedding parameters): its change per tenfold scale.

    Sizes are counted as in Kaplan et al. 2020 (Scaling Laws for Neural Language Models): without embeddings.

    Args:
        values: [..., scales].
        non_embedding_parameters: [scales].

    Returns:
        [...]; NaN where all are of one size.
    """
    return slope_at_equal_placement(values, non_embedding_parameters, ["any"] * len(non_embedding_parameters))


def slope_at_equal_placement(values: Floats, non_embedding_parameters: Floats, layer_norms: Sequence[str]) -> Floats:
    """`scale_slope` where each LayerNorm family has a level of its own: what placement explains is not size's.

    Values and sizes are centred within each family first (Frisch & Waugh 1933, Econometrica 1): the slope is that of a
    regression on size and family.

    Args:
        values: [..., scales].
        non_embedding_parameters: [scales].
        layer_norms: [scales] names of families, one of which has two sizes at least.

    Returns:
        [...]; NaN where no family has two sizes.
    """
    x, y = np.log10(non_embedding_parameters), np.array(values, dtype=np.float64)
    for family in set(layer_norms):
        own = [place for place, name in enumerate(layer_norms) if name == family]
        # Of encoders of one size exactly 0: what rounding leaves of their mean would pass for a difference.
        x[own] = x[own] - x[own].mean() if np.ptp(x[own]) else 0
        y[..., own] = y[..., own] - y[..., own].mean(axis=-1, keepdims=True)
    return _ratio((y * x).sum(axis=-1), (x**2).sum())


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """NaN where the denominator is 0."""
    return numerator / np.where(denominator == 0, np.nan, denominator)
