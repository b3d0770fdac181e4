"""What an intermediate takes is the mean of its trainings and of its targets'; the figure tells any number apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.report.figures.cost import UNITS, CostAndGain, cost_against_gain, costs_and_gains, time_unit
from analysis.report.figures.drawing import drawings
from analysis.report.figures.views import View
from analysis.study import Study
from tests.analysis.browser import needs_chromium, texts_that_overlap

SCALES = ("base", "large", "xl", "xxl")


def study(
    built, hours: dict[tuple[str, str, str], list[float | None]], gains: dict[tuple[str, str], Estimate]
) -> Study:
    """The times of (scale, intermediate, kind) and the gains of (scale, intermediate), nothing else."""
    empty = dict.fromkeys(built.study.compared.columns)
    rows = [
        {
            **empty,
            "scale": scale,
            "intermediate": name,
            "kind": kind,
            "seconds": None if one is None else 3600 * one,
            "non_embedding_parameters": 10 ** (6 + SCALES.index(scale)),
            "outcome": "completed",
        }
        for (scale, name, kind), several in hours.items()
        for one in several
    ]
    table = pl.DataFrame(rows, schema=built.study.compared.schema)
    first = built.study.replicated[0]
    told = [replace(first, scale=scale, intermediate=name, gain=gain) for (scale, name), gain in gains.items()]
    return replace(built.study, stages=table, compared=table, replicated=told)


def test_the_hours_are_the_mean_intermediate_and_the_mean_target_and_no_retrieval(built):
    hours = {
        ("base", "mnli", "intermediate"): [1.0, 3.0],
        ("base", "mnli", "target"): [0.5, 0.5, 2.0, None],
        ("base", "mnli", "retrieval"): [100.0],
    }
    gain = Estimate(0.05, 0.01, 0.09)
    (found,) = costs_and_gains(study(built, hours, {("base", "mnli"): gain}))
    assert found == CostAndGain("base", "mnli", pytest.approx(3.0), gain, ("pawsx", "xnli", "xquad"))


times = st.lists(st.sampled_from([0.5, 1.0, 4.0, None]), min_size=1, max_size=4)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times, times, st.randoms())
def test_the_hours_know_no_order_of_stages_and_grow_with_the_unit(built, first, second, random):
    def hours(unit: float, shuffled: bool) -> list[float]:
        told = {("base", "mnli", "intermediate"): list(first), ("base", "mnli", "target"): list(second)}
        for several in told.values():
            several[:] = [None if one is None else unit * one for one in several]
            if shuffled:
                random.shuffle(several)
        return [one.hours for one in costs_and_gains(study(built, told, {("base", "mnli"): Estimate(0.05)}))]

    found = hours(1.0, shuffled=False)
    assert len(found) == any(one is not None for one in (*first, *second))
    assert hours(3.0, shuffled=True) == pytest.approx([3 * one for one in found])


def test_what_has_no_gain_or_no_time_is_left_out(built):
    hours = {("base", "mnli", "target"): [1.0], ("base", "squad", "target"): [None], ("base", "ccg", "target"): [1.0]}
    gains = {("base", "mnli"): UNDEFINED, ("base", "squad"): Estimate(0.1, 0.0, 0.2)}
    assert costs_and_gains(study(built, hours, gains)) == []
    assert cost_against_gain(study(built, hours, gains)) is None


def many(built, count: int, scales=SCALES, name="intermediate {}") -> Study:
    rng = np.random.default_rng(count)
    arms = [(scale, name.format(number)) for scale in scales for number in range(count)]
    hours = {(*arm, "target"): [4.0 ** SCALES.index(arm[0]) * 10 ** rng.uniform(-3, 1)] for arm in arms}
    gains = {arm: Estimate(value, value - 0.02, value + 0.02) for arm in arms for value in rng.normal(0.02, 0.03, 1)}
    return study(built, hours, gains)


def view_of(study: Study) -> View:
    view = cost_against_gain(study)
    assert view is not None
    return view


def test_every_point_is_drawn_at_its_place_with_its_interval(built):
    found = many(built, 11)
    view = view_of(found)
    assert list(view.panels) == list(SCALES)
    assert view.independent["x"] == "independent"
    for scale in SCALES:
        known = [one for one in costs_and_gains(found) if one.scale == scale]
        rows = [row for row in view.rows if row["k"] == scale]
        assert [row["c"] for row in rows] == pytest.approx([one.hours for one in known], rel=1e-3)
        for end, name in (("v", "value"), ("l", "low"), ("u", "high")):
            assert [row[end] for row in rows] == pytest.approx([getattr(one.gain, name) for one in known], abs=1e-4)
        assert [row["sure"] for row in rows] == [one.gain.differs_from_zero for one in known]
    assert view.layers[-1]["encoding"]["fillOpacity"]["condition"]["test"] == "datum.sure"


def test_no_two_intermediates_look_alike_and_one_looks_the_same_at_every_scale(built):
    encoding = view_of(many(built, 35)).layers[-1]["encoding"]
    colour, shape = (encoding[channel]["scale"] for channel in ("color", "shape"))
    assert colour["domain"] == shape["domain"]
    assert len(set(zip(colour["range"], shape["range"], strict=True))) == 35


@pytest.mark.parametrize(
    ("count", "scales", "name"),
    [
        (1, ("base",), "mnli"),
        (2, SCALES, "task {}"),
        (11, SCALES, "task {}"),
        (35, SCALES, "an intermediate with a long name {}"),
        (35, ("base",), "an intermediate with a long name {}"),
    ],
)
@needs_chromium
def test_its_texts_keep_apart_and_its_panels_their_height_at_any_size(built, count, scales, name, tmp_path):
    found = many(built, count, scales, name)
    (drawing,) = drawings(cost_against_gain(found), found, "a sweep with a name that has to be wrapped")
    assert texts_that_overlap([drawing], tmp_path) == []
    assert drawing.spec["spec"]["height"] > 100


@given(st.floats(1e-3, 1e4))
def test_times_are_told_in_the_largest_unit_of_which_the_longest_has_one(hours):
    unit, per_hour = time_unit(hours)
    assert (unit, per_hour) in UNITS
    assert hours * per_hour >= 1
    assert all(hours * larger < 1 for _, larger in UNITS if larger < per_hour)


def test_a_unit_by_hand():
    assert [time_unit(hours)[0] for hours in (2, 1, 0.5, 1 / 60, 0.01)] == [
        "hours",
        "hours",
        "minutes",
        "minutes",
        "seconds",
    ]
