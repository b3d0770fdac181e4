"""bench/full_study.py makes up a whole study, and bench/report.py times its report."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.full_study import CHANCE, HALF, KEPT, LEARNED
from tests.analysis.fakes import study_of

CHECKOUT = Path(__file__).parents[2]
SWEEP = {"name": "little", "scales": ["base", "large"], "intermediates": ["none", "mnli"], "recipes": "xstilts"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("little")
    path = folder / "little.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, "targets": ["pawsx", "tatoeba"], "mirror": str(folder / "mirror")}))
    words = [str(folder), "--examples", "20", "--sweep", str(path)]
    subprocess.run([sys.executable, "-m", "bench.full_study", *words], check=True, cwd=CHECKOUT)
    return folder


def test_the_study_is_whole_and_its_truth_is_found(folder):
    study = study_of(folder / "store")
    assert set(study.stages["outcome"]) == {"completed"}
    assert (study.scales, study.seeds) == (["base", "large"], [1, 2, 3, 4, 5])
    assert study.has_examples
    curves = [curve for curve in study.curves if curve.language == "en" and curve.head == "stored"]
    assert len(curves) == 2
    for curve in curves:
        kept = KEPT + (1 - KEPT) * 2 ** (-curve.steps[-1] / HALF)
        assert curve.final.value == pytest.approx(kept, abs=0.15), (CHANCE, LEARNED)


def test_the_page_tells_seconds_and_memory(folder, cold):
    command = [sys.executable, "-m", "bench.report", str(folder)]
    page = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout
    rows = {cells[1].strip(): cells[2] for line in page.splitlines() if len(cells := line.split("|")) == 5}
    assert float(rows["CPU time, user and system"].split()[0]) > 0
    assert float(rows["memory, all processes"].split()[0]) > 0.05
    assert ("no Chromium" in rows["Chromium, until loaded"]) == (shutil.which("chromium") is None)
    stages = list((folder / "store" / "stages").iterdir())
    assert f"{len(stages)} stages" in page
    assert not (folder / "store" / "report" / "timed.html").exists()


def test_a_report_that_fails_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bench.report", str(tmp_path)], capture_output=True, text=True, cwd=CHECKOUT
    )
    assert done.returncode != 0
