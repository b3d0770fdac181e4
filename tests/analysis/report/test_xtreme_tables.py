"""XTREME's leaderboard of a study: a row an arm, points for people and for programs."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.benchmark import xtreme
from analysis.benchmark.published import OFFICIAL_EXAMPLES
from analysis.report.formats import as_csv
from analysis.report.xtreme_tables import leaderboard
from trainers.tasks import TASKS


def test_the_leaderboard_has_a_row_an_arm_and_a_mean_only_of_all_nine(built):
    found = xtreme.scores(built.study.compared, built.study.frame, 7 / 12)
    table = leaderboard(found)
    assert set(table.columns) == {"scale", "intermediate", "mean", "xnli", "pawsx", "xquad", "tatoeba"}
    assert len(table.rows) == 3 * 3
    assert {row[2] for row in table.rows} == {"–"}
    assert table.rows[0][:2] == ("small", "none")
    assert 50 < float(table.rows[0][table.columns.index("xnli")]) < 54  # 0.6 in English, 0.5 in four others


def test_of_nine_tasks_in_part_the_leaderboard_has_as_little_a_mean_as_xtreme():
    whole = [
        xtreme.Score("large", "none", task, (70.0, 50.0) if TASKS[task].family == "span" else (70.0,), 1,
                     languages=len(TASKS[task].languages), examples=OFFICIAL_EXAMPLES.get(task, 1))
        for task in xtreme.NINE
    ]  # fmt: skip
    part = [replace(one, intermediate="mnli", languages=2, examples=200) for one in whole]
    assert [row[:3] for row in leaderboard([*whole, *part]).rows] == [
        ("large", "none", "66.7"),  # question answering counts (70 + 50) / 2
        ("large", "mnli", "–"),
    ]
    assert [one.intermediate for one in xtreme.means([*whole, *part])] == ["none"]


def test_the_two_metrics_of_question_answering_are_columns_for_programs_and_the_highest_of_a_scale_is_marked():
    score = partial(xtreme.Score, "base")
    found = [score("none", "xquad", (76.64, 60.81)), score("mnli", "xquad", (79.25, 59.0)), score("mnli", "xnli", ())]
    table = leaderboard(found)
    assert [row[-1] for row in table.rows] == ["76.6 / 60.8", "79.2 / 59.0"]
    assert table.best == {(1, table.columns.index("xquad"))}
    rows = list(csv.DictReader(as_csv(table).splitlines()))
    assert [(row["xquad"], row["xquad exact match"]) for row in rows] == [("76.64", "60.81"), ("79.25", "59.0")]
    assert {row["xnli"] for row in rows} == {""}


POINTS = st.integers(0, 1000).map(lambda tenths: tenths / 10)
ARMS = (("base", "none"), ("base", "mnli"), ("large", "none"))


@settings(max_examples=50)
@given(st.lists(st.tuples(POINTS, POINTS), min_size=27, max_size=27), st.sets(st.integers(0, 26), max_size=3))
def test_a_cell_is_its_score_and_the_mean_is_that_of_nine_or_none(values, missing):
    places = [(arm, task) for arm in ARMS for task in xtreme.NINE]
    found = [
        xtreme.Score(*arm, task, value[: len(xtreme.metrics(task))], 1,
                     languages=len(TASKS[task].languages), examples=OFFICIAL_EXAMPLES.get(task, 1))
        for number, ((arm, task), value) in enumerate(zip(places, values, strict=True)) if number not in missing
    ]  # fmt: skip
    table = leaderboard(found)
    told = {row[:2]: dict(zip(table.columns[2:], row[2:], strict=True)) for row in table.rows}
    assert len(told) == len(table.rows)
    for arm in ARMS:
        counted = []
        for number, (owner, task) in enumerate(places):
            if owner != arm:
                continue
            if number in missing:
                assert told[arm].get(task, "–") == "–"
                continue
            written = [float(part) for part in told[arm][task].split(" / ")]
            assert written == list(values[number][: len(written)])
            assert len(written) == (2 if TASKS[task].family == "span" else 1)
            counted.append(sum(written) / len(written))
        if len(counted) < 9:
            assert told[arm]["mean"] == "–"
        else:
            assert float(told[arm]["mean"]) == pytest.approx(sum(counted) / 9, abs=0.05 + 1e-9)
