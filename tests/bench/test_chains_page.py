"""bench/chains.py runs the same cells both ways, and says whether they measured the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.chains import chains_of, same_results
from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from tests.analysis import fakes

CHECKOUT = Path(__file__).parents[2]
SWEEP = """
name: tiny
store: runs/tiny
scales: [sandbox-s]
intermediates: [none, squad]
targets: [tatoeba]
seeds: [1]
languages: [en, de]
recipes: sandbox
overrides: {intermediate.squad: {max_steps: 4}}
evaluation: {max_examples: 40, development_examples: 200}
"""


def written(folder: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(SWEEP)
    return path


def test_chains_are_the_cells_of_the_sweep_and_their_stages_are_its_own(tmp_path):
    sweep = load_sweep(written(tmp_path), store=tmp_path / "store")
    cells = chains_of(sweep, tmp_path)
    assert [cell.intermediates for cell in cells] == [("none",), ("squad",)]
    assert len({cell.store for cell in cells}) == len(cells)
    own = {stage.key for stage in make_plan(sweep).stages}
    assert {stage.key for cell in cells for stage in make_plan(cell).stages} == own


@pytest.mark.slow
def test_a_value_that_differs_is_counted(tmp_path):
    stages = fakes.stages(seeds=(1,))
    for stage in stages:
        fakes.write_stage(tmp_path / "a", stage)
    fakes.write_stage(tmp_path / "b", stages[0])
    values, different = same_results(tmp_path / "a", [tmp_path / "b"])
    assert values > 0
    assert different == 0
    events = next((tmp_path / "b").rglob("events.jsonl"))
    text = events.read_text()
    events.write_text(text.replace('"value": 0.', '"value": 1.', 1))
    assert events.read_text() != text
    assert same_results(tmp_path / "a", [tmp_path / "b"])[1] == 1


@pytest.mark.slow
def test_the_page_compares_both_ways(tmp_path, cold):
    command = [sys.executable, "-m", "bench.chains", str(written(tmp_path))]
    page = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": "."}
    ).stdout
    assert "values that the chains measured 0 are not exactly the sweep's" in page
    assert "| trainings | 1 | 1 | 1.00 |" in page
    assert "| processes started | 2 |" in page
