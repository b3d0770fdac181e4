"""bench/coverage.py knows the truth of what it generates, and says how often it was held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.coverage import EXAMPLES, SEED_NOISE, SEEDS, STATISTICS, TRUTH, generate, statistics

CHECKOUT = Path(__file__).parents[2]


def test_generated_accuracies_average_to_the_truth_and_vary_by_the_noise():
    by_run = generate(np.random.default_rng(0), 400, 4, 200, 0.04).mean(axis=1)  # [seeds, studies, arms]
    np.testing.assert_allclose(by_run.mean(axis=(0, 1)), TRUTH, atol=0.01)
    assert np.mean(by_run.var(axis=0, ddof=1)) ** 0.5 == pytest.approx(0.04, rel=0.15)


def test_the_true_statistics_by_hand():
    retained, gain, slope, difference = statistics(TRUTH)
    assert retained == pytest.approx((0.60 - 1 / 3) / (0.78 - 1 / 3))
    assert (gain, difference) == (pytest.approx(0.04), pytest.approx(0.02))
    assert slope > 0


def test_the_page_has_every_kind_of_study_with_both_methods():
    command = [sys.executable, "-m", "bench.coverage", "--studies", "4", "--resamples", "40"]
    page = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout
    rows = [line for line in page.splitlines() if line.startswith(tuple(f"| {seeds} |" for seeds in SEEDS))]
    assert len(rows) == 3 * len(SEEDS) * len(EXAMPLES) * len(SEED_NOISE)
    assert " | ".join(STATISTICS) in page
