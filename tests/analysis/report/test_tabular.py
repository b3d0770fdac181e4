"""The best of a group is bold, equals all are, and what cannot be compared never is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.report.tabular import DASH, Table, count, estimated, number


def table(*rows: tuple[str, str], ranked=("score",)) -> Table:
    return Table(("scale", "score"), rows, 1, ranked, ("scale",))


def test_the_best_of_each_group_and_a_dash_never():
    scores = table(("base", "0.6 [0.5, 0.7]"), ("base", "0.7 [0.6, 0.8]"), ("large", "−0.1"), ("large", "−0.3"))
    assert scores.best == {(1, 1), (2, 1)}
    assert table(("base", DASH), ("base", DASH)).best == set()


def test_what_is_shown_alike_is_all_best():
    assert table(("base", "0.7"), ("base", "0.7 [0.6, 0.8]"), ("base", "0.1")).best == {(0, 1), (1, 1)}


def test_a_number_that_is_alone_in_its_group_beats_nothing():
    assert table(("base", "0.7"), ("large", "0.8"), ("large", DASH)).best == set()


def test_only_ranked_columns_have_a_best():
    assert table(("base", "12 s"), ("base", "40 s"), ranked=()).best == set()


rows = st.lists(st.tuples(st.sampled_from(["base", "large"]), st.sampled_from(["0.1", "−0.2", "0.7 [0.6, 0.8]", DASH])))


@given(rows, st.randoms())
def test_the_best_are_the_same_in_whatever_order_the_rows_come(rows, random):
    def best(rows):
        return sorted(rows[place] for place, _ in table(*rows).best)

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert best(shuffled) == best(rows)
    scores = {scale: [score for other, score in rows if other == scale and score != DASH] for scale, _ in rows}
    assert {scale for scale, _ in best(rows)} == {scale for scale, several in scores.items() if len(several) > 1}


def test_numbers_are_shown_to_people_and_kept_for_programs():
    both = estimated(Estimate(-0.1234567, -0.2, 0.1), sign=True)
    assert both == "−0.123 [−0.200, +0.100]"
    assert both.parts == {"": -0.1234567, " low": -0.2, " high": 0.1}
    assert number(-0.05, "+.3f") == "−0.050"
    assert number(0.125, ".1%") == "12.5%"
    assert (count(3), count(3).parts, count(0), count(0).parts) == ("3", {"": 3}, DASH, {"": 0})


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_and_counts_are_read_back_from_what_is_shown(thousandths, of):
    shown = number(thousandths / 1000, "+.3f")
    assert float(shown) == shown.parts[""] == thousandths / 1000
    assert number(-thousandths / 1000, ".3f").replace("−", "").lstrip("-") == f"{thousandths / 1000:.3f}"
    assert count(of) == (str(of) if of else DASH)
    assert count(of).parts == {"": of}


@pytest.mark.parametrize("shown", [estimated(UNDEFINED), number(math.nan, ".3f")])
def test_what_is_undefined_is_a_dash_and_no_number(shown):
    assert shown == DASH
    assert all(math.isnan(value) for value in shown.parts.values())
