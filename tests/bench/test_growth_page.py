"""bench/growth.py measures five growths and draws them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SMALL = """
from pathlib import Path
from bench import growth
growth.LENGTHS, growth.BATCHES, growth.LANGUAGES, growth.SEEDS = (8, 16), (2, 4), (1, 2), (1, 2)
growth.SCALES, growth.SENTENCES, growth.REPETITIONS = ("sandbox-s", "sandbox-m"), 4, 1
growth.main(Path({folder!r}))
"""


@pytest.mark.slow
def test_the_page_and_the_figure_have_every_growth(tmp_path):
    page = subprocess.run(
        [sys.executable, "-c", SMALL.format(folder=str(tmp_path))],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": "."},
    ).stdout
    for quantity in ("tokens a sequence", "sequences a batch", "parameters in layers", "languages", "stages"):
        assert f", over {quantity}\n" in page
    assert page.count("Power ") == 5
    assert {path.name for path in tmp_path.iterdir()} == {"growth.png", "growth.svg"}
