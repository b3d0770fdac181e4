"""Online, offline and synced later, and never on W&B at all: one frame, and one run for each stage."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import wandb as client

from analysis.records.wandb_api import Place
from launch.commands import wandb
from launch.commands.common import load
from launch.commands.wandb import Wandb
from tests.frames import assert_same, gather_store, gather_wandb_files, gather_wandb_server
from tests.launch.conftest import Ran
from trainers.run import Context, run
from trainers.stage import Stage
from trainers.store import Store

PLACE = Place("us", "retain", "small")
ONLINE = {"mode": "online"}


def test_offline_then_synced_by_wandbs_own_command_gives_the_stores_frame(ran, wandb_server, tmp_path, capsys):
    store = ran.copied(tmp_path).store  # the command leaves marks beside the files
    folders = sorted(str(path) for path in (store.root / "wandb").glob("offline-run-*"))
    command = [sys.executable, "-m", "wandb", "sync", "--project", "retain", *folders]
    subprocess.run(command, check=True, timeout=120, capture_output=True, cwd=tmp_path)
    frame = gather_store(store.root)
    assert set(frame["measure"]) >= {"stored", "refit", "development", "zero_shot", "retrieval"}
    assert_same(frame, gather_wandb_files(store.root / "wandb"))
    assert_same(frame, gather_wandb_server(PLACE, tmp_path / "cache"))
    assert not wandb_server.refused
    assert wandb.wandb(Wandb("sync", ran.file, store=store.root)) == 0
    assert f"0 stages sent to us/retain, {len(ran.stages)} already there" in capsys.readouterr().out


def test_online_gives_the_stores_frame_and_lacks_nothing(wandb_server, sandbox, tmp_path, capsys):
    ran = Ran.here(tmp_path, sandbox, tracking=ONLINE)
    assert_same(gather_store(ran.store.root), gather_wandb_server(PLACE, tmp_path / "cache"))
    assert wandb.wandb(Wandb("sync", ran.file)) == 0
    assert f"0 stages sent to us/retain, {len(ran.stages)} already there" in capsys.readouterr().out
    assert not wandb_server.refused
    for stage in ran.stages:
        shown = wandb_server.run(stage.key)
        assert (shown.group, shown.job_type, shown.display_name) == ("small", stage.kind, stage.label)
        assert {stage.scale.name, stage.intermediate} <= set(shown.tags)
        assert Stage.model_validate(shown.settings["stage"]) == stage
        assert shown.settings["scale"]["non_embedding_parameters"] > 0
        assert json.loads(shown.summary)["outcome"] == ran.store.outcome(stage.key)


def test_curves_are_plotted_against_the_steps_of_the_target(wandb_server, sandbox, tmp_path):
    ran = Ran.here(tmp_path, sandbox, tracking=ONLINE)
    target = next(stage for stage in ran.stages if stage.kind == "target" and stage.parent)
    metrics = json.loads(wandb_server.run(target.key).config)["_wandb"]["value"]["m"]
    # W&B's own shorthand (`MetricRecord` of wandb_internal.proto): 1 a name, 2 a pattern of names, and 5 the place,
    # counted from 1, of what these are plotted against.
    step, curves = metrics
    assert (step["1"], curves["2"], curves["5"]) == ("target_step", "*", 1)
    assert any(name.count("/") == 3 for row in wandb_server.run(target.key).rows for name in row)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_stage_that_was_interrupted_goes_on_in_its_own_run(mode, wandb_server, sandbox, tmp_path):
    ran = Ran.here(tmp_path, sandbox, targets=["xnli"], intermediates=["none"], tracking={"mode": "disabled"})
    sweep, mirror = load(Wandb("sync", ran.file))
    again = Store(tmp_path / "again")
    tracking = sweep.tracking.model_copy(update={"mode": mode, "group": sweep.name})
    (stage,) = ran.stages
    asked = iter([False, True])
    first = Context(again, mirror, tracking=tracking, should_stop=lambda: next(asked, False))
    assert run(stage, first) == "preempted"
    assert run(stage, Context(again, mirror, tracking=tracking)) in ("completed", "diverged")
    if mode == "offline":
        assert wandb.wandb(Wandb("sync", ran.file, store=again.root)) == 0
    (shown,) = wandb_server.runs
    assert shown.name == stage.key
    assert [row["target_step"] for row in shown.rows if "train/loss" in row] == [1, 2, 3, 4]
    frame = gather_store(again.root)
    assert_same(frame, gather_wandb_server(PLACE, tmp_path / "cache"))
    undisturbed = gather_store(ran.store.root)
    assert_same(frame.select("key", "measure", "at", "value"), undisturbed.select("key", "measure", "at", "value"))


def test_an_outage_in_mid_run_is_repaired_by_a_sync(wandb_server, sandbox, tmp_path, monkeypatch, capfd):
    stream = wandb_server.state.stream

    def break_at_first_rows(run, sent):
        stream(run, sent)
        if "wandb-history.jsonl" in (sent.get("files") or {}):
            wandb_server.status = 500

    monkeypatch.setattr("trainers.store.tracking.FINISH_TIMEOUT_S", 0.5)
    monkeypatch.setattr("trainers.store.tracking.START_TIMEOUT_S", 1.0)
    monkeypatch.setattr(wandb_server.state, "stream", break_at_first_rows)
    ran = Ran.here(tmp_path, sandbox, tracking=ONLINE)
    assert all(ran.store.entry(stage.key).done for stage in ran.stages)
    assert capfd.readouterr().out.count("`retain wandb sync` sends what is missing") == 1
    assert len(wandb_server.runs) < len(ran.stages)
    monkeypatch.setattr(wandb_server.state, "stream", stream)
    wandb_server.heal()
    client.teardown()
    assert wandb.wandb(Wandb("sync", ran.file)) == 0
    assert_same(gather_store(ran.store.root), gather_wandb_server(PLACE, tmp_path / "cache"))
    assert len(wandb_server.runs) == len(ran.stages)
