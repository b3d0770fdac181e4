"""Tables leave as files that others read back; the best is bold, and no text breaks out of its cell."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import exports, xtreme
from analysis.tables import Table
from trainers.files import StoreError

SCORES = Table(
    ("scale", "intermediate", "score"),
    [
        ("base", "mnli", "0.6 [0.5, 0.7]"),
        ("base", "none", "0.7 [0.6, 0.8]"),
        ("large", "none", "−0.1"),
        ("large", "x", "–"),
    ],
    names=2,
)


def test_the_best_of_each_group_is_bold_and_a_dash_never():
    bold = exports.highest(SCORES)
    assert bold == {(1, 2), (2, 2)}
    assert "| base | none | **0.7 [0.6, 0.8]** |" in exports.markdown(SCORES, bold)
    assert "large & none & \\textbf{$-$0.1} \\\\" in exports.latex(SCORES, bold)


def test_equally_high_numbers_are_all_bold():
    table = Table(("scale", "score"), [("base", "0.7"), ("base", "0.7"), ("base", "0.1")], names=1)
    assert exports.highest(table) == {(0, 1), (1, 1)}


cells = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_a_csv_file_gives_back_every_text(rows):
    table = Table(("a", "b"), rows, names=2)
    assert list(csv.reader(exports.as_csv(table).splitlines())) == [["a", "b"], *map(list, rows)]


@given(cells)
def test_no_text_breaks_out_of_its_cell(text):
    table = Table(("a", "b"), [(text, "1")], names=1)
    line = exports.markdown(table, set()).splitlines()[2]
    assert line.replace("\\|", "").count("|") == 3
    assert "<" not in line
    body = exports.latex(table, set()).splitlines()[4]
    assert body.replace("\\&", "").count("&") == 1
    assert "%" not in body.replace("\\%", "")


def test_latex_escapes_what_it_would_read():
    assert exports.latex(Table(("a",), [(r"50% & {x}_1 \input",)], names=1), set()).splitlines()[4] == (
        r"50\% \& \{x\}\_1 \textbackslash{}input \\"
    )


def test_the_leaderboard_has_a_row_an_arm_and_a_mean_only_of_all_nine(built):
    found = xtreme.scores(built.study.compared, built.study.frame, 7 / 12)
    table = exports.leaderboard(found)
    assert set(table.columns) == {"scale", "intermediate", "mean", "xnli", "pawsx", "xquad", "tatoeba"}
    assert len(table.rows) == 3 * 3
    assert {row[2] for row in table.rows} == {"–"}
    assert table.rows[0][:2] == ("small", "none")
    assert 50 < float(table.rows[0][table.columns.index("xnli")]) < 54  # 0.6 in English, 0.5 in four others


numbers = st.lists(
    st.tuples(st.sampled_from(["base", "large"]), st.sampled_from(["0.1", "−0.2", "0.7 [0.6, 0.8]", "–"]))
)


@given(numbers, st.randoms())
def test_the_bold_ones_are_the_highest_in_whatever_order_the_rows_come(rows, random):
    def bold(rows):
        return sorted(rows[place] for place, _ in exports.highest(Table(("scale", "score"), rows, names=1)))

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert bold(shuffled) == bold(rows)
    assert ("base", "–") not in bold(rows)
    assert {scale for scale, _ in bold(rows)} == {scale for scale, score in rows if score != "–"}


def test_each_table_is_written_three_times_and_a_folder_that_is_a_file_is_told(tmp_path):
    exports.write_tables({"scores": SCORES}, tmp_path / "tables", best=("scores",))
    assert (tmp_path / "tables" / "scores.md").read_text() == exports.markdown(SCORES, exports.highest(SCORES))
    assert (tmp_path / "tables" / "scores.csv").read_text() == exports.as_csv(SCORES)
    assert "\\textbf{0.7" in (tmp_path / "tables" / "scores.tex").read_text()
    with pytest.raises(StoreError, match=r"cannot write .*scores\.md"):
        exports.write_tables({}, tmp_path / "tables" / "scores.md")
