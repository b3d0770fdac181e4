"""bench/sweep.py says what a store holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis import fakes

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_names_every_stage_and_every_layer(tmp_path):
    stages = fakes.stages(seeds=(1,))
    for stage in stages:
        fakes.write_stage(tmp_path, stage)
    command = [sys.executable, "-m", "bench.sweep", str(tmp_path)]
    page = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout
    assert f"# {len(stages)} stages in" in page
    for stage in stages:
        assert f"| {stage.label} | completed |" in page
    assert "## tatoeba, large, before phase 2" in page
    assert "| mean |" in page
