"""The instrument itself: the real W&B client works against the server, and is refused as W&B would refuse it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import wandb
from wandb.errors import CommError

from tests.wandb_server import WandbServer


def tracked(folder, steps: range, mode: str = "online", **settings):
    """A run of the real client with one row per step."""
    run = wandb.init(
        id=settings.pop("id", "one"),
        project="retain",
        mode=mode,
        dir=folder,
        resume="allow" if mode == "online" else None,
        reinit="create_new",
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True),
        **settings,
    )
    for step in steps:
        run.log({"target_step": step, "loss": step / 3})
    run.summary.update({"outcome": "completed"})
    run.finish(exit_code=0)


def test_a_run_is_resumed_where_it_ended(wandb_server, tmp_path):
    tracked(tmp_path, range(5), group="sweep", tags=["base"], config={"seed": 1})
    tracked(tmp_path, range(5, 8))
    (run,) = wandb_server.runs
    assert run.rows == [{"target_step": step, "loss": step / 3} for step in range(8)]
    assert (run.state, run.group, run.tags, run.settings) == ("finished", "sweep", ["base"], {"seed": 1})
    assert not wandb_server.refused


def test_an_offline_folder_is_synced_by_wandbs_own_command(wandb_server: WandbServer, tmp_path):
    tracked(tmp_path, range(4), mode="offline")
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    subprocess.run(
        [sys.executable, "-m", "wandb", "sync", str(folder)], check=True, timeout=60, capture_output=True, cwd=tmp_path
    )
    assert [row["target_step"] for row in wandb_server.run("one").rows] == [0, 1, 2, 3]


def test_runs_and_their_history_are_read_by_pages(wandb_server, tmp_path):
    for name in ("one", "two", "three"):
        tracked(tmp_path, range(7), id=name, group="sweep" if name != "two" else "other")
    found = list(wandb.Api().runs("us/retain", filters={"group": "sweep"}, per_page=1))
    assert [run.id for run in found] == ["one", "three"]
    assert wandb_server.asked["Runs"] == 2
    assert [row["target_step"] for row in found[0].scan_history(page_size=3)] == list(range(7))
    assert wandb_server.asked["HistoryPage"] == 3


def test_a_wrong_key_is_refused(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "b2" * 20)
    wandb.teardown()
    with pytest.raises(wandb.errors.AuthenticationError):
        wandb.Api()
    assert wandb_server.asked["wrong key"]


@pytest.mark.parametrize("settings", [{"tags": ["x" * 65]}, {"group": "x" * 129}])
def test_what_wandb_finds_too_long_is_refused(wandb_server, tmp_path, settings):
    with pytest.raises((CommError, ValueError)):
        tracked(tmp_path, range(1), **settings)
    assert not wandb_server.runs


def test_what_the_schema_lacks_is_refused(wandb_server):
    with pytest.raises(Exception, match=r"Cannot query field|400"):
        wandb.Api()._service_api.execute_graphql("query Wrong { viewer { shoeSize } }")
    assert "shoeSize" in wandb_server.refused[0]


def test_errors_are_answered_as_often_as_told(wandb_server, tmp_path):
    wandb_server.errors = [500, 429]
    tracked(tmp_path, range(2))
    assert (wandb_server.asked["error 500"], wandb_server.asked["error 429"]) == (1, 1)
    assert len(wandb_server.run("one").rows) == 2
