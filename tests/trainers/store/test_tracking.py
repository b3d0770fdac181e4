"""W&B stands beside the store: slow, broken or absent, it costs a run nothing."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from tests.trainers.stages import run_here
from trainers.store import tracking
from trainers.store.tracking import Patience, Tracking

OFFLINE = Tracking(mode="offline")


@pytest.fixture
def stage(arm):
    return arm[0]


def finished(stage, store) -> bool:
    entry = store.entry(stage.key)
    return entry.done and entry.result["outcome"] in ("completed", "diverged")


@pytest.mark.slow
def test_offline_run_carries_the_stages_key(stage, store, mirror):
    run_here(stage, store, mirror, tracking=OFFLINE)
    (folder,) = (store.root / "wandb").glob("offline-run-*")
    assert folder.name.endswith(stage.key)
    assert finished(stage, store)


def test_disabled_by_the_environment_writes_no_wandb_folder(stage, store, mirror, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run_here(stage, store, mirror, tracking=OFFLINE)
    assert finished(stage, store)
    assert not (store.root / "wandb").exists()


def test_disabled_by_the_sweep_writes_no_wandb_folder(stage, store, mirror):
    run_here(stage, store, mirror, tracking=Tracking(mode="disabled"))
    assert not (store.root / "wandb").exists()


def test_run_without_wandb_completes_and_says_so_once(stage, store, mirror, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it raises ImportError
    run_here(stage, store, mirror, tracking=OFFLINE)
    assert finished(stage, store)
    assert capsys.readouterr().out.count("W&B tracking stopped (ModuleNotFoundError); the store has everything") == 1


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3), KeyboardInterrupt()])
def test_run_whose_wandb_raises_completes_and_says_so_once(stage, store, mirror, monkeypatch, capsys, error):
    import wandb

    def fail(**_settings):
        raise error

    monkeypatch.setattr(wandb, "init", fail)
    run_here(stage, store, mirror, tracking=OFFLINE)
    assert finished(stage, store)
    assert capsys.readouterr().out.count("W&B tracking stopped") == 1


def test_run_whose_wandb_fails_half_way_completes(stage, store, mirror, monkeypatch, capsys):
    class Run:
        """Takes three rows, then its disk is full."""

        def __init__(self) -> None:
            self.rows = 0

        def define_metric(self, *_names, **_settings) -> None: ...

        @property
        def config(self):
            return self

        def update(self, *_values, **_settings) -> None: ...

        def log(self, _row) -> None:
            self.rows += 1
            if self.rows > 3:
                raise OSError(28, "No space left on device")

    import wandb

    monkeypatch.setattr(wandb, "init", lambda **_settings: Run())
    run_here(stage, store, mirror, tracking=OFFLINE)
    assert finished(stage, store)
    assert capsys.readouterr().out.count("W&B tracking stopped (OSError)") == 1


def test_run_whose_wandb_hangs_completes_and_says_so_once(stage, store, mirror, monkeypatch, capsys):
    import wandb

    never = threading.Event()
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.01)
    monkeypatch.setattr(wandb, "init", lambda **_settings: never.wait())
    try:
        run_here(stage, store, mirror, tracking=OFFLINE)
        assert finished(stage, store)
        assert capsys.readouterr().out.count("W&B does not keep up") == 1
    finally:
        never.set()


def test_result_reaches_wandb_and_a_later_close_does_not_undo_it(stage, tmp_path, monkeypatch):
    import wandb

    ended = []
    summary: dict[str, object] = {}
    release = threading.Event()

    class Run:
        def define_metric(self, *_names, **_settings) -> None: ...

        @property
        def summary(self):
            release.wait()
            return summary

        def finish(self, exit_code: int) -> None:
            ended.append(exit_code)

    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.01)
    monkeypatch.setattr(wandb, "init", lambda **_settings: Run())
    tracker = tracking.Tracker(stage, {}, OFFLINE, tmp_path, Patience())
    thread = tracker._thread
    tracker.finish({"outcome": "completed"})
    tracker.finish(exit_code=1)
    release.set()
    thread.join()
    assert ended == [0]
    assert summary == {"outcome": "completed"}


def test_the_point_of_a_search_is_a_tag_that_wandb_accepts(stage, tmp_path, monkeypatch):
    import wandb

    asked: dict[str, object] = {}

    def init(**settings):
        asked.update(settings)
        raise RuntimeError("this is all we wanted to know")

    monkeypatch.setattr(wandb, "init", init)
    long = "intermediate.commonsense_qa"
    variant = {"target.learning_rate": 1e-5, f"{long}.gradient_clipping": 1 / 3000, f"{long}.warmup": 1 / 70}
    tracker = tracking.Tracker(stage.model_copy(update={"variant": variant}), {}, OFFLINE, tmp_path, Patience())
    tracker._thread.join()
    assert "target.learning_rate=1e-05" in asked["tags"]
    assert asked["name"].startswith("tiny-post · mnli · intermediate.commonsense_qa.gradient_clipping=")
    assert asked["name"].endswith(f" · seed {stage.seed}")
    assert len(asked["name"].encode()) <= 128  # W&B refuses a run whose name is longer
    assert max(map(len, asked["tags"])) == 64


def test_wandb_keeps_no_code_and_no_console(stage, store, mirror):
    run_here(stage, store, mirror, tracking=OFFLINE)
    files = [path for path in (store.root / "wandb").rglob("*") if path.is_file()]
    assert files
    assert not {path.name for path in files} & {"output.log", "wandb-metadata.json"}
    assert not any(path.suffix == ".py" for path in files)
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
