"""bench/evaluation.py gives every way the same work: the logits agree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_way_computes_the_same_logits(cold):
    command = [sys.executable, "-m", "bench.evaluation", "--rounds", "1", "--examples", "20"]
    page = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": "."}
    ).stdout
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in page.splitlines() if line[:1] == "|"]
    ways = {row[0]: row for row in rows[2:]}
    assert [*ways] == ["(a) HF Trainer, padded to the maximum", "(b) HF Trainer, dynamic padding", "retain"]
    assert all(float(row[3]) < 1e-5 for row in ways.values())
    assert "100 pairs" in page
    assert "in 5 languages" in page
