"""`retain wandb dashboard` writes one report of a sweep with W&B's own reports API, and updates it."""

from __future__ import annotations

import json
import sys

import pytest

from launch import wandb_cli
from launch.commands import Wandb


def test_one_report_is_made_and_made_anew(ran, wandb_server, capsys):
    pytest.importorskip("wandb_workspaces", reason="W&B's reports API is a package of its own")
    assert wandb_cli.wandb(Wandb("sync", ran.file)) == 0
    assert wandb_cli.wandb(Wandb("dashboard", ran.file)) == 0
    (before,) = wandb_server.state.views.values()
    assert wandb_cli.wandb(Wandb("dashboard", ran.file)) == 0
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


def test_without_the_reports_api_it_is_said_what_to_install(ran, wandb_server, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ValueError, match="pip install wandb-workspaces"):
        wandb_cli.wandb(Wandb("dashboard", ran.file))
