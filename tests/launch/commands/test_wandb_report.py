"""What a W&B server has of a sweep gives the same frame, and the same page, as the store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wandb as client

from analysis.records.frame import stage_table, tidy
from analysis.records.gather import store_records, wandb_server_records
from analysis.records.wandb_api import Place, WandbError
from launch.commands import results, wandb
from launch.commands.common import load, planned
from launch.commands.results import Report
from launch.commands.wandb import Wandb
from tests.frames import assert_same, gather_store, gather_wandb_server
from trainers.store import Store
from trainers.store.tracking import quiet

PLACE = Place("us", "retain", "small")


@pytest.fixture
def served(ran, wandb_server):
    """The same sweep on a W&B server."""
    assert wandb.wandb(Wandb("sync", ran.file)) == 0
    wandb_server.asked.clear()
    return wandb_server


def test_store_and_server_give_the_same_frame_and_a_second_reading_asks_for_no_history(ran, served, tmp_path):
    store = gather_store(ran.store.root)
    assert set(store["measure"]) >= {"stored", "refit", "development", "zero_shot", "retrieval"}
    assert_same(store, gather_wandb_server(PLACE, tmp_path))
    assert served.asked["HistoryPage"] == store["key"].n_unique()
    assert_same(store, gather_wandb_server(PLACE, tmp_path))
    assert served.asked["HistoryPage"] == store["key"].n_unique()


def test_a_run_that_has_changed_is_read_again(ran, served, tmp_path):
    gather_wandb_server(PLACE, tmp_path)
    changed = served.runs[0]
    *before, last = (json.loads(line) for line in changed.history)
    curve = next(name for name in last if name.count("/") == 3)
    last[curve] = 0.123
    changed.history = [json.dumps(row) for row in (*before, last)]
    changed.beat()
    frame = gather_wandb_server(PLACE, tmp_path)
    assert 0.123 in frame["value"].to_list()
    assert not gather_store(ran.store.root).equals(frame)


def test_a_stage_of_another_sweeps_group_is_found_by_its_key(ran, served, tmp_path):
    served.runs[0].group = "another"
    store = gather_store(ran.store.root)
    assert gather_wandb_server(PLACE, tmp_path).height < store.height
    assert_same(store, gather_wandb_server(PLACE, tmp_path, set(store["key"])))


def test_a_stage_that_no_attempt_has_reached_is_read_as_from_the_store(wandb_server, sweep_file, tmp_path):
    """As one that a W&B sweep has served, whose job waits: its scale's facts are an empty object, which W&B drops."""
    chosen = Wandb("sync", sweep_file())
    sweep, _ = load(chosen)
    stage = planned(sweep).stages[0]
    Store(sweep.store).open(stage)
    assert wandb.wandb(chosen) == 0
    assert "scale" not in wandb_server.run(stage.key).settings
    told, shown = store_records(sweep.store), wandb_server_records(PLACE, tmp_path / "cache")
    assert_same(stage_table(told), stage_table(shown))
    assert tidy(told).is_empty()
    assert tidy(shown).is_empty()


def test_what_people_put_in_the_same_group_is_passed_over(wandb_server, tmp_path):
    for name, config in {"one": {"stage": "pilot"}, "two": {"stage": {"of": 3}}, "three": {"rate": 1}}.items():
        put(tmp_path, name, config)
    assert gather_wandb_server(PLACE, tmp_path / "cache").is_empty()


def test_many_runs_are_read_by_pages_and_a_bar_says_how_far(wandb_server, tmp_path, monkeypatch, capsys):
    put(tmp_path, "one", {"rate": 1})
    (one,) = wandb_server.runs
    for name in map(str, range(100)):
        wandb_server.state.runs[one.entity, one.project, name] = replace(one, name=name)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    assert gather_wandb_server(PLACE, tmp_path / "cache").is_empty()
    assert wandb_server.asked["Runs"] == 2
    assert "100%" in capsys.readouterr().err
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 101


def test_a_run_of_another_version_is_named(wandb_server, tmp_path):
    put(tmp_path, "older", {"stage": {"kind": "target", "schema_version": 1}, "scale": {}})
    with pytest.raises(ValueError, match=r"W&B's run older is not a stage of this version:(.|\n)*it is of version 1"):
        gather_wandb_server(PLACE, tmp_path / "cache")


def put(folder: Path, name: str, config: dict[str, Any]) -> None:
    """A run that the real client logs to."""
    place = {"project": PLACE.project, "group": PLACE.sweep, "dir": folder, "reinit": "create_new"}
    client.init(id=name, config=config, settings=quiet(), **place).finish()


def test_answers_of_429_and_500_are_asked_again(ran, served, tmp_path):
    served.errors = [429, 500]
    assert_same(gather_store(ran.store.root), gather_wandb_server(PLACE, tmp_path))
    assert (served.asked["error 429"], served.asked["error 500"]) == (1, 1)


def test_the_report_says_that_intervals_cover_seeds_only(ran, served, tmp_path):
    assert results.report(Report(ran.file, out=tmp_path / "report", source=str(PLACE))) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Intervals cover seeds only" in page
    assert str(PLACE) in page


def test_a_sweep_that_is_not_there_is_told(ran, wandb_server, tmp_path, capsys):
    assert results.report(Report(ran.file, out=tmp_path / "report", source="wandb://us/nowhere/small")) == 1
    assert "wandb://us/nowhere/small has no runs of this sweep" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_told(ran, wandb_server, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.records.wandb_api.PATIENCE_S", 1)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    client.teardown()
    with pytest.raises(WandbError, match="Check the network"):
        gather_wandb_server(PLACE, tmp_path)


@pytest.mark.parametrize("text", ["wandb://us/retain", "us/retain/small", "wandb://us//small", "W&B"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="expected wandb://<entity>/<project>/<sweep>"):
        Place.parse(text)
