"""docs/screenshots.py takes every picture that pages show of terminal and report, and tells nothing of the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.analysis.browser import needs_chromium

CHECKOUT = Path(__file__).parents[2]
LARGEST_BYTES = 200_000


@pytest.mark.slow
@needs_chromium
def test_pictures_of_a_store_in_which_nothing_has_run(tmp_path):
    store, pictures = tmp_path / "store", tmp_path / "pictures"
    store.mkdir()
    pictures.mkdir()
    subprocess.run([sys.executable, "docs/screenshots.py", str(store), str(pictures)], check=True, cwd=CHECKOUT)
    assert list(store.iterdir()) == []
    for picture in pictures.iterdir():
        committed = CHECKOUT / "docs" / "figures" / picture.name
        assert max(picture.stat().st_size, committed.stat().st_size) < LARGEST_BYTES
        if picture.suffix == ".png":
            assert Image.open(picture).width > 500
        else:
            assert f"retain&#160;{'plan' if picture.stem == 'cluster' else picture.stem}" in picture.read_text()
            assert not [place for place in (tmp_path, CHECKOUT, sys.prefix) if str(place) in picture.read_text()]
    assert {picture.stem for picture in pictures.glob("*.svg")} == {"doctor", "plan", "status", "cluster"}
    assert {picture.stem for picture in pictures.glob("*.png")} == {"report"}


def test_without_a_store_it_says_how_to_call_it():
    answer = subprocess.run([sys.executable, "docs/screenshots.py"], capture_output=True, text=True, cwd=CHECKOUT)
    assert answer.returncode == 1
    assert "python docs/screenshots.py runs/sandbox" in answer.stderr
