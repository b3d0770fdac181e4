"""The best of a group is bold, equals all are, and what cannot be compared never is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.report.findings import DASH
from analysis.report.table import Table, count, estimate, label, number, table_of, words


def table(*rows: tuple[str, Estimate], ranked: bool = True) -> Table:
    return table_of((label("scale"), estimate("score", ranked=ranked)), rows, among=("scale",))


def test_the_best_of_each_group_and_a_dash_never():
    known = table(
        ("base", Estimate(0.6, 0.5, 0.7)),
        ("base", Estimate(0.7, 0.6, 0.8)),
        ("large", Estimate(-0.1)),
        ("large", Estimate(-0.3)),
    )
    assert known.best == {(1, 1), (2, 1)}
    assert table(("base", UNDEFINED), ("base", UNDEFINED)).best == set()
    assert table().best == set()


def test_what_is_shown_alike_is_all_best():
    known = table(("base", Estimate(0.70004)), ("base", Estimate(0.7, 0.6, 0.8)), ("base", Estimate(0.1)))
    assert known.best == {(0, 1), (1, 1)}


def test_a_number_that_is_alone_in_its_group_beats_nothing():
    assert table(("base", Estimate(0.7)), ("large", Estimate(0.8)), ("large", UNDEFINED)).best == set()


def test_only_ranked_columns_have_a_best():
    assert table(("base", Estimate(12)), ("base", Estimate(40)), ranked=False).best == set()


SCORES = (Estimate(0.1), Estimate(-0.2), Estimate(0.7, 0.6, 0.8), UNDEFINED)
rows = st.lists(st.tuples(st.sampled_from(["base", "large"]), st.sampled_from(SCORES)))


@given(rows, st.randoms())
def test_the_best_are_the_same_in_whatever_order_the_rows_come(rows, random):
    def best(rows):
        return sorted((rows[place][0], rows[place][1].value) for place, _ in table(*rows).best)

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert best(shuffled) == best(rows)
    scores = {scale: [score for other, score in rows if other == scale and score is not UNDEFINED] for scale, _ in rows}
    assert {scale for scale, _ in best(rows)} == {scale for scale, several in scores.items() if len(several) > 1}


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1))
def test_bold_is_what_reads_highest(values):
    """By the digits that are shown, and not by those behind them."""
    layout = (label("scale"), estimate("score", ranked=True), number("iqm", ".3f", ranked=True))
    known = table_of(layout, [("base", Estimate(first), second) for first, second in values], among=("scale",))
    for column in (1, 2):
        read = [float(row[column].replace("−", "-")) for row in known.rows]
        expected = {(place, column) for place, value in enumerate(read) if value == max(read) and len(read) > 1}
        assert {place for place in known.best if place[1] == column} == expected


def test_numbers_are_shown_to_people_and_kept_for_programs():
    layout = (estimate("gain", sign=True), number("iqm", "+.3f"), number("share", ".1%"), count("seeds"), count("bad"))
    known = table_of(layout, [(Estimate(-0.1234567, -0.2, 0.1), -0.05, 0.125, 3, 0)])
    assert known.rows == [("−0.123 [−0.200, +0.100]", "−0.050", "12.5%", "3", DASH)]
    assert known.frame.rows() == [(-0.1234567, -0.2, 0.1, -0.05, 0.125, 3, 0)]
    assert known.frame.columns == ["gain", "gain low", "gain high", "iqm", "share", "seeds", "bad"]


@pytest.mark.slow
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_and_counts_are_read_back_from_what_is_shown(thousandths, of):
    layout = (number("plus", "+.3f"), number("minus", ".3f"), count("of"))
    known = table_of(layout, [(thousandths / 1000, -thousandths / 1000, of)])
    ((plus, minus, counted),) = known.rows
    assert float(plus) == known.frame["plus"][0] == thousandths / 1000
    assert minus.replace("−", "").lstrip("-") == f"{thousandths / 1000:.3f}"
    assert counted == (str(of) if of else DASH)
    assert known.frame["of"].to_list() == [of]


def test_what_is_undefined_is_a_dash_and_no_number():
    known = table_of((estimate("gain"), number("iqm", ".3f"), words("why")), [(UNDEFINED, math.nan, None)])
    assert known.rows == [(DASH, DASH, DASH)]
    assert all(value is None or math.isnan(value) for value in known.frame.row(0))
