"""Retrieval by layer: the mean over languages, compared at one layer fixed before, where both were measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.measures.multilinguality import NORMED, PLAIN, LayerCurve, layer_curves
from tests.analysis.made import arm, bootstrap, measurements

BEFORE, AFTER = arm("none", seeds=(0,), target="tatoeba", trained=""), arm("mnli", target="tatoeba", trained="")
Table = list[dict[str, list[float]]]
"""A seed's scores: language → by layer."""
PRETRAINED: Table = [{"de": [0.1, 0.3, 0.6, 0.5, 0.4], "sw": [0.0, 0.1, 0.4, 0.3, 0.2]}]
TRAINED: Table = [{"de": [0.1, 0.3, 0.7, 0.5, 0.4], "sw": [0.0, 0.1, 0.5 + seed / 10, 0.3, 0.2]} for seed in range(3)]


def curves_of(before: Table, after: Table, depth: float = 7 / 12) -> dict[str, LayerCurve]:
    scores = {
        (key, PLAIN, "tatoeba", language, layer): value
        for owner, by_seed in ((BEFORE, before), (AFTER, after))
        for key, languages in zip(owner.ordered_keys, by_seed, strict=True)
        for language, values in languages.items()
        for layer, value in enumerate(values)
    }
    found = layer_curves([BEFORE, AFTER], PLAIN, measurements(scores), bootstrap(), depth)
    return {curve.arm.intermediate: curve for curve in found}


def test_curves_by_hand():
    found = curves_of(PRETRAINED, TRAINED)
    np.testing.assert_allclose(found["none"].value, [0.05, 0.2, 0.5, 0.4, 0.3])
    np.testing.assert_allclose(found["mnli"].value, [0.05, 0.2, 0.65, 0.4, 0.3])
    assert found["mnli"].compared_layer == 2  # 7/12 of 4
    assert found["mnli"].compared.value == pytest.approx(0.65)
    assert found["mnli"].change.value == pytest.approx(0.15)
    np.testing.assert_allclose(found["mnli"].changes, [0, 0, 0.15, 0, 0], atol=1e-12)
    assert np.isnan(found["none"].changes).all()
    np.testing.assert_allclose(found["mnli"].change_by_seed, [0.1, 0.15, 0.2])
    assert math.isnan(found["none"].change.value)


def test_without_examples_the_change_has_the_interval_of_its_seeds():
    """The pretrained encoder has one run, which is no reason to know nothing: no seed changes it."""
    found = curves_of(PRETRAINED, TRAINED)
    low, high = stats.t.interval(0.95, 2, 0.15, stats.sem([0.1, 0.15, 0.2]))
    assert found["mnli"].change.high - found["mnli"].change.low == pytest.approx(high - low, rel=0.2)
    assert math.isnan(found["none"].compared.low), "one run alone has no interval"
    one = [{language: values[:3] + [math.nan] * 2 for language, values in PRETRAINED[0].items()}]
    assert math.isnan(curves_of(one, TRAINED, depth=1)["mnli"].change.value)


by_layer = st.lists(st.floats(0, 1), min_size=5, max_size=5)
tables = st.lists(st.fixed_dictionaries({"de": by_layer, "sw": by_layer}), min_size=3, max_size=3)


@pytest.mark.slow
@given(tables, st.permutations([0, 1, 2]), st.floats(0, 1))
def test_neither_the_order_of_seeds_nor_a_shift_of_all_scores_is_a_change(after, order, shift):
    moved = [
        [{language: [value + shift for value in values] for language, values in seed.items()} for seed in table]
        for table in (PRETRAINED, [after[seed] for seed in order])
    ]
    one, other = curves_of(PRETRAINED, after)["mnli"], curves_of(*moved)["mnli"]
    assert other.change.value == pytest.approx(one.change.value, abs=1e-9)
    np.testing.assert_allclose(other.value, one.value + shift, atol=1e-9)


@pytest.mark.slow
@given(tables, st.floats(0, 1))
def test_the_compared_layer_is_one_of_the_curve_s_and_has_its_value(after, depth):
    curve = curves_of(PRETRAINED, after, depth)["mnli"]
    assert 0 <= curve.compared_layer <= 4
    assert curve.compared.value == pytest.approx(curve.value[curve.compared_layer])
    assert curve.change.value == pytest.approx(curve.changes[curve.compared_layer])


def test_the_change_is_over_the_languages_that_both_have():
    only_german = [{"de": seed["de"]} for seed in TRAINED]
    german = curves_of(PRETRAINED, only_german)["mnli"]
    assert german.change.value == pytest.approx(0.1)
    assert german.changes[2] == pytest.approx(0.1)
    both_ways = curves_of([{"de": PRETRAINED[0]["de"]}], TRAINED)["mnli"]
    np.testing.assert_allclose(both_ways.changes, german.changes, atol=1e-12)
    other = [{"ru": seed["de"]} for seed in TRAINED]
    found = curves_of(PRETRAINED, other)["mnli"]
    assert math.isnan(found.change.value)
    assert np.isnan(found.changes).all()


def test_a_language_that_one_seed_lacks_is_in_no_mean_and_another_measure_is_no_curve():
    lacking = [{"de": TRAINED[0]["de"]}, *TRAINED[1:]]
    assert curves_of(PRETRAINED, lacking)["mnli"].languages == ("de",)
    assert layer_curves([AFTER], NORMED, measurements({}), bootstrap(), 0.5) == []
