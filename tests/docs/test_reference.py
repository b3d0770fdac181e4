"""docs/reference says what the code says, and leaves nothing out."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launch import cli
from launch.job.rank import REQUEUE

CHECKOUT = Path(__file__).parents[2]
COMMITTED = CHECKOUT / "docs" / "reference"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    run("docs/reference.py", str(folder))
    return folder


def run(*words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True, cwd=CHECKOUT, env=environment
    )
    return done.stdout


def test_the_committed_pages_are_what_the_code_says_now(written):
    assert {page.name for page in COMMITTED.iterdir()} == {page.name for page in written.iterdir()}
    for page in written.iterdir():
        told = "the code has changed: run `python docs/reference.py` and commit docs/reference"
        assert (COMMITTED / page.name).read_text(encoding="utf-8") == page.read_text(encoding="utf-8"), told


def test_every_command_has_its_section(written):
    offered = re.search(r"\{([a-z,]+)\}", run("-m", "launch.cli", "--help"))
    told = re.findall(r"^### `retain (\w+)", (written / "command-line.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert offered is not None
    assert sorted(told) == sorted(offered[1].split(","))


def test_every_exit_status_is_told(written):
    given = {0, 1, REQUEUE, *map(int, re.findall(r"code = (\d+)", inspect.getsource(cli.main)))}
    page = (written / "command-line.md").read_text(encoding="utf-8")
    assert given >= {2, 130, 141}
    assert set(map(int, re.findall(r"^\| (\d+) \|", page, re.MULTILINE))) == given


def test_every_field_and_option_says_what_it_is(written):
    rows = [line for page in written.iterdir() for line in page.read_text(encoding="utf-8").splitlines()]
    meanings = {line: line.strip("| ").split(" | ") for line in rows if line.startswith("| `")}
    assert len(meanings) > 100
    assert [line for line, cells in meanings.items() if not cells[-1].strip("` ")] == []
    assert not [line for line in meanings if line.endswith("|  |")]


def test_every_section_that_is_pointed_to_is_there(written):
    for page in written.iterdir():
        text = page.read_text(encoding="utf-8")
        headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower() for line in text.splitlines() if line[:1] == "#"}
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
