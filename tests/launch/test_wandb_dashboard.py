"""`retain wandb dashboard` writes one report of a sweep with W&B's own reports API, and updates it."""

from __future__ import annotations

import json
import sys

import pytest
import wandb as client

from analysis.records.wandb_api import Place
from launch.commands import wandb
from launch.commands.wandb import Wandb
from tests.frames import assert_same, gather_store, gather_wandb_server
from tests.launch.conftest import Ran
from trainers.store.tracking import quiet

PNG = b"\x89PNG"


def test_one_report_is_made_and_made_anew(ran, wandb_server, capsys):
    pytest.importorskip("wandb_workspaces", reason="W&B's reports API is a package of its own")
    assert wandb.wandb(Wandb("sync", ran.file)) == 0
    assert wandb.wandb(Wandb("dashboard", ran.file)) == 0
    (before,) = wandb_server.state.views.values()
    assert wandb.wandb(Wandb("dashboard", ran.file)) == 0
    (report,) = wandb_server.state.views.values()
    assert report["id"] == before["id"]
    assert report["displayName"] == "retain: small"
    spec = report["spec"]
    for shown in ("stored/mnli/en/accuracy", "refit/mnli/en/accuracy", "zero_shot/xnli/en/accuracy", "target_step"):
        assert shown in spec
    assert "seconds.train" in spec
    assert json.loads(spec)["blocks"]
    assert capsys.readouterr().out.count("report   http") == 2
    assert not wandb_server.refused


def test_it_shows_the_gains_as_heat_maps_and_draws_them_anew(ran, wandb_server, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="W&B's reports API is a package of its own")
    assert wandb.wandb(Wandb("sync", ran.file)) == 0
    for _ in range(2):
        assert wandb.wandb(Wandb("dashboard", ran.file)) == 0
    (figures,) = wandb_server.runs_of_kind("figures")
    name = "gain-heat-map-sandbox-s"
    shown = [row[name] for row in figures.rows]
    assert [one["_type"] for one in shown] == ["image-file"] * 2
    assert all(figures.files[one["path"]].startswith(PNG) for one in shown)
    assert "Score through the intermediate (row) minus score without it" in shown[0]["caption"]
    assert figures.state == "finished"
    (report,) = wandb_server.state.views.values()
    grid = next(
        block
        for block in json.loads(report["spec"])["blocks"]
        if any(one.get("name") == "figures" for one in block.get("metadata", {}).get("runSets", ()))
    )
    assert figures.name in json.dumps(grid["metadata"]["runSets"])
    (panel,) = grid["metadata"]["panelBankSectionConfig"]["panels"]
    assert panel["viewType"] == "Media Browser"
    assert panel["config"]["mediaKeys"] == [name]
    # The run is none of the sweep's stages.
    assert_same(gather_store(ran.store.root), gather_wandb_server(Place("us", "retain", "small"), tmp_path))
    assert not wandb_server.refused


def test_where_nothing_can_be_compared_it_says_so(wandb_server, sandbox, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="W&B's reports API is a package of its own")
    alone = Ran.here(tmp_path, sandbox, intermediates=["none"], targets=["tatoeba"])
    assert wandb.wandb(Wandb("sync", alone.file)) == 0
    assert wandb.wandb(Wandb("dashboard", alone.file)) == 0
    (report,) = wandb_server.state.views.values()
    assert "No gains yet" in report["spec"]
    assert not wandb_server.runs_of_kind("figures")


def test_each_project_has_its_own_report_which_is_found_among_many(wandb_server, sweep_file, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="W&B's reports API is a package of its own")
    reports = wandb_server.state.views
    for project in ("retain", "copy"):
        client.init(project=project, dir=tmp_path, reinit="create_new", settings=quiet()).finish()
        here = {"id": "p", "name": project, "entityName": "us"}
        for number in range(60):  # W&B shows 50 a page
            about = {"name": "pilot", "displayName": f"pilot {number}", "spec": "{}", "type": "runs"}
            reports[f"{project} {number}"] = {"id": f"{project} {number}", **about, "project": here}
    for project in ("retain", "copy", "retain", "copy"):
        assert wandb.wandb(Wandb("dashboard", sweep_file(), project=project)) == 0
    ours = [one["project"]["name"] for one in reports.values() if one["displayName"] == "retain: small"]
    assert sorted(ours) == ["copy", "retain"]
    assert len(reports) == 2 * 60 + 2
    assert not wandb_server.refused


def test_where_nothing_was_sent_it_says_what_to_do(wandb_server, sweep_file, capsys):
    pytest.importorskip("wandb_workspaces", reason="W&B's reports API is a package of its own")
    assert wandb.wandb(Wandb("dashboard", sweep_file())) == 1
    assert "run `retain wandb sync` first" in capsys.readouterr().err


def test_without_the_reports_api_it_is_said_what_to_install(ran, wandb_server, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ValueError, match="pip install wandb-workspaces"):
        wandb.wandb(Wandb("dashboard", ran.file))
