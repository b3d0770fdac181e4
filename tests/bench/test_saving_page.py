"""bench/saving.py tells how long a checkpoint holds training up, and how long it takes to be whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_has_both_times_of_every_checkpoint():
    command = [sys.executable, "-m", "bench.saving", "sandbox-s"]
    page = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": "."}
    ).stdout
    rows = [tuple(map(float, row)) for row in re.findall(r"^\| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)]
    assert len(rows) == 3
    assert all(held_up <= whole for held_up, whole in rows)
