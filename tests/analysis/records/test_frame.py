"""The two tables hold what was measured once, in one order, whatever order the records come in."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.records.frame import MEASURED, NOTHING, SCHEMA, SEPARATOR, primary, stage_table, tidy, with_planned
from analysis.records.frame import settings as settings_of
from analysis.report.figures.gains import CC100_GIB, by_resource
from tests.analysis import fakes
from trainers.tasks import TASKS

STAGES = [stage for stage in fakes.stages((0, 1), ("none", "mnli")) if stage.scale.name == "small"]


def measured(*values: tuple[int, str, float]) -> pl.DataFrame:
    """Of (step, language, score)."""
    rows = [(at, "stored", "mnli", language, "accuracy", score, 400, 0.4) for at, language, score in values]
    return pl.DataFrame(rows, schema=MEASURED, orient="row")


points = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["en", "de", "sw"]), st.floats(0, 1)), min_size=1, max_size=12
)
tables = st.lists(points, min_size=len(STAGES), max_size=len(STAGES))


def records(values):
    return [replace(fakes.recorded(stage), measured=measured(*one)) for stage, one in zip(STAGES, values, strict=True)]


@pytest.mark.slow
@settings(max_examples=50)
@given(tables, st.permutations(range(len(STAGES))))
def test_the_order_of_the_records_does_not_matter_and_the_last_measurement_counts(values, order):
    found = records(values)
    frame = tidy(found)
    assert dict(frame.schema) == SCHEMA
    assert tidy([found[place] for place in order]).equals(frame)
    assert stage_table([found[place] for place in order]).equals(stage_table(found))
    assert {(row["key"], row["at"], row["language"]): row["value"] for row in frame.iter_rows(named=True)} == {
        (stage.key, at, language): score
        for stage, one in zip(STAGES, values, strict=True)
        for at, language, score in one
    }
    assert not frame.select("key", "measure", "task", "language", "metric", "at").is_duplicated().any()


@settings(max_examples=20)
@given(tables)
def test_measuring_everything_again_changes_nothing(values):
    twice = [replace(record, measured=pl.concat([record.measured] * 2)) for record in records(values)]
    assert tidy(twice).equals(tidy(records(values)))


def test_without_values_there_are_stages_and_no_rows():
    empty = [fakes.recorded(stage) for stage in STAGES]
    assert tidy(empty).equals(pl.DataFrame(schema=SCHEMA))
    assert stage_table(empty).height == len(STAGES)
    assert stage_table([]).height == 0


def test_a_stage_s_row():
    target = next(stage for stage in STAGES if stage.kind == "target" and stage.parent)
    (row,) = stage_table([fakes.recorded(target)]).iter_rows(named=True)
    expected = {"key": target.key, "scale": "small", "intermediate": "mnli", "parent": target.parent, "seed": 0}
    expected |= {"targets": [target.evaluate[0].task], "probed": ["mnli"], "retry": 0, "first_attempt": target.key}
    expected |= {"outcome": "completed", "seconds": 25.0, "tokens": 1_000_000, "non_embedding_parameters": 200_000}
    assert {name: row[name] for name in expected} == expected
    running = replace(fakes.recorded(target), result=None)
    assert (running.outcome, stage_table([running])["seconds"][0]) == ("running", None)
    assert replace(running, begun=False).outcome == "missing"


@given(st.sets(st.sampled_from(range(len(STAGES)))))
def test_every_planned_stage_is_there_once_begun_or_not(begun):
    found = with_planned([fakes.recorded(STAGES[place]) for place in begun], STAGES)
    assert sorted(record.stage.key for record in found) == sorted(stage.key for stage in STAGES)
    assert {record.stage.key for record in found if record.begun} == {STAGES[place].key for place in begun}
    assert with_planned(found, STAGES) == found
    assert all(record.measured is NOTHING for record in found)


@pytest.mark.slow
@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_.]{0,20}", fullmatch=True), st.sampled_from(["1e-05", "(0.9, 0.98)", "split", "a=b"])
    )
)
def test_settings_are_read_back(chosen):
    assert settings_of(SEPARATOR.join(f"{axis}={value}" for axis, value in chosen.items())) == chosen


@pytest.mark.parametrize(("task", "metric", "kept"), [("xquad", "f1", True), ("xquad", "exact_match", False)])
def test_only_the_primary_metric_is_analysed(task, metric, kept):
    row = dict.fromkeys(SCHEMA, None) | {"task": task, "metric": metric}
    assert primary(pl.DataFrame([row], schema=SCHEMA)).height == kept


@given(st.lists(st.tuples(st.sampled_from([*TASKS, "a task of tomorrow"]), st.sampled_from(["f1", "accuracy"]))))
def test_choosing_primary_metrics_twice_chooses_no_fewer_and_unknown_tasks_stay(rows):
    frame = pl.DataFrame(
        [dict.fromkeys(SCHEMA, None) | {"task": task, "metric": metric} for task, metric in rows], SCHEMA
    )
    once = primary(frame)
    assert primary(once).equals(once)
    unknown = pl.col("task") == "a task of tomorrow"
    assert once.filter(unknown).equals(frame.filter(unknown))


@given(st.sets(st.sampled_from([*CC100_GIB, "yo", "xx"])))
def test_languages_are_sorted_by_text_and_those_without_any_come_last(languages):
    ordered = by_resource(languages)
    assert set(ordered) == languages
    assert len(ordered) == len(languages)
    amounts = [CC100_GIB.get(language, 0.0) for language in ordered]
    assert amounts == sorted(amounts, reverse=True)


def test_english_has_the_most_text_and_yoruba_none():
    assert by_resource({"yo", "sw", "en", "ru", "xx"}) == ["en", "ru", "sw", "xx", "yo"]
