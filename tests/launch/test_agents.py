"""The second door: W&B serves, the real `wandb agent` asks, and the store keeps what was given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from launch import agents_cli
from launch.commands import Agents
from launch.trials import AgentsFolder
from tests.wandb_server import WandbServer
from trainers.store import Store

STUDY = {
    "targets": ["xnli"],
    "intermediates": ["none"],
    "search": {"target.learning_rate": [1e-4, 1e-3]},
    "overrides": {"*": {"max_steps": 3}},
    "execution": {"threads": 1},
}


def folder_of(store: Path) -> AgentsFolder:
    (folder,) = (store / "agents").iterdir()
    return AgentsFolder(folder)


def logs(folder: AgentsFolder) -> str:
    texts = [path.read_text()[-3000:] for path in sorted((folder.folder / "log").iterdir())]
    return "\n".join([*texts, *(p.read_text()[-2000:] for p in (folder.store.root / "bundles").glob("*.txt"))])


def test_agents_try_every_point_of_a_grid_once(wandb_server: WandbServer, sweep_file, tmp_path):
    file = sweep_file(**STUDY)
    assert agents_cli.agents(Agents(file, count=2)) == 0
    folder = folder_of(tmp_path / "store")
    trials = folder.trials()
    served = next(iter(wandb_server.state.sweeps.values())).served
    assert {trial.run: trial.assignment for trial in trials} == served, logs(folder)
    assert len(served) == 2
    assert len({stage.key for trial in trials for stage in trial.stages}) == 2
    for trial in trials:
        shown = wandb_server.run(trial.run)
        assert (shown.state, shown.sweep) == ("finished", folder.agents.id), logs(folder)
        assert shown.settings["target.learning_rate"] == trial.assignment["target.learning_rate"]
        assert json.loads(shown.summary)["development"] == folder.result(trial.run).objective
        (stage,) = trial.stages
        assert stage.train[0].recipe.learning_rate == trial.assignment["target.learning_rate"]
        assert len(Store(tmp_path / "store").entry(stage.key).events("attempt")) == 1
    assert not wandb_server.refused
