"""What a W&B server has of a sweep gives the same frame, and the same page, as the store."""

from __future__ import annotations

import json

import pytest
import wandb as client

from analysis.gather import gather_store, gather_wandb_server
from analysis.wandb_api import Place, WandbError
from launch import analysis_cli, wandb_cli
from launch.commands import Report, Wandb

PLACE = Place("us", "retain", "small")


@pytest.fixture
def served(ran, wandb_server):
    """The same sweep on a W&B server."""
    assert wandb_cli.wandb(Wandb("sync", ran.file)) == 0
    wandb_server.asked.clear()
    return wandb_server


def test_store_and_server_give_the_same_frame_and_a_second_reading_asks_for_no_history(ran, served, tmp_path):
    store = gather_store(ran.store.root)
    assert set(store["measure"]) >= {"stored", "refit", "development", "zero_shot", "retrieval"}
    assert store.equals(gather_wandb_server(PLACE, tmp_path))
    assert served.asked["HistoryPage"] == store["key"].n_unique()
    assert store.equals(gather_wandb_server(PLACE, tmp_path))
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
    assert store.equals(gather_wandb_server(PLACE, tmp_path, set(store["key"])))


def test_answers_of_429_and_500_are_asked_again(ran, served, tmp_path):
    served.errors = [429, 500]
    assert gather_store(ran.store.root).equals(gather_wandb_server(PLACE, tmp_path))
    assert (served.asked["error 429"], served.asked["error 500"]) == (1, 1)


def test_the_report_says_that_intervals_cover_seeds_only(ran, served, tmp_path):
    assert analysis_cli.report(Report(ran.file, out=tmp_path / "report", source=str(PLACE))) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Intervals cover seeds only" in page
    assert str(PLACE) in page


def test_a_sweep_that_is_not_there_is_told(ran, wandb_server, tmp_path, capsys):
    assert analysis_cli.report(Report(ran.file, out=tmp_path / "report", source="wandb://us/nowhere/small")) == 1
    assert "wandb://us/nowhere/small has no runs of this sweep" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_told(ran, wandb_server, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.wandb_api.PATIENCE_S", 1)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    client.teardown()
    with pytest.raises(WandbError, match="Check the network"):
        gather_wandb_server(PLACE, tmp_path)


@pytest.mark.parametrize("text", ["wandb://us/retain", "us/retain/small", "wandb://us//small", "W&B"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="expected wandb://<entity>/<project>/<sweep>"):
        Place.parse(text)
