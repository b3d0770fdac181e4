"""A win rate of few seeds has an interval that covers, above all where every seed wins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.inference.improvement import improvement_interval, probability_of_improvement


def test_the_probability_of_improvement_by_hand():
    via, without = np.array([[0.9, 0.5], [0.7, 0.5]]), np.array([[0.8, 0.5], [0.6, 0.5]])
    assert probability_of_improvement(via, without) == pytest.approx((3 / 4 + 1 / 2) / 2)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 100))
def test_improvement_and_its_reverse_are_the_whole(runs, others, seed):
    rng = np.random.default_rng(seed)
    via, without = rng.integers(0, 3, (runs, 4)) / 3, rng.integers(0, 3, (others, 4)) / 3
    there, back = probability_of_improvement(via, without), probability_of_improvement(without, via)
    assert there + back == pytest.approx(1)
    assert probability_of_improvement(via + 1, without) == 1


def test_of_wins_throughout_the_interval_is_wilsons_of_as_many_runs_as_seeds_less_a_half():
    for seeds in (2, 3, 5):
        found = improvement_interval(np.full((seeds, 9), 0.8), np.full((seeds, 9), 0.7))
        squared = stats.norm.ppf(0.975) ** 2 / (seeds - 0.5)
        assert (found.value, found.high) == (1, pytest.approx(1))
        assert found.low == pytest.approx(1 / (1 + squared))


def test_one_seed_has_no_interval_and_a_score_that_is_not_a_number_no_probability():
    assert math.isnan(improvement_interval(np.array([[0.8]]), np.array([[0.7]])).low)
    one, lacking = np.array([[0.9], [0.8]]), np.array([[0.7], [math.nan]])
    for via, without in ((one, lacking), (lacking, one)):
        found = improvement_interval(via, without)
        assert math.isnan(found.value)
        assert math.isnan(found.low)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("common", [0.0, 0.8])
@pytest.mark.parametrize("truth", [0.5, 0.92, 0.98])
def test_the_interval_covers_the_truth_whether_tasks_go_together_or_not(seeds, common, truth):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        via, without = (
            np.sqrt(common) * rng.standard_normal((seeds, 1)) + np.sqrt(1 - common) * rng.standard_normal((seeds, 9))
            for _ in range(2)
        )
        found = improvement_interval(via + math.sqrt(2) * stats.norm.ppf(truth), without)
        hits += found.low <= truth <= found.high
    assert hits / 400 > 0.93


def test_more_seeds_and_tasks_that_do_not_go_together_narrow_the_interval():
    rng = np.random.default_rng(0)

    def width(seeds: int, tasks: int, repeats: int = 1) -> float:
        found = []
        for _ in range(100):
            via, without = (np.repeat(rng.standard_normal((seeds, tasks)), repeats, axis=1) for _ in range(2))
            one = improvement_interval(via, without)
            found.append(one.high - one.low)
        return float(np.mean(found))

    assert width(10, 9) < width(5, 9) < width(5, 3)
    assert width(5, 9) < 0.7 * width(5, 1, repeats=9)


@pytest.mark.slow
@given(st.integers(2, 6), st.integers(0, 100))
def test_the_interval_turns_round_with_the_arms(seeds, seed):
    rng = np.random.default_rng(seed)
    via, without = rng.integers(0, 4, (2, seeds, 3)) / 4
    there, back = improvement_interval(via, without), improvement_interval(without, via)
    assert there.low == pytest.approx(1 - back.high, abs=1e-9)
    assert 0 <= there.low <= there.value <= there.high <= 1
    assert there.low < there.high
