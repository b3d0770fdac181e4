"""The seeds asked for are those that textbooks ask for, and the power foretold is the power there is."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import power
from analysis.statistics import SIGNIFICANT, Bootstrap, Examples, p_value
from tests.analysis import fakes

deviations = st.floats(1e-3, 1)


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 10), (0.8, 15), (0.5, 34)])
def test_without_noise_of_examples_the_seeds_are_those_of_a_paired_t_test(effect, seeds):
    """As G*Power 3.1 has them: two-sided, α = 0.05, power 0.8."""
    assert power.seeds_needed(effect, by_seed=1.0, by_examples=0.0) == seeds


def test_the_power_foretold_is_how_often_the_report_s_own_test_finds_it():
    rng, seeds, difference, by_seed = np.random.default_rng(0), 5, 0.05, 0.03
    found = 0
    for _ in range(400):
        scores = Examples.alike(difference + by_seed * rng.standard_normal((seeds, 1)))
        samples = Bootstrap(rng, 400).means(scores)
        found += p_value(scores.by_seed.mean(), samples, seeds) < SIGNIFICANT
    assert found / 400 == pytest.approx(power.power(seeds, difference, by_seed, 0.0), abs=0.06)


@given(deviations, deviations, st.floats(0.01, 2), st.integers(2, 40))
def test_power_rises_with_seeds_and_difference(by_seed, by_examples, difference, seeds):
    base = power.power(seeds, difference, by_seed, by_examples)
    assert SIGNIFICANT - 1e-3 <= base <= 1
    assert power.power(seeds + 1, difference, by_seed, by_examples) >= base - 1e-6
    assert power.power(seeds, 1.5 * difference, by_seed, by_examples) >= base - 1e-6


@given(deviations, st.floats(0, 0.1), st.integers(2, 30))
def test_the_visible_difference_is_seen_with_just_these_seeds(by_seed, by_examples, seeds):
    visible = power.visible_difference(seeds, by_seed, by_examples)
    assert power.seeds_needed(visible * 1.01, by_seed, by_examples) <= seeds
    if seeds > 2:
        assert power.seeds_needed(visible * 0.99, by_seed, by_examples) >= seeds


def test_no_number_of_seeds_makes_up_for_few_examples():
    assert math.isinf(power.seeds_needed(0.01, by_seed=0.001, by_examples=0.02))


def test_the_upper_limit_holds_in_four_studies_of_five():
    rng = np.random.default_rng(1)
    seen = rng.standard_normal((2000, 4)).std(axis=1, ddof=1)
    assert np.mean([power.upper_limit(one, 3) > 1 for one in seen]) == pytest.approx(0.8, abs=0.03)


def test_the_study_of_known_truth_needs_few_seeds(built):
    found = {(one.measure, one.smaller): one for one in power.outlooks(built.study, 0.2)}
    assert set(found) == {(measure, scale) for measure in ("stored", "refit", "gain") for scale in ("small", "medium")}
    one = found["stored", "small"]
    assert (one.larger, one.seeds, one.trainings) == ("medium", 3, 4)  # of 6 trainings, 2 are of the same task
    assert 2 <= one.needed <= one.cautious
    assert 0 < one.visible < 0.2


def test_one_seed_tells_nothing(tmp_path):
    for stage in fakes.stages((0,), ("none", "mnli")):
        fakes.write_stage(tmp_path, stage)
    for one in power.outlooks(fakes.study_of(tmp_path), 0.1):
        assert (one.trainings, one.seeds) == (0, 0)
        assert math.isnan(one.needed)
        assert math.isnan(one.visible)


def test_seeds_that_happen_to_agree_tell_nothing(monkeypatch):
    """Without scores of single examples and with equal values, σ would be 0 and two seeds enough for anything."""
    monkeypatch.setattr(power, "_values", lambda study, measure: equal_values())
    study = SimpleNamespace(scales=["small", "large"])
    for one in power.outlooks(study, 0.1):
        assert (one.trainings, one.seeds) == (0, 0)
        assert math.isnan(one.needed)
        assert math.isnan(one.visible)


def equal_values():
    for scale, value in (("small", 0.1 + 0.2), ("large", 0.4)):
        yield scale, ("mnli", "pawsx"), (0, 1), np.array([value, value]), np.full(12, value)


@pytest.mark.parametrize(
    ("difference", "wanted", "why"),
    [(0, 0.8, "has to be above 0"), (math.nan, 0.8, "has to be above 0"), (0.1, 1.0, "power of 1.0")],
)
def test_what_cannot_be_asked_is_refused(built, difference, wanted, why):
    with pytest.raises(ValueError, match=why):
        power.outlooks(built.study, difference, wanted)


def test_without_any_noise_every_difference_is_seen():
    assert power.power(2, 1e-6, 0.0, 0.0) == 1
    assert power.seeds_needed(1e-6, 0.0, 0.0) == 2


@given(deviations, deviations, st.floats(0.01, 2), st.floats(0.1, 10))
def test_power_does_not_know_the_unit(by_seed, by_examples, difference, unit):
    plain = power.power(5, difference, by_seed, by_examples)
    assert power.power(5, unit * difference, unit * by_seed, unit * by_examples) == pytest.approx(plain, abs=1e-9)


def test_from_one_seed_or_an_unknown_variance_nothing_is_foretold():
    assert math.isnan(power.power(1, 0.1, 0.1, 0.1))
    assert math.isnan(power.visible_difference(1, 0.1, 0.1))
    for unknown in ((math.nan, 0.1), (0.1, math.nan)):
        assert math.isinf(power.seeds_needed(0.1, *unknown))
        assert math.isnan(power.visible_difference(5, *unknown))


@given(deviations, st.integers(1, 40))
def test_the_upper_limit_lies_above_what_was_seen_and_comes_nearer_with_more_of_it(by_seed, freedom):
    assert power.upper_limit(by_seed, freedom) > power.upper_limit(by_seed, freedom + 1) > by_seed
    assert power.upper_limit(2 * by_seed, freedom) == pytest.approx(2 * power.upper_limit(by_seed, freedom))
