"""bench/resampling.py times the bootstrap of a full study."""

from __future__ import annotations

import numpy as np
import pytest

from bench import resampling


@pytest.mark.slow
def test_more_resamples_know_the_standard_error_better(monkeypatch):
    monkeypatch.setattr(resampling, "EXAMPLES", 50)
    few, many = (resampling.error_of_error(count, np.random.default_rng(0)) for count in (120, 1200))
    assert few == pytest.approx(many * np.sqrt(10), rel=0.3)


def test_the_page_tells_both_ways_of_both_numbers_of_resamples(monkeypatch, capsys):
    for name, value in {"EXAMPLES": 20, "LANGUAGES": 2, "TIMED": 1, "REPEATS": 3, "MANY": 300}.items():
        monkeypatch.setattr(resampling, name, value)
    resampling.main()
    page = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith(("| 1,200", "| 300"))] == [
        "| 1,200",
        "| 300",
    ]
    assert "792 resampled means" in page
