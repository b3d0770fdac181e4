"""`retain wandb sync` gives a W&B server what the store has and W&B lacks, once."""

from __future__ import annotations

import json

import pytest
import wandb as client

from launch.commands import wandb
from launch.commands.wandb import Wandb
from tests.launch.conftest import Ran
from tests.wandb_server import WandbServer
from trainers.stage import Stage
from trainers.store import EventLog
from trainers.store.files import write_json
from trainers.store.tracking import Tracking, start


@pytest.fixture
def copied(ran, tmp_path) -> Ran:
    return ran.copied(tmp_path)


def opened(server: WandbServer) -> int:
    """How many times a client began or resumed a run."""
    return server.asked["RunResumeStatus"]


def test_everything_is_sent_once(ran, wandb_server, capsys):
    path, stages, store = ran.file, ran.stages, ran.store
    assert wandb.wandb(Wandb("sync", path)) == 0
    assert {run.name for run in wandb_server.runs} == {stage.key for stage in stages}
    for stage in stages:
        shown = wandb_server.run(stage.key)
        assert (shown.group, shown.job_type, shown.display_name) == ("small", stage.kind, stage.label)
        assert Stage.model_validate(shown.settings["stage"]) == stage
        outcome = store.outcome(stage.key)
        assert shown.state == {"completed": "finished", "diverged": "failed"}[outcome]
        assert stage.scale.name in shown.tags
        assert json.loads(shown.summary)["outcome"] == outcome
        measured = store.entry(stage.key).events("measured")
        assert sum(name.count("/") == 3 for row in shown.rows for name in row) == len(measured) > 0
    assert wandb.wandb(Wandb("sync", path)) == 0
    assert opened(wandb_server) == len(stages)
    assert f"0 stages sent to us/retain, {len(stages)} already there" in capsys.readouterr().out
    assert not wandb_server.refused


def test_another_project_is_another_place(ran, wandb_server):
    path, stages = ran.file, ran.stages
    assert wandb.wandb(Wandb("sync", path, project="copy", entity="us")) == 0
    assert {run.project for run in wandb_server.runs} == {"copy"}
    assert len(wandb_server.runs) == len(stages)


def test_only_what_is_missing_is_sent(copied, wandb_server):
    path, stages, store = copied.file, copied.stages, copied.store
    assert wandb.wandb(Wandb("sync", path, store=store.root)) == 0
    target = next(stage for stage in stages if stage.kind == "target")
    shown = wandb_server.run(target.key)
    lost = json.loads(shown.history.pop(1))
    shown.group = "an earlier sweep"
    assert wandb.wandb(Wandb("sync", path, store=store.root)) == 0
    assert opened(wandb_server) == len(stages) + 1
    assert shown.rows[-1] == {name: value for name, value in lost.items() if name[0] != "_"}
    assert shown.group == "an earlier sweep"


def test_a_run_that_crashed_before_its_end_is_ended(ran, wandb_server, tmp_path):
    path, stages, store = ran.file, ran.stages, ran.store
    completed = next(stage for stage in stages if store.outcome(stage.key) == "completed")
    start(completed, {"stage": {}}, Tracking(mode="online", group="small"), tmp_path).finish(exit_code=1)
    assert wandb_server.run(completed.key).state == "failed"
    assert wandb.wandb(Wandb("sync", path)) == 0
    assert wandb_server.run(completed.key).state == "finished"
    assert Stage.model_validate(wandb_server.run(completed.key).settings["stage"]) == completed


def test_a_loss_that_is_no_number_is_sent_once(copied, wandb_server):
    path, stages, store = copied.file, copied.stages, copied.store
    entry = store.entry(stages[0].key)
    log = EventLog(entry)
    log.write("step", step=99, loss=float("nan"), learning_rate=1e-5, tokens=1, seconds=1.0)
    log.close()
    write_json(entry.folder / "result.json", {**entry.result, "outcome": "diverged", "evidence": "the loss is nan"})
    assert wandb.wandb(Wandb("sync", path, store=store.root)) == 0
    assert wandb_server.run(stages[0].key).state == "failed"
    assert wandb.wandb(Wandb("sync", path, store=store.root)) == 0
    assert opened(wandb_server) == len(stages)


def test_a_stage_that_is_being_worked_on_is_left_to_its_own_run(copied, wandb_server, capsys):
    path, stages, store = copied.file, copied.stages, copied.store
    store.entry(stages[0].key).claim("somebody")
    assert wandb.wandb(Wandb("sync", path, store=store.root)) == 0
    assert stages[0].key not in {run.name for run in wandb_server.runs}
    assert "1 are still running" in capsys.readouterr().out


def test_a_wrong_key_is_told_once_and_never_shown(ran, wandb_server, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "b2" * 20)
    client.teardown()
    assert wandb.wandb(Wandb("sync", ran.file)) == 1
    told = capsys.readouterr()
    assert told.err.count("invalid API key") == 1
    assert "WANDB_API_KEY" in told.err
    assert "b2b2" not in told.err + told.out


def test_a_missing_key_is_told(ran, wandb_server, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    client.teardown()
    assert wandb.wandb(Wandb("sync", ran.file)) == 1
    assert "Set WANDB_API_KEY" in capsys.readouterr().err


def test_a_server_that_fails_midway_loses_nothing(ran, wandb_server, monkeypatch, capsys):
    from trainers.store import replay

    path, stages = ran.file, ran.stages
    monkeypatch.setattr("analysis.records.wandb_api.PATIENCE_S", 3)
    monkeypatch.setattr(replay, "START_TIMEOUT_S", 3.0)
    monkeypatch.setattr(replay, "FINISH_TIMEOUT_S", 2.0)
    send = replay.send

    def break_after_two(*whatever):
        if len(wandb_server.runs) == 2:
            wandb_server.status = 500
        send(*whatever)

    monkeypatch.setattr(replay, "send", break_after_two)
    assert wandb.wandb(Wandb("sync", path)) == 1
    assert "the store has everything" in capsys.readouterr().err
    monkeypatch.setattr(replay, "send", send)
    wandb_server.status = None
    client.teardown()
    assert wandb.wandb(Wandb("sync", path)) == 0
    assert all(run.state != "running" for run in wandb_server.runs)
    assert len(wandb_server.runs) == len(stages)
