"""Queued jobs run the code as it was when they were sent."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launch.submit.snapshot import take_snapshot


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "code.py").write_text("first = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    commit(folder)
    return folder


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "commit", "-qam", "words")


def test_a_clean_checkout_is_copied_once(checkout, tmp_path):
    first, second = (take_snapshot(tmp_path / "store", checkout) for _ in range(2))
    assert first == second
    assert not first.dirty
    assert first.commit == git(checkout, "rev-parse", "HEAD")
    assert (first.folder / "code.py").read_text() == "first = 1\n"
    assert len(list((tmp_path / "store" / "code").iterdir())) == 1


def test_editing_the_checkout_does_not_change_what_was_sent(checkout, tmp_path):
    sent = take_snapshot(tmp_path / "store", checkout)
    (checkout / "code.py").write_text("second = 2\n")
    commit(checkout)
    assert (sent.folder / "code.py").read_text() == "first = 1\n"
    assert take_snapshot(tmp_path / "store", checkout).folder != sent.folder


def test_uncommitted_changes_are_in_the_copy_and_said(checkout, tmp_path):
    (checkout / "code.py").write_text("dirty = True\n")
    sent = take_snapshot(tmp_path / "store", checkout)
    assert sent.dirty
    assert (sent.folder / "code.py").read_text() == "dirty = True\n"
    assert take_snapshot(tmp_path / "store", checkout).folder == sent.folder
    assert git(checkout, "stash", "list") == ""
    assert (checkout / "code.py").read_text() == "dirty = True\n"


def test_an_installed_package_in_another_checkout_is_not_taken_for_it(checkout, tmp_path):
    (checkout / "site-packages").mkdir()
    sent = take_snapshot(tmp_path / "store", checkout / "site-packages")
    assert (sent.folder, sent.commit, sent.dirty) == (None, None, False)


def test_no_checkout_no_copy(tmp_path):
    assert take_snapshot(tmp_path / "store", tmp_path).folder is None
