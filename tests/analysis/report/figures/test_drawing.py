"""What figures share: short numbers, ticks that leave each other room, files whose names nobody can break out of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report.figures.catalogue import FIGURES, every_drawing
from analysis.report.figures.drawing import Drawing
from analysis.report.figures.retention import RETENTION_LIMITS, retention_over_scale, retention_range, step_ticks
from analysis.report.figures.vegalite import OKABE_ITO, distinct, named
from analysis.report.findings import compact
from tests.analysis.browser import needs_chromium, texts_that_overlap
from trainers.store.files import StoreError

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
EMPTY = {"data": {"values": [{}]}, "mark": "point"}


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
    ticks = sorted(np.log2(1 + np.array(step_ticks(last))))
    assert ticks[-1] == pytest.approx(np.log2(1 + last))
    assert all(tick >= 0 for tick in ticks)
    assert all(np.diff(ticks) >= 0.05 * ticks[-1])


def test_steps_are_labelled_in_fours():
    assert step_ticks(100) == [100, 16, 4, 1, 0]


@given(st.lists(st.floats(-1e6, 1e6)))
def test_the_axis_of_retention_holds_chance_and_the_whole_and_is_cut_in_the_end(values):
    low, high = retention_range(values)
    assert RETENTION_LIMITS[0] <= low < 0 < 1 < high <= RETENTION_LIMITS[1]
    for value in values:
        assert low < value < high or not RETENTION_LIMITS[0] < value < RETENTION_LIMITS[1]


@pytest.mark.slow
@given(st.lists(st.integers(10**4, 10**11), min_size=3, max_size=3, unique=True))
def test_encoders_sizes_are_the_only_ticks_and_lie_inside(built, sizes):
    new = dict(zip(built.study.scales, sizes, strict=True))
    curves = [
        replace(curve, arm=replace(curve.arm, non_embedding_parameters=new[curve.arm.scale]))
        for curve in built.study.curves
    ]
    view = retention_over_scale(replace(built.study, curves=curves))
    assert view is not None
    x = view.layers[-1]["encoding"]["x"]
    assert x["axis"]["values"] == sorted(sizes)
    low, high = x["scale"]["domain"]
    assert low < min(row["x"] for row in view.rows) <= max(row["x"] for row in view.rows) < high


@given(st.lists(st.text(max_size=3)))
def test_distinct_values_stay_in_their_order_and_have_their_colours(names):
    found = distinct(names)
    assert set(found) == set(names)
    assert distinct(found) == found
    assert sorted(found, key=names.index) == found
    scale = named("x", "", found, OKABE_ITO)["scale"]
    assert scale["domain"] == found
    assert len(scale["range"]) == len(found)
    assert len(set(scale["range"])) == min(len(found), len(OKABE_ITO))


def test_long_names_that_begin_alike_get_files_of_their_own(tmp_path):
    long = "gain-by-language-" + "anli+" * 40
    for name in (f"{long}squad", f"{long}mnli"):
        Drawing(name, "", EMPTY).save(tmp_path)
    names = [path.name for path in tmp_path.glob("*.png")]
    assert len(names) == 2
    assert all(name.startswith(long[:90]) and len(name) < 120 for name in names)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot write .*taken"):
        Drawing("a", "", EMPTY).save(tmp_path / "taken")


@pytest.mark.slow
def test_saved_figures_are_deterministic_and_dateless(built, tmp_path):
    first, second = (next(every_drawing(built.study, "s")) for _ in range(2))
    replace(first, name="a").save(tmp_path)
    replace(second, name="../b/$c").save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{ending}" for name in ("a", "___b__c") for ending in ("png", "svg")
    }
    for ending in ("png", "svg"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"___b__c.{ending}").read_bytes()
    assert "date" not in (tmp_path / "a.svg").read_text()


def test_page_and_paper_show_the_same_rows_through_the_same_layers(built):
    """Menus and clicks are the page's; a sheet holds what they would choose, and the sheets together all there is."""
    for figure in FIGURES:
        view = figure.draw(built.study)
        assert view is not None
        page, sheets = view.on_page("origin"), [spec for _, spec in view.sheets("sweep", "origin")]
        assert all(sheet["spec"]["layer"] == page["spec"]["layer"] for sheet in sheets)
        assert not any(sheet.get("params") for sheet in sheets)
        rows = [row for sheet in sheets for row in sheet["data"]["values"]]
        assert sorted(map(str, rows)) == sorted(map(str, page["data"]["values"]))


@pytest.mark.slow
@needs_chromium
def test_figures_of_many_panels_keep_their_texts_apart(built, tmp_path):
    """No two texts of a figure overlap, titles and legends included."""
    drawings = every_drawing(built.study, "a sweep with a name so long that it has to be wrapped")
    assert texts_that_overlap(drawings, tmp_path) == []
