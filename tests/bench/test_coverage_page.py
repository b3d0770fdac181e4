"""bench/coverage.py knows the truth of what it generates, and says how often it was held."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import coverage_more
from bench.coverage import EXAMPLES, SEEDS, STATISTICS, TRUTH, statistics
from bench.probit import SEED_NOISE, generate, marked

CHECKOUT = Path(__file__).parents[2]


def test_generated_accuracies_average_to_the_truth_and_vary_by_the_noise():
    by_run = generate(np.random.default_rng(0), TRUTH, 400, 4, 200, 0.04).mean(axis=1)  # [seeds, studies, arms]
    np.testing.assert_allclose(by_run.mean(axis=(0, 1)), TRUTH, atol=0.01)
    assert np.mean(by_run.var(axis=0, ddof=1)) ** 0.5 == pytest.approx(0.04, rel=0.15)


def test_the_true_statistics_by_hand():
    retained, gain, slope, difference = statistics(TRUTH)
    assert retained == pytest.approx((0.60 - 1 / 3) / (0.78 - 1 / 3))
    assert (gain, difference) == (pytest.approx(0.04), pytest.approx(0.02))
    assert slope > 0


def test_the_true_curves_and_languages_by_hand():
    true = coverage_more.TRUE
    lost = (0.83 - 1 / 3) * 0.7 * (1 - 2**-16)
    assert (true["backward transfer"], true["forgetting"]) == (pytest.approx(-lost), pytest.approx(lost))
    assert true["forgetting of nothing"] == 0
    assert 0.3 + 0.7 * 2 ** (-true["half-life"] / 8) == pytest.approx(0.5)
    assert (true["gap"], true["change of gap"]) == (pytest.approx(0.84 - 0.68), pytest.approx(0.04))
    assert true["gain retention"] == pytest.approx(0.6)


def test_without_noise_the_estimates_are_the_truth_and_have_no_interval():
    """But for the fit: it looks h up on a grid, and may take another form than the true one."""
    samples = np.tile(coverage_more.TRUTH, (300, 1))
    bootstrap = coverage_more.Bootstrap(np.random.default_rng(0), 300)
    found = coverage_more.estimates(coverage_more.TRUTH, samples, 5, bootstrap)
    assert found.keys() == coverage_more.TRUE.keys()
    for kind in found.keys() - {"gain retention", "half-life", "asymptote"}:
        assert found[kind].value == pytest.approx(coverage_more.TRUE[kind])
        assert math.isnan(found[kind].low)
    assert found["half-life"].value == pytest.approx(coverage_more.TRUE["half-life"], rel=0.05)
    assert math.isnan(found["gain retention"].value)  # of a gain that is not told from 0


def test_a_coverage_is_bold_where_it_is_not_what_it_should_be():
    assert [marked(share) for share in (0.929, 0.93, 0.97, 0.971)] == ["**92.9%**", "93.0%", "97.0%", "**97.1%**"]


def test_the_page_has_every_kind_of_study_with_both_methods_and_every_interval():
    command = [sys.executable, "-m", "bench.coverage", "--studies", "4", "--resamples", "40"]
    page = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout
    rows = [line for line in page.splitlines() if line.startswith(tuple(f"| {seeds} |" for seeds in SEEDS))]
    kinds = 3 * len(SEEDS) * len(EXAMPLES) * len(SEED_NOISE)
    curves = len(coverage_more.SEEDS) * len(coverage_more.EXAMPLES) * len(SEED_NOISE)
    wins = len(set(coverage_more.WIN_SEEDS) & set(SEEDS)) * len(coverage_more.TASKS)
    assert len(rows) == kinds + curves + wins
    assert " | ".join(STATISTICS) in page
    assert " | ".join(coverage_more.TRUE) in page
    assert "nan" not in page
