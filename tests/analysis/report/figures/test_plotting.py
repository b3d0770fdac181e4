"""What figures share: short numbers, ticks that leave each other room, files whose names nobody can break out of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from analysis.inference.statistics import Estimate
from analysis.report.figures.plotting import (
    OKABE_ITO,
    colours,
    compact,
    distinct,
    log_parameters,
    log_steps,
    save,
    whiskers,
)
from trainers.store.files import StoreError

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (85_054_464, "85.1M"), (999_999, "1M"), (3.5e9, "3.5G"), (1.2e12, "1.2T")],
)
def test_three_digits_and_a_unit(number, text):
    assert compact(number) == text


@given(st.floats(1, 9e14), st.floats(1, 9e14))
def test_a_compact_number_is_the_number_to_three_digits_and_short(one, other):
    def value(number: float) -> float:
        text = compact(number)
        assert len(text) <= 5
        return float(text.rstrip("kMGT")) * UNITS.get(text[-1], 1)

    assert value(one) == pytest.approx(one, rel=0.006, abs=0.5)
    if one <= other:
        assert value(one) <= value(other)


@given(st.floats(0, 1e7))
def test_ticks_of_steps_are_steps_with_room_between_them(last):
    axes = Figure().subplots()
    log_steps(axes, last)
    ticks = sorted(axes.get_xticks())
    assert ticks[-1] == pytest.approx(np.log2(1 + last))
    assert all(tick >= 0 for tick in ticks)
    assert all(np.diff(ticks) >= 0.05 * ticks[-1])


def test_steps_are_labelled_in_fours():
    axes = Figure().subplots()
    log_steps(axes, 100)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["100", "16", "4", "1", "0"]


@given(st.lists(st.integers(10**4, 10**11), min_size=1, max_size=5))
def test_encoders_sizes_are_the_only_ticks_and_lie_inside(sizes):
    axes = Figure().subplots()
    log_parameters(axes, sizes)
    assert axes.get_xticks().tolist() == sorted(set(sizes))
    low, high = axes.get_xlim()
    assert low < min(sizes) <= max(sizes) < high


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_whiskers_never_point_inwards(value, one, other):
    below, above = whiskers(Estimate(value, min(one, other), max(one, other)))[:, 0]
    assert below >= 0
    assert above >= 0


def test_whiskers_by_hand():
    assert whiskers(Estimate(0.5, 0.25, 0.75)).tolist() == [[0.25], [0.25]]
    assert whiskers(Estimate(0.5)) is None
    assert whiskers(Estimate(math.nan)) is None


@given(st.lists(st.text(max_size=3)))
def test_distinct_values_stay_in_their_order_and_have_their_colours(names):
    found = distinct(names)
    assert set(found) == set(names)
    assert distinct(found) == found
    assert sorted(found, key=names.index) == found
    chosen = colours(found)
    assert list(chosen) == found
    assert len(set(chosen.values())) == min(len(found), len(OKABE_ITO))


def test_long_names_that_begin_alike_get_files_of_their_own(tmp_path):
    long = "gain-by-language-" + "anli+" * 40
    for name in (f"{long}squad", f"{long}mnli"):
        save(Figure(), tmp_path, name)
    names = [path.name for path in tmp_path.glob("*.png")]
    assert len(names) == 2
    assert all(name.startswith(long[:90]) and len(name) < 120 for name in names)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot write .*taken"):
        save(Figure(), tmp_path / "taken", "a")
