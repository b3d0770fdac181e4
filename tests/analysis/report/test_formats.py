"""Tables leave as files that others read back: the best bold, numbers as numbers, and no text leaves its cell."""

from __future__ import annotations

import csv
import io
import math
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.benchmark.claims import judged
from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.report import formats
from analysis.report.retention_tables import retention_table, shape_table, trend_table
from analysis.report.table import Column, Shown, Table, count, estimate, label, table_of, words
from analysis.report.tables import cell_table, claim_table, cost_table, replication_table, transfer_table
from tests.analysis.made import bootstrap
from trainers.stage.languages import ENGLISH
from trainers.store.files import StoreError

HIGH, LOW = Estimate(0.7, 0.6, 0.8), Estimate(-0.0123456, -0.05, 0.0004)
SCORES = table_of(
    (label("scale"), label("intermediate"), count("seeds"), estimate("gain", sign=True, ranked=True), words("why")),
    [
        ("base", "mnli", 3, HIGH, None),
        ("base", "−x", 0, LOW, None),
        ("large", "none", 1, UNDEFINED, "diverged"),
    ],
    among=("scale",),
)


def read(table: Table) -> pl.DataFrame:
    return pl.read_csv(io.StringIO(formats.as_csv(table)), infer_schema_length=None)


def test_the_best_is_bold_beside_its_interval():
    assert "| base | mnli | 3 | **+0.700** [+0.600, +0.800] | – |" in formats.markdown(SCORES)
    assert "base & mnli & 3 & \\textbf{+0.700} [+0.600, +0.800] & -- \\\\" in formats.latex(SCORES)
    assert formats.markdown(SCORES).count("**") == 2


def test_a_program_reads_numbers_and_their_ends():
    frame = read(SCORES)
    assert frame.columns == ["scale", "intermediate", "seeds", "gain", "gain low", "gain high", "why"]
    assert frame["intermediate"].to_list() == ["mnli", "−x", "none"]
    assert frame["seeds"].to_list() == [3, 0, 1]
    assert frame["gain"].to_list() == [0.7, -0.0123456, None]
    assert frame["gain low"].to_list() == [0.6, -0.05, None]
    assert frame["gain high"].to_list() == [0.8, 0.0004, None]
    assert frame["why"].to_list() == [None, None, "diverged"]


def test_what_lies_beyond_all_that_was_measured_is_infinite():
    half_life = Column("half-life", lambda steps: Shown("> 100" if math.isinf(steps) else f"{steps:.0f}"))
    steps = table_of((label("scale"), half_life), [("a", math.inf), ("b", 8.0)])
    assert steps.rows == [("a", "> 100"), ("b", "8")]
    assert read(steps)["half-life"].to_list() == [math.inf, 8.0]


def test_numbers_of_numpy_are_numbers_too():
    table = table_of(NAMED, [("a", Estimate(np.float64(0.5), np.float64(-0.1), np.float64(1)))])
    assert formats.as_csv(table) == "name,x,x low,x high\na,0.5,-0.1,1.0\n"


NAMED = (label("name"), estimate("x"))
ends = st.floats(-1e6, 1e6) | st.just(math.nan)


@pytest.mark.slow
@given(st.lists(st.tuples(ends, ends, ends), min_size=1, max_size=5))
def test_csv_loses_no_digit(numbers):
    table = table_of(NAMED, [("a", Estimate(*one)) for one in numbers])
    text = formats.as_csv(table)
    assert text.isascii()
    for row, one in zip(csv.DictReader(text.splitlines()), numbers, strict=True):
        for name, value in zip(("x", "x low", "x high"), one, strict=True):
            assert (row[name] == "") if math.isnan(value) else (float(row[name]) == value)


def test_every_number_of_the_study_is_read_back_as_it_is(built):
    found = read(cell_table(built.study))
    cells = {(cell.arm.scale, cell.arm.intermediate, cell.target): cell for cell in built.study.cells}
    assert found.height == len(cells)
    for row in found.iter_rows(named=True):
        cell = cells[row["scale"], row["intermediate"], row["target"]]
        said = {
            "English": cell.scores[ENGLISH],
            "others": cell.others,
            "English gain": cell.english_gain,
            "others’ gain": cell.others_gain,
        }
        for name, one in said.items():
            for ending, value in (("", one.value), (" low", one.low), (" high", one.high)):
                assert row[name + ending] == (None if math.isnan(value) else value), name


def test_in_no_table_of_a_report_a_number_is_read_as_a_text(built):
    study = built.study
    drawn = [cell_table, transfer_table, replication_table, cost_table, retention_table, shape_table, trend_table]
    tables = [*(draw(study) for draw in drawn), claim_table(judged(study, bootstrap()))]
    words = {"lacking", "why undefined", "form"}
    for table in tables:
        frame = read(table)
        texts = {column.name for column in frame if column.dtype == pl.String and column.count()}
        assert texts <= {*table.columns[: table.names], *words}, texts
        assert table.rows


def test_the_time_is_in_seconds(built):
    (seconds,) = built.study.stages.filter(scale="small", kind="target").select(pl.sum("seconds")).to_series()
    assert read(cost_table(built.study)).filter(scale="small", kind="target")["time (s)"].to_list() == [seconds]


def test_bold_are_scores_and_gains_of_a_scale_and_target_and_no_times(built):
    table = cell_table(built.study)
    best = {(table.rows[place][:3], table.columns[column]) for place, column in table.best}
    assert {name for _, name in best} == {"English", "others", "English gain", "others’ gain"}
    assert {(row[0], row[2]) for row, _ in best} == {(row[0], row[2]) for row in table.rows}
    assert not any(row[1] == "none" for row, _ in best)  # every intermediate gains
    assert replication_table(built.study).best
    assert not cost_table(built.study).best
    assert not retention_table(built.study).best
    assert not trend_table(built.study).best


texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_a_csv_file_gives_back_every_name(rows):
    assert list(csv.reader(formats.as_csv(table_of((label("a"), label("b")), rows)).splitlines())) == [
        ["a", "b"],
        *map(list, rows),
    ]


@given(texts)
@example("\\|")
@example("[1em] x")
@example("* x")
def test_no_text_breaks_out_of_its_cell(text):
    table = table_of((label("a"), words("b")), [(text, "1"), ("x", "2")])
    line = formats.markdown(table).splitlines()[2]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3  # a bar after an odd number of backslashes is text
    assert "<" not in line
    body = formats.latex(table).splitlines()[4]
    assert body.replace("\\&", "").count("&") == 1
    assert "%" not in body.replace("\\%", "")
    assert not body.startswith(("[", "*"))
    assert body.count("{") - body.count("\\{") == body.count("}") - body.count("\\}")


def test_latex_escapes_what_it_would_read():
    assert formats.latex(table_of((label("a"),), [(r"50% & {x}_1 \input",)])).splitlines()[4] == (
        r"50\% \& \{x\}\_1 \textbackslash{}input \\"
    )


def test_each_table_is_written_three_times_and_a_folder_that_is_a_file_is_told(tmp_path):
    formats.write_tables({"scores": SCORES}, tmp_path / "tables")
    assert (tmp_path / "tables" / "scores.md").read_text() == formats.markdown(SCORES)
    assert (tmp_path / "tables" / "scores.csv").read_text() == formats.as_csv(SCORES)
    assert (tmp_path / "tables" / "scores.tex").read_text() == formats.latex(SCORES)
    with pytest.raises(StoreError, match=r"cannot write .*scores\.md"):
        formats.write_tables({}, tmp_path / "tables" / "scores.md")
