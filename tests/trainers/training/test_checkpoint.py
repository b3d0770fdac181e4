"""Damaged checkpoints are noticed, set aside and never deleted; nothing half-written is read."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from tests.trainers.stages import assert_same_to_the_last_bit, run_here
from trainers.stage import Execution
from trainers.store import Store
from trainers.store.claims import ClaimLost
from trainers.store.files import StoreError
from trainers.training import checkpoint
from trainers.training.checkpoint import Saver
from trainers.training.ranks import Ranks
from trainers.training.step import Engine

STOPPED_AFTER = 4
ALONE = Ranks()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, mirror, arm) -> Store:
    store = Store(tmp_path_factory.mktemp("finished"))
    run_here(arm[0], store, mirror)
    return store


@pytest.fixture(scope="module")
def preempted(tmp_path_factory, mirror, arm) -> Store:
    """A stage stopped after four steps, with a checkpoint of each of the last two."""
    store = Store(tmp_path_factory.mktemp("preempted"))
    asked = iter(range(100))
    run_here(
        arm[0],
        store,
        mirror,
        should_stop=lambda: next(asked) == STOPPED_AFTER - 1,
        execution=Execution(checkpoint_every_s=0),
    )
    return store


@pytest.fixture
def stopped(preempted, tmp_path) -> Store:
    """A copy of it to damage."""
    shutil.copytree(preempted.root, tmp_path / "store")
    return Store(tmp_path / "store")


def flip_a_byte(folder: Path) -> None:
    path = folder / "rank-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(folder: Path) -> None:
    path = folder / "rank-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def lose_a_file(folder: Path) -> None:
    (folder / "rank-00000.safetensors").unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def garble_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff\x00" + (folder / "manifest.json").read_bytes()[2:])


def empty_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def change_the_step(folder: Path) -> None:
    (folder / "progress.json").write_text('{"step": 1, "world_size": 1}')


DAMAGES = [
    flip_a_byte,
    cut_short,
    lose_a_file,
    lose_the_manifest,
    garble_the_manifest,
    empty_the_manifest,
    change_the_step,
]


def test_the_newest_two_checkpoints_are_kept_and_hold_no_pickle(preempted, arm):
    folders = checkpoint.complete(preempted.entry(arm[0].key).checkpoints)
    assert [folder.name for folder in folders] == ["step-000000003", "step-000000004"]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == [
            "manifest.json",
            "progress.json",
            "rank-00000.safetensors",
        ]
        assert checkpoint.damage(folder) is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_set_aside_and_the_one_before_it_is_used(stopped, mirror, arm, finished, damage):
    entry = stopped.entry(arm[0].key)
    newest = checkpoint.complete(entry.checkpoints)[-1]
    damage(newest)
    left = {path.name: path.read_bytes() for path in newest.iterdir()}
    run_here(arm[0], stopped, mirror)
    (event,) = entry.events("checkpoint_set_aside")
    assert event["checkpoint"] == f"damaged-{newest.name}"
    assert event["reason"]
    assert {path.name: path.read_bytes() for path in (entry.checkpoints / event["checkpoint"]).iterdir()} == left
    assert entry.events("resumed")[-1]["step"] == STOPPED_AFTER - 1
    assert_same_to_the_last_bit(entry, finished.entry(arm[0].key))


def test_with_both_checkpoints_damaged_the_stage_starts_from_0(stopped, mirror, arm, finished):
    entry = stopped.entry(arm[0].key)
    for folder in checkpoint.complete(entry.checkpoints):
        flip_a_byte(folder)
    run_here(arm[0], stopped, mirror)
    assert len(entry.events("checkpoint_set_aside")) == 2
    assert not entry.events("resumed")
    assert sorted(path.name for path in entry.checkpoints.iterdir()) == [
        "damaged-step-000000003",
        "damaged-step-000000004",
    ]
    assert_same_to_the_last_bit(entry, finished.entry(arm[0].key))


def test_the_same_step_damaged_twice_is_kept_twice(tmp_path):
    for _ in range(3):
        (tmp_path / "step-000000007").mkdir()
        assert checkpoint.newest_whole(tmp_path)[0] is None
    assert len(list(tmp_path.glob("damaged-step-000000007*"))) == 3


def test_half_written_checkpoint_is_ignored(stopped, mirror, arm, finished):
    entry = stopped.entry(arm[0].key)
    newest = checkpoint.complete(entry.checkpoints)[-1]
    shutil.copytree(newest, entry.checkpoints / ".step-000000005.0a1b2c3d")
    (entry.checkpoints / ".step-000000005.0a1b2c3d" / "manifest.json").unlink()
    run_here(arm[0], stopped, mirror)
    assert entry.events("resumed")[-1]["step"] == STOPPED_AFTER
    assert not entry.events("checkpoint_set_aside")
    assert_same_to_the_last_bit(entry, finished.entry(arm[0].key))


def test_manifest_tells_size_and_hash_of_every_file(preempted, arm):
    folder = checkpoint.complete(preempted.entry(arm[0].key).checkpoints)[-1]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest.keys() == {"progress.json", "rank-00000.safetensors"}
    for name, witness in manifest.items():
        assert witness["bytes"] == (folder / name).stat().st_size
        assert len(witness["sha256"]) == 64


def test_disk_that_fills_while_a_checkpoint_is_written_leaves_the_last_one_whole(stopped, mirror, arm, monkeypatch):
    def no_space(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    entry = stopped.entry(arm[0].key)
    monkeypatch.setattr(checkpoint, "save_file", no_space)
    with pytest.raises(StoreError, match=r"cannot write .*step-0+5.*No space left on device"):
        run_here(arm[0], stopped, mirror, execution=Execution(checkpoint_every_s=0))
    assert [path.name for path in checkpoint.complete(entry.checkpoints)] == ["step-000000003", "step-000000004"]
    assert not list(entry.checkpoints.glob(".*"))
    assert entry.events("ended")[-1]["outcome"] == "crash"
    assert not entry.done


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, mirror, arm, finished, monkeypatch):
    stepped = threading.Event()
    write, step, steps = checkpoint.save_file, Engine.step, iter(range(1000))

    def slow_write(*args):
        assert stepped.wait(60), "no step was taken while the checkpoint was written"
        write(*args)

    def watched_step(*args, **kwargs):
        if next(steps) == 1:
            stepped.set()
        return step(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "save_file", slow_write)
    monkeypatch.setattr(Engine, "step", watched_step)
    store = Store(tmp_path)
    run_here(arm[0], store, mirror, execution=Execution(checkpoint_every_s=0))
    entry = store.entry(arm[0].key)
    saved = [event["step"] for event in entry.events("checkpoint")]
    assert saved == sorted(set(saved))
    assert saved[0] == 1
    assert_same_to_the_last_bit(entry, finished.entry(arm[0].key))


@pytest.fixture
def saver_of(tmp_path, monkeypatch):
    """A saver of one rank among others that are not there."""
    monkeypatch.setattr(checkpoint, "share_of", lambda _engine: {"a:weight": torch.zeros(2)})
    monkeypatch.setattr(checkpoint.dist, "barrier", lambda: None)
    monkeypatch.setattr(Ranks, "share", lambda _ranks, value: value)

    def make(ranks: Ranks = ALONE, confirm: Callable[[], None] = lambda: None) -> Saver:
        return Saver(SimpleNamespace(ranks=ranks), tmp_path, confirm, Mock())

    return make


def test_a_rank_that_never_finishes_its_file_is_not_waited_for_at_the_end(saver_of, tmp_path):
    writing = saver_of(Ranks(rank=0, world_size=2))
    writing.begin(3)
    writing.look()  # nothing is whole yet
    writing.close()
    with pytest.raises(StoreError, match=r"step-000000003.* is not whole: rank-00001"):
        writing.wait()
    assert not list(tmp_path.iterdir())


def test_ranks_meet_before_the_first_waits_for_the_files_of_others(saver_of, monkeypatch):
    class RankGone(Exception):
        pass

    monkeypatch.setattr(checkpoint.dist, "barrier", Mock(side_effect=RankGone))
    writing = saver_of(Ranks(rank=0, world_size=2))
    writing.begin(3)
    with pytest.raises(RankGone):
        writing.begin(4)
    writing.close()


def test_an_attempt_that_was_given_up_writes_to_a_folder_of_its_own(saver_of, tmp_path):
    given_up, ours = saver_of(Ranks(rank=0, world_size=2)), saver_of()
    given_up.begin(3)
    ours.begin(3)
    ours.wait()
    given_up.close()
    with pytest.raises(StoreError):
        given_up.wait()
    ours.close()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000003"]
    assert checkpoint.damage(tmp_path / "step-000000003") is None


def test_what_a_killed_attempt_left_half_written_is_removed(saver_of, tmp_path):
    left = tmp_path / ".step-000000002.0a1b2c3d"
    left.mkdir()
    writing = saver_of()
    writing.begin(3)
    writing.wait()
    writing.close()
    assert not left.exists()
    left.mkdir()
    checkpoint.discard(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_waits_for_the_checkpoint_that_is_being_written(tmp_path, mirror, arm, monkeypatch):
    write, begun = checkpoint.save_file, threading.Event()

    def slow_write(*args):
        begun.wait(1)
        write(*args)

    step = Engine.step
    reports = iter(range(1000))

    def diverging(*args, **kwargs):
        report = step(*args, **kwargs)
        return replace(report, loss=float("nan")) if next(reports) == 1 else report

    monkeypatch.setattr(checkpoint, "save_file", slow_write)
    monkeypatch.setattr(Engine, "step", diverging)
    store = Store(tmp_path)
    assert run_here(arm[0], store, mirror, execution=Execution(checkpoint_every_s=0)) == "diverged"
    entry = store.entry(arm[0].key)
    assert [event["step"] for event in entry.events("checkpoint")] == [1]
    assert not list(entry.checkpoints.iterdir())


def test_a_checkpoint_is_not_put_into_a_stage_that_was_taken_over(saver_of, tmp_path):
    confirm = Mock(side_effect=[None, ClaimLost("taken over")])
    writing = saver_of(confirm=confirm)
    writing.begin(3)
    with pytest.raises(ClaimLost):
        writing.wait()
    writing.close()
    assert not list(tmp_path.iterdir())
