"""bench/step.py compares ours with all three peers; the peers train on the very batches that ours does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.peers import PEERS
from bench.step import at_least
from trainers.tokens.sets import TokenisedSet
from trainers.training.batches import batch

CHECKOUT = Path(__file__).parents[2]


def of_lengths(lengths: np.ndarray) -> TokenisedSet:
    return TokenisedSet.from_lists(
        [[5] * length for length in lengths], [(0,)] * len(lengths), list(range(len(lengths)))
    )


def test_peers_that_do_not_group_have_the_recipes_batches():
    examples = of_lengths(np.arange(1, 101))
    expected = [batch(3, step, 100, 8) for step in range(5)]
    for peer in PEERS[:2]:
        np.testing.assert_array_equal(peer.order(examples, 3, 5, 8).reshape(5, 8), expected)


def test_the_grouping_peer_has_whole_batches_of_like_lengths_from_long_to_short():
    lengths = np.random.default_rng(0).integers(5, 100, 2000)
    order = PEERS[2].order(of_lengths(lengths), 3, 10, 8).reshape(10, 8)
    means = lengths[order].mean(1)
    assert (np.diff(means) < 0).all()
    assert np.ptp(lengths[order], axis=1).max() < 12
    assert abs(means.mean() - lengths.mean()) < 10, "long and short batches alike"


def test_a_small_sample_of_texts_does_not_flatter_the_kept_rows():
    used = np.array([0, 5, 9])
    assert set(used) <= set(at_least(used, 100))
    assert len(at_least(used, 100)) == 100
    np.testing.assert_array_equal(at_least(used, 2), used)


@pytest.mark.slow
def test_the_page_has_a_row_for_each_way():
    command = [sys.executable, "-m", "bench.step", "sandbox-s", "--rounds", "1", "--steps", "1"]
    page = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": "."}
    ).stdout
    rows = [line for line in page.splitlines() if line.startswith(("| (", "| retain"))]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [*(peer.name for peer in PEERS), "retain"]
    assert rows[-1].rstrip("| ").endswith("1.00")
