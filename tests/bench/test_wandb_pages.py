"""bench/gather.py and bench/tracking.py measure what they say, small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def page(script: str, *words: str) -> dict[str, list[str]]:
    """The rows of what a script prints, by first cell."""
    command = [sys.executable, f"bench/{script}", *words]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env=environment).stdout
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in rows}


def test_gathering_is_timed_beside_plain_reading():
    rows = page("gather.py", "30", "20")
    assert {"`store_records`, first time", "`json.loads` of the measured lines alone"} <= set(rows)


@pytest.mark.slow
def test_a_tracked_stage_is_timed_beside_an_untracked_one():
    rows = page("tracking.py", "1")
    assert float(rows["untracked"][0]) > 0
    assert float(rows["W&B offline"][0]) > 0
    assert float(rows["in the client's thread"][0].split()[0]) > 0
