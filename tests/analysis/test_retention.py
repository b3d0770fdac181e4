"""The definitions have the values that one can work out by hand, and the properties that make them measures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis import retention
from analysis.statistics import Estimate

STEPS = np.array([0.0, 1, 3, 7])
"""Evenly spaced on the axis log2(1 + τ): 0, 1, 2, 3."""

scores = arrays(np.float64, st.integers(2, 8), elements=st.floats(0, 1))


def test_retention_is_one_at_first_and_zero_at_chance():
    found = retention.retention(np.array([[0.9, 0.65, 0.4]]), chance=0.4)
    np.testing.assert_allclose(found, [[1, 0.5, 0]])


@given(scores, st.floats(0, 0.4))
def test_retention_does_not_change_when_scores_are_rescaled(curve, chance):
    curve = np.concatenate([[0.9], curve])
    halved = retention.retention(curve / 2, chance / 2)
    np.testing.assert_allclose(halved, retention.retention(curve, chance), atol=1e-9)


def test_retention_without_anything_learned_is_not_a_number_and_no_warning():
    assert np.isnan(retention.retention(np.array([0.5, 0.5]), 0.5)).all()


def test_representation_retention_is_measured_from_the_untouched_encoder():
    found = retention.representation_retention(np.array([[0.8, 0.6], [0.9, 0.9]]), np.array([0.4, 0.5]))
    np.testing.assert_allclose(found, [[1, 0.5], [1, 1]])


@pytest.mark.parametrize(
    ("denominator", "refused"),
    [
        (Estimate(0.3, 0.1, 0.5), ""),
        (Estimate(0.1, -0.1, 0.3), "is not above 0"),
        (Estimate(-0.3, -0.5, -0.1), "is not above 0"),
        (Estimate(0.3), "has no interval"),
    ],
)
def test_retention_is_undefined_where_its_denominator_may_be_zero(denominator, refused):
    sentence = retention.nothing_to_retain(denominator, "A(0) − c")
    assert refused in sentence
    assert bool(sentence) == bool(refused)


def test_backward_transfer_and_forgetting_differ_where_the_best_came_later():
    curve = np.array([0.6, 0.8, 0.5])
    assert retention.backward_transfer(curve) == pytest.approx(-0.1)
    assert retention.forgetting(curve) == pytest.approx(0.3)


@given(scores)
def test_forgetting_is_never_negative_and_never_less_than_the_backward_loss(curve):
    assert retention.forgetting(curve) >= max(0.0, -retention.backward_transfer(curve))


def test_area_weighs_doublings_alike():
    assert retention.area_under_retention(np.array([1, 1, 0, 0.0]), STEPS) == pytest.approx(0.5)
    assert retention.area_under_retention(np.array([1.0]), np.array([0.0])) == 1


@given(arrays(np.float64, 4, elements=st.floats(-1, 2)))
def test_area_lies_between_the_lowest_and_the_highest_retention(curve):
    assert curve.min() - 1e-9 <= retention.area_under_retention(curve, STEPS) <= curve.max() + 1e-9


def test_half_life_is_the_first_probed_step_below_one_half():
    curves = np.array([[1, 0.6, 0.4, 0.9], [1, 0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(retention.half_life(curves, STEPS), [3, math.inf])


def test_gains_and_gaps():
    english, others = np.array(0.8), np.array([0.6, 0.4])
    assert retention.cross_lingual_gap(english, others) == pytest.approx(0.3)
    assert retention.transfer_gain(np.array(0.8), np.array(0.7)) == pytest.approx(0.1)
    assert retention.gain_retention(np.array(0.2), np.array([0.1, 0.0])) == pytest.approx(0.25)


@given(st.floats(-1, 1), st.floats(-1, 1), st.lists(st.integers(10**5, 10**10), min_size=2, max_size=5, unique=True))
def test_slope_recovers_a_line_in_the_logarithm_of_size(slope, offset, sizes):
    sizes = np.array(sizes, dtype=np.float64)
    if np.log10(sizes.max() / sizes.min()) < 0.1:
        return
    line = offset + slope * np.log10(sizes)
    assert retention.scale_slope(line, sizes) == pytest.approx(slope, abs=1e-6)


def test_measures_carry_resamples_along():
    samples = np.random.default_rng(0).random((50, 3, 4))
    assert retention.retention(samples, 0.2).shape == (50, 3, 4)
    for measure in (retention.backward_transfer, retention.forgetting):
        assert measure(samples).shape == (50, 3)
    assert retention.area_under_retention(samples, STEPS).shape == retention.half_life(samples, STEPS).shape == (50, 3)


SIZES = np.array([1e8, 3e8, 3e9, 1e10])
FAMILIES = ("post", "post", "pre", "pre")


def test_the_slope_at_equal_placement_leaves_out_the_step_between_families():
    """Truth: 0.1 per tenfold, and pre-LN 0.5 above: the plain slope takes the step for size."""
    values = 0.1 * np.log10(SIZES) + np.array([0, 0, 0.5, 0.5])
    assert retention.slope_at_equal_placement(values, SIZES, FAMILIES) == pytest.approx(0.1)
    assert retention.scale_slope(values, SIZES) > 0.3


@given(arrays(np.float64, (3, 4), elements=st.floats(-1, 1)), st.floats(-1, 1))
def test_the_slope_at_equal_placement_is_blind_to_a_family_s_level(values, level):
    found = retention.slope_at_equal_placement(values, SIZES, FAMILIES)
    moved = retention.slope_at_equal_placement(values + level * np.array([0, 0, 1, 1]), SIZES, FAMILIES)
    np.testing.assert_allclose(moved, found, atol=1e-9)
    one_family = retention.slope_at_equal_placement(values, SIZES, ("post",) * 4)
    np.testing.assert_allclose(one_family, retention.scale_slope(values, SIZES), atol=1e-9)


def test_without_two_sizes_in_a_family_there_is_no_slope_at_equal_placement():
    assert math.isnan(retention.slope_at_equal_placement(np.array([0.1, 0.5]), SIZES[[0, 3]], ("post", "pre")))
