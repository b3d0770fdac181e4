"""Trends are slopes that one works out by hand, and only like ones are averaged."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.measures.trends import different_task, pooled_slopes, pooled_trends, scale_trends
from tests.analysis.made import SIZES, bootstrap, curve

finals = st.lists(st.floats(-1, 2), min_size=3, max_size=3)


def test_the_trend_of_a_line_is_its_slope():
    (trend,) = scale_trends([curve(0.3, "small"), curve(0.4, "medium"), curve(0.5, "large")], bootstrap())
    assert trend.overall.value == pytest.approx(0.1)
    assert trend.within["post"].value == pytest.approx(0.1)
    assert trend.adjusted.value == pytest.approx(0.1)
    assert (trend.scales, trend.seeds) == (("small", "medium", "large"), 3)


@given(finals, st.floats(-1, 1), st.integers(1, 50))
def test_a_slope_knows_neither_the_level_nor_the_unit_of_size(values, level, unit):
    slopes = [
        scale_trends(
            [curve(value + more, scale, size=times * SIZES[scale]) for value, scale in zip(values, SIZES, strict=True)],
            bootstrap(),
        )[0].overall.value
        for more, times in ((0, 1), (level, unit))
    ]
    assert slopes[0] == pytest.approx(slopes[1], abs=1e-9)


@given(finals)
def test_a_reflected_retention_has_the_opposite_slope(values):
    up, down = (
        scale_trends([curve(sign * value, scale) for value, scale in zip(values, SIZES, strict=True)], bootstrap())[0]
        for sign in (1, -1)
    )
    assert up.overall.value == pytest.approx(-down.overall.value, abs=1e-9)


def test_encoders_of_one_size_have_no_trend_and_no_slope_within_their_family():
    same = [curve(final, "small", size=85_054_464) for final in (0.1, 0.5, 0.9)]
    assert scale_trends(same, bootstrap()) == []
    larger = replace(curve(0.7, "large"), arm=replace(curve(0.7, "large").arm, layer_norm="pre"))
    (trend,) = scale_trends([*same, larger], bootstrap())
    assert math.isfinite(trend.overall.value)
    assert trend.within == {}
    assert math.isnan(trend.adjusted.value), "sizes differ between families only"


def test_pooled_slopes_by_hand():
    """Slopes 0.1 (one probed task) and, of one training, 0.2 and 0.4: (0.1 + 0.3) / 2; the same task is left out."""
    several = {"intermediate": "mnli+squad"}
    curves = [
        *(curve(final, scale) for final, scale in ((0.3, "small"), (0.4, "medium"))),
        *(curve(final, scale, **several) for final, scale in ((0.3, "small"), (0.5, "medium"))),
        *(curve(final, scale, task="squad", **several) for final, scale in ((0.3, "small"), (0.7, "medium"))),
        *(curve(final, scale, target="xnli", trained="mnli") for final, scale in ((0.0, "small"), (1.0, "medium"))),
    ]
    found = pooled_slopes(scale_trends(curves, bootstrap()), bootstrap())
    assert set(found) == {"stored"}
    assert found["stored"].value == pytest.approx(0.2)
    assert pooled_slopes([], bootstrap()) == {}


@pytest.mark.slow
@given(finals, st.permutations(range(3)))
def test_pooled_slopes_do_not_hang_on_the_order_and_lie_between_the_least_and_the_greatest(values, order):
    targets = ("pawsx", "panx", "udpos")
    curves = [
        one
        for target, value in zip(targets, values, strict=True)
        for one in (curve(0.5, "small", target=target), curve(value, "large", target=target))
    ]
    trends = scale_trends(curves, bootstrap())
    for equal in (False, True):
        pooled = pooled_slopes(trends, bootstrap(), equal)["stored"].value
        assert pooled_slopes([trends[place] for place in order], bootstrap(), equal)["stored"].value == (
            pytest.approx(pooled, abs=1e-12)
        )
        slopes = [trend.overall.value for trend in trends]
        assert min(slopes) - 1e-9 <= pooled <= max(slopes) + 1e-9


def test_trends_over_other_scales_are_not_averaged():
    """Slopes 0.1 over three scales, and 0.5 over the smaller two of them: their mean would be of neither."""
    whole = [curve(final, scale) for final, scale in ((0.3, "small"), (0.4, "medium"), (0.5, "large"))]
    part = [curve(final, scale, target="panx") for final, scale in ((0.3, "small"), (0.8, "medium"))]
    trends = scale_trends([*whole, *part], bootstrap())
    assert len(trends) == 2
    assert [trend.smallest.arm.targets for trend in pooled_trends(trends, "stored")] == [("pawsx",)]
    for equal in (False, True):
        assert pooled_slopes(trends, bootstrap(), equal)["stored"].value == pytest.approx(0.1)


def test_where_no_training_has_every_scale_there_is_no_pooled_slope():
    pairs = {"pawsx": ("small", "medium"), "panx": ("medium", "large")}
    curves = [curve(0.3, scale, target=target) for target, scales in pairs.items() for scale in scales]
    assert pooled_slopes(scale_trends(curves, bootstrap()), bootstrap()) == {}


@pytest.mark.slow
@given(st.lists(st.sets(st.sampled_from(list(SIZES)), min_size=2), min_size=1, max_size=5))
def test_pooled_trends_are_alike_in_their_scales_and_miss_none(present):
    targets = ("pawsx", "panx", "udpos", "xquad", "mlqa")
    curves = [
        curve(0.5, scale, target=target)
        for target, scales in zip(targets, present, strict=False)
        for scale in SIZES
        if scale in scales
    ]
    trends = scale_trends(curves, bootstrap())
    assert all(different_task(trend, "stored") and not different_task(trend, "refit") for trend in trends)
    pooled = pooled_trends(trends, "stored")
    assert {frozenset(trend.scales) for trend in pooled} <= {frozenset().union(*present)}
    assert len(pooled) == present.count(set().union(*present))
