"""bench/refit.py shows P, what it was before, and the control task at four widths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_page_has_a_row_for_each_width():
    command = [sys.executable, "-m", "bench.refit", "--worlds", "1"]
    page = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ") and "P" not in line]
    assert [row[0] for row in rows] == ["768", "1,024", "2,560", "4,096"]
    for _, now, _, control in rows:
        assert float(now) > 0.8
        assert float(control) < 0.45
