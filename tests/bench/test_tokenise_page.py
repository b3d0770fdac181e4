"""bench/tokenise.py compares every task with the tokenizer alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainers.sandbox import write_mirror
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_has_a_row_for_each_task_with_both_ratios(tmp_path):
    write_mirror(tmp_path / "mirror")
    command = [
        sys.executable,
        "-m",
        "bench.tokenise",
        str(tmp_path / "mirror"),
        str(SANDBOX_ENCODERS / "sandbox-s"),
        "20",
    ]
    page = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout
    rows = {
        cells[0]: cells[1:]
        for line in page.splitlines()
        if line.startswith("| ") and len(cells := line.strip("| ").split(" | ")) == 7
    }
    assert set(TASKS) <= set(rows)
    for name, (_, count, *numbers) in list(rows.items())[1:]:
        assert count == "20", name
        assert all(float(number.replace(",", "")) > 0 for number in numbers), name


def test_without_a_mirror_it_says_how_to_call_it():
    answer = subprocess.run([sys.executable, "-m", "bench.tokenise"], capture_output=True, text=True, cwd=CHECKOUT)
    assert answer.returncode == 1
    assert "python -m bench.tokenise MIRROR ENCODER [ROWS]" in answer.stderr
