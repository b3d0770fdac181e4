"""The definitions have the values that one can work out by hand, and the properties that make them measures."""

from __future__ import annotations

import math
import re
from inspect import isfunction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.inference.statistics import Estimate
from analysis.measures import retention

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


@pytest.mark.slow
@given(arrays(np.float64, 4, elements=st.floats(-1, 2)))
def test_area_lies_between_the_lowest_and_the_highest_retention(curve):
    assert curve.min() - 1e-9 <= retention.area_under_retention(curve, STEPS) <= curve.max() + 1e-9


def test_half_life_is_the_first_probed_step_below_one_half():
    curves = np.array([[1, 0.6, 0.4, 0.9], [1, 0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(retention.half_life(curves, STEPS), [3, math.inf])


def test_gains_and_gaps():
    via, plain = np.array([0.8, 0.6, 0.4]), np.array([0.6, 0.5, 0.4])
    assert retention.cross_lingual_gap(via) == pytest.approx(0.3)
    assert retention.gap_change(via, plain) == pytest.approx(0.3 - 0.15)
    np.testing.assert_allclose(retention.transfer_gain(via, plain), [0.2, 0.1, 0.0])
    assert retention.gain_retention(np.array([0.2, 0.1, 0.0])) == pytest.approx(0.25)


def test_multilinguality_changes_layer_by_layer_and_may_rise():
    before, after = np.array([0.0, 0.3, 0.6]), np.array([[0.0, 0.4, 0.5], [0.1, 0.3, 0.6]])
    np.testing.assert_allclose(retention.multilinguality_change(after, before), [[0, 0.1, -0.1], [0.1, 0, 0]])


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


def test_a_curve_that_is_not_a_number_has_no_half_life():
    curves = np.array([[1, 0.9, np.nan, 0.9], [1, np.nan, 0.4, 0.2], [1, 0.9, 0.9, 0.9]])
    np.testing.assert_array_equal(retention.half_life(curves, STEPS), [np.nan, np.nan, np.inf])


@given(arrays(np.float64, 4, elements=st.floats(0, 1)), arrays(np.float64, 4, elements=st.floats(0, 1)))
def test_who_keeps_more_at_every_step_has_the_longer_half_life_and_the_larger_area(curve, more):
    assert retention.half_life(curve + more, STEPS) >= retention.half_life(curve, STEPS)
    area = retention.area_under_retention(curve, STEPS)
    assert retention.area_under_retention(curve + more, STEPS) >= area - 1e-12


values = arrays(np.float64, 3, elements=st.floats(-1, 1))


@pytest.mark.slow
@given(values, values, st.floats(-1, 1), st.permutations(range(3)))
def test_gains_turn_round_with_the_arms_and_gaps_and_shares_do_not_know_the_order_of_languages(
    via, plain, shift, order
):
    np.testing.assert_allclose(retention.transfer_gain(via, plain), -retention.transfer_gain(plain, via))
    np.testing.assert_allclose(
        retention.transfer_gain(via + shift, plain + shift), retention.transfer_gain(via, plain), atol=1e-12
    )
    scores, reordered = np.append(plain[0], via), np.append(plain[0], via[list(order)])
    gap = retention.cross_lingual_gap(scores)
    assert retention.cross_lingual_gap(reordered) == pytest.approx(gap, abs=1e-12)
    assert retention.cross_lingual_gap(scores + shift) == pytest.approx(gap, abs=1e-12)
    if abs(plain[0]) > 1e-3:
        assert retention.gain_retention(2 * reordered) == pytest.approx(retention.gain_retention(scores))


def test_of_no_english_gain_nothing_is_a_share():
    assert math.isnan(retention.gain_retention(np.array([0.0, 0.1, 0.2])))


@pytest.mark.slow
@given(arrays(np.float64, (2, 4), elements=st.floats(-1, 1)), st.floats(-1, 1))
def test_a_change_of_the_gap_is_what_other_languages_gain_less_and_no_common_gain_is_one(scores, common):
    via, plain = scores
    gains = retention.transfer_gain(via, plain)
    change = retention.gap_change(via, plain)
    assert change == pytest.approx(retention.cross_lingual_gap(gains), abs=1e-12)
    assert change == pytest.approx(-retention.gap_change(plain, via), abs=1e-12)
    assert retention.gap_change(plain + common, plain) == pytest.approx(0, abs=1e-12)


@given(arrays(np.float64, (3, 5), elements=st.floats(0, 1)), st.integers(0, 4))
def test_a_change_of_multilinguality_adds_up_over_phases_and_a_layer_knows_no_other(scores, layer):
    before, between, after = scores
    change = retention.multilinguality_change
    np.testing.assert_allclose(change(after, before), change(after, between) + change(between, before), atol=1e-12)
    assert change(after, before)[layer] == change(after[layer], before[layer])
    assert (change(before, before) == 0).all()


def test_every_definition_names_its_source():
    """A paper by its year, or this project itself."""
    public = [one for name, one in vars(retention).items() if isfunction(one) and name[0] != "_"]
    own = [one for one in public if one.__module__ == retention.__name__]
    assert len(own) > 10
    assert [one.__name__ for one in own if not re.search(r"\b(19|20)\d\d\b|his project's own", one.__doc__ or "")] == []


@given(st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 1))
def test_retention_is_undefined_just_where_its_denominator_is_not_above_0(value, below, above):
    denominator = Estimate(value, value - below, value + above)
    assert (retention.nothing_to_retain(denominator, "A(0) − c") == "") == (value - below > 0)


@pytest.mark.parametrize("size", [85_054_464, 302_309_376, 3e9])
@pytest.mark.parametrize("scales", [1, 3, 7])
def test_encoders_of_one_size_have_no_slope(size, scales):
    """The mean of equal logarithms is not always one of them: what rounding leaves is no difference of size."""
    finals, sizes = np.linspace(0.1, 0.9, scales), np.full(scales, size)
    assert math.isnan(retention.scale_slope(finals, sizes))
    assert math.isnan(retention.slope_at_equal_placement(finals, sizes, ("post",) * scales))
    one_larger = retention.slope_at_equal_placement(
        np.append(finals, 0.5), np.append(sizes, 1e10), (*("post",) * scales, "pre")
    )
    assert math.isnan(one_larger)
