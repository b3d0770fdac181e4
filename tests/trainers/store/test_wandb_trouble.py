"""The real client against a W&B that is away, slow, refusing or out of disk: training goes on, and it is told once."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import wandb

from tests.trainers.stages import run_here
from tests.wandb_server import WandbServer
from trainers.store import Store, tracking
from trainers.store.tracking import Patience, Tracking

ONLINE, OFFLINE = Tracking(mode="online"), Tracking(mode="offline")
NOT_SHOWN = "c3" * 20


@pytest.fixture
def stage(arm):
    return arm[0]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.5)
    monkeypatch.setattr(tracking, "START_TIMEOUT_S", 1.0)


@pytest.fixture
def full_disk(store):
    """Under W&B's files, with room for the smallest of them."""
    folder = store.root / "wandb"
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk is mounted by root only")
    yield
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def carried_out(stage, store: Store) -> bool:
    """Whether every step was made and everything measured."""
    entry = store.entry(stage.key)
    return entry.done and len(entry.events("step")) == 10 and bool(entry.events("measured"))


def told(capfd) -> list[str]:
    """Every line about W&B that a person was shown."""
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return [line for line in (out + err).splitlines() if "W&B" in line or "wandb" in line]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_errors_are_told_once_and_cost_no_step(status, stage, store, mirror, wandb_server, impatient, capfd):
    wandb_server.status = status
    run_here(stage, store, mirror, tracking=ONLINE)
    assert carried_out(stage, store)
    assert wandb_server.asked[f"error {status}"]
    (line,) = told(capfd)
    assert "`retain wandb sync` sends what is missing" in line


def test_a_stage_is_over_before_a_slow_server_has_answered_once(stage, store, mirror, wandb_server, impatient, capfd):
    wandb_server.latency_s = 30.0
    run_here(stage, store, mirror, tracking=ONLINE)
    assert carried_out(stage, store)
    assert not wandb_server.asked
    assert len(told(capfd)) == 1


def test_a_server_that_cannot_be_reached_is_told_once(
    stage, store, mirror, wandb_server, impatient, monkeypatch, capfd
):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()
    run_here(stage, store, mirror, tracking=ONLINE)
    assert carried_out(stage, store)
    assert len(told(capfd)) == 1


def test_the_stages_of_one_process_wait_for_wandb_once_in_all(
    arm, store, mirror, wandb_server, impatient, monkeypatch, capfd
):
    monkeypatch.setattr(tracking, "START_TIMEOUT_S", 30.0)
    waits = []
    join = tracking.Patience.wait_for
    monkeypatch.setattr(Patience, "wait_for", lambda self, thread: (waits.append(self._left_s), join(self, thread))[1])
    wandb_server.latency_s = 30.0
    patience = Patience()
    for stage in arm[:2]:
        run_here(stage, store, mirror, tracking=ONLINE, patience=patience)
    assert waits == [0.5, 0.0]
    assert len(told(capfd)) == 1


@pytest.mark.parametrize("key", ["b2" * 20, "short", None])
def test_a_wrong_or_missing_key_is_told_once(key, stage, store, mirror, wandb_server, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY")
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    wandb.teardown()
    run_here(stage, store, mirror, tracking=ONLINE)
    assert carried_out(stage, store)
    (line,) = told(capfd)
    assert "W&B tracking stopped" in line
    assert not key or key not in line


@pytest.mark.parametrize("mode", [ONLINE, OFFLINE], ids=["online", "offline"])
def test_a_full_disk_under_wandbs_files_is_told_once(mode, full_disk, stage, store, mirror, wandb_server, capfd):
    run_here(stage, store, mirror, tracking=mode)
    assert carried_out(stage, store)
    assert len(told(capfd)) == 1


def holding(secret: str, *folders: Path) -> list[Path]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("accepted", [True, False])
def test_the_key_is_in_no_file_and_no_line(
    accepted, stage, store, mirror, wandb_server: WandbServer, monkeypatch, tmp_path, capfd
):
    if accepted:
        monkeypatch.setattr(wandb_server, "key", NOT_SHOWN)
    monkeypatch.setenv("WANDB_API_KEY", NOT_SHOWN)
    monkeypatch.setenv("HOME", str(tmp_path))  # where the client keeps logs and credentials of its own
    wandb.teardown()
    run_here(stage, store, mirror, tracking=ONLINE)
    assert (wandb_server.state.runs != {}) is accepted
    out, err = capfd.readouterr()
    assert NOT_SHOWN not in out + err
    assert holding(NOT_SHOWN, store.root, tmp_path) == []
    sent = [wandb_server.run(stage.key).files.values()] if accepted else []
    assert not any(re.search(NOT_SHOWN.encode(), content) for files in sent for content in files)
    assert os.environ["WANDB_API_KEY"] == NOT_SHOWN
