"""The store is read as it was meant: the last word counts, torn lines do not, unfinished work is shown as such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.records.examples import ExampleFiles
from analysis.records.frame import SCHEMA, primary
from tests.analysis import fakes
from tests.frames import gather_store
from trainers.store import EventLog, Store


def one(kind: str, intermediate: str = "mnli"):
    return next(stage for stage in fakes.stages((0,)) if (stage.kind, stage.intermediate) == (kind, intermediate))


def value_at(frame: pl.DataFrame, at: int, language: str = "en") -> list[float]:
    return frame.filter(measure="stored", at=at, language=language)["value"].to_list()


def test_every_measured_value_is_one_row(built):
    frame = built.study.frame
    assert dict(frame.schema) == SCHEMA
    assert frame["key"].n_unique() == len(built.keys) == 120
    assert frame.height == sum(len(list(fakes.truth(stage))) for stage in fakes.stages())
    assert set(frame["outcome"]) == {"completed"}


def test_rows_say_whose_they_are(tmp_path):
    stage = one("target")
    fakes.write_stage(tmp_path, stage)
    row = gather_store(tmp_path).filter(measure="zero_shot", language="de").row(0, named=True)
    assert row == {
        "key": stage.key,
        "kind": "target",
        "scale": "small",
        "parameters": 400_000,
        "non_embedding_parameters": 200_000,
        "layer_norm": "post",
        "intermediate": "mnli",
        "variant": "",
        "trained": "mnli",
        "seed": 0,
        "outcome": "completed",
        "measure": "zero_shot",
        "task": "xnli",
        "language": "de",
        "metric": "accuracy",
        "at": 100,
        "value": pytest.approx(0.55, abs=0.011),
        "examples": 400,
        "chance": 0.4,
    }


def test_only_the_asked_stages_are_read(built):
    assert set(gather_store(built.root, {built.keys[3]})["key"]) == {built.keys[3]}
    assert gather_store(built.root, set()).is_empty()


def test_what_was_measured_again_after_a_crash_counts_once(tmp_path):
    stage = one("target")
    fakes.write_stage(tmp_path, stage)
    before = gather_store(tmp_path).height
    fakes.append_measured(
        tmp_path,
        stage.key,
        at=8,
        measure="stored",
        task="mnli",
        language="en",
        metric="accuracy",
        value=0.123,
        examples=400,
        chance=0.4,
    )
    frame = gather_store(tmp_path)
    assert frame.height == before
    assert value_at(frame, 8) == [0.123]


def test_torn_lines_are_passed_over(tmp_path):
    stage = one("target")
    fakes.write_stage(tmp_path, stage)
    whole = gather_store(tmp_path)
    fakes.append_line(tmp_path, stage.key, '{"event": "measured", "at": 8, "measure": "sto\n')
    fakes.append_line(tmp_path, stage.key, '{"event": "measured", "at": 16')
    assert gather_store(tmp_path).equals(whole)


def test_an_unfinished_stage_is_running_and_an_empty_store_is_empty(tmp_path):
    assert gather_store(tmp_path).is_empty()
    assert dict(gather_store(tmp_path / "nowhere").schema) == SCHEMA
    fakes.write_stage(tmp_path, one("target"), "running")
    assert set(gather_store(tmp_path)["outcome"]) == {"running"}


def test_a_foreign_stage_file_is_named(tmp_path):
    folder = tmp_path / "stages" / "0123"
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text('{"kind": "holiday"}')
    with pytest.raises(ValueError, match=r"0123.stage\.json is not a stage of this version"):
        gather_store(tmp_path)


def test_examples_average_to_the_measured_values(built):
    frame, examples = primary(built.study.frame), ExampleFiles(built.root)
    for row in frame.filter(pl.col("key").is_in(built.keys[::17]), pl.col("measure") != "development").iter_rows(
        named=True
    ):
        point = row["measure"], row["task"], row["language"], row["at"]
        scores, weights = examples(row["key"], *point)
        assert scores.shape == weights.shape == (fakes.EXAMPLES,)
        assert abs(np.average(scores, weights=weights) - row["value"]) < 1e-9


def test_a_stage_without_predictions_has_no_examples(tmp_path):
    examples = ExampleFiles(tmp_path)
    for measure in ("zero_shot", "retrieval", "stored"):
        assert examples("0123", measure, "xnli", "en", 0).shape == (2, 0)


@pytest.mark.usefixtures("cold")
def test_analysis_imports_no_torch():
    code = "import sys, analysis.report.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A store of one stage, its events, and the frame of all of them."""
    root, stage = tmp_path_factory.mktemp("torn"), one("target")
    fakes.write_stage(root, stage, "running")
    path = Store(root).entry(stage.key).folder / "events.jsonl"
    return root, path, path.read_bytes(), gather_store(root)


@settings(max_examples=40)
@given(st.floats(0, 1), st.booleans())
def test_wherever_a_crash_tears_the_events_the_whole_lines_count(written, share, resumed):
    """Also where the next attempt begins a line of its own; one that lacked its line break only is then whole."""
    root, path, events, whole = written
    cut = round(share * len(events))
    path.write_bytes(events[:cut])
    if resumed:
        log = EventLog(Store(root).entry(one("target").key))
        log.write("attempt", scale=fakes.facts("small"))
        log.close()
    found = gather_store(root)
    *lines, last = events[:cut].split(b"\n")
    lines += [last] if resumed and last.endswith(b"}") else []
    assert found.height == sum(b'"measured"' in line for line in lines)
    assert found.join(whole, on=["measure", "task", "language", "at", "value"], how="anti").is_empty()
