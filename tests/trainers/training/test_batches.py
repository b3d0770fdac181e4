"""Batches are pure functions of seed and step; the cut covers each example once and wastes little."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainers.training.batches import batch, cut, inference_batches, permutation

seeds = st.integers(0, 2**63 - 1)
sizes = st.integers(1, 300)
lengths_of_a_batch = st.lists(st.integers(1, 512), min_size=1, max_size=64).map(np.array)
worlds = st.integers(1, 9)
budgets = st.integers(1, 8192)


def padded(lengths: np.ndarray, places: np.ndarray) -> int:
    return int(lengths[places].max()) * len(places) if len(places) else 0


@given(seeds, st.integers(0, 5), sizes, st.integers(1, 64))
def test_each_epoch_is_a_permutation(seed, epoch, examples, batch_size):
    steps = -(-examples // batch_size)
    batches = [batch(seed, epoch * steps + place, examples, batch_size) for place in range(steps)]
    assert sorted(np.concatenate(batches)) == list(range(examples))
    assert all(len(chosen) == batch_size for chosen in batches[:-1])


@given(seeds, st.integers(0, 1000), sizes, st.integers(1, 64))
def test_a_batch_does_not_depend_on_what_was_asked_before(seed, step, examples, batch_size):
    permutation.cache_clear()
    alone = batch(seed, step, examples, batch_size).copy()
    for other in range(max(0, step - 3), step + 3):
        batch(seed, other, examples, batch_size)
    np.testing.assert_array_equal(batch(seed, step, examples, batch_size), alone)


@given(seeds, seeds)
def test_other_seeds_and_epochs_give_other_orders(seed, other):
    orders = {tuple(permutation(each, epoch, 60)) for each in {seed, other} for epoch in range(3)}
    assert len(orders) == 3 * len({seed, other})


def test_order_is_the_same_on_every_machine_and_in_every_version():
    assert permutation(7, 1, 10).tolist() == [1, 9, 2, 8, 5, 0, 4, 3, 7, 6]


@given(lengths_of_a_batch, worlds, budgets)
def test_cut_covers_every_example_exactly_once(lengths, world_size, budget):
    ranks = cut(lengths, world_size, budget)
    assert len(ranks) == world_size
    assert sorted(np.concatenate([piece for pieces in ranks for piece in pieces])) == list(range(len(lengths)))


@given(lengths_of_a_batch, worlds, budgets)
def test_every_rank_makes_equally_many_micro_batches(lengths, world_size, budget):
    """Or the collectives of ZeRO would wait for ever."""
    ranks = cut(lengths, world_size, budget)
    assert len({len(pieces) for pieces in ranks}) == 1
    assert len(ranks[0]) <= -(-len(lengths) // world_size), "never more rounds than examples need"


@given(lengths_of_a_batch, worlds, budgets)
def test_budget_holds_but_for_single_long_examples(lengths, world_size, budget):
    for pieces in cut(lengths, world_size, budget):
        for piece in pieces:
            assert lengths[piece].sum() <= budget or len(piece) == 1


@given(lengths_of_a_batch, worlds, budgets)
def test_neighbours_in_a_micro_batch_are_neighbours_in_length(lengths, world_size, budget):
    pieces = [piece for pieces in zip(*cut(lengths, world_size, budget), strict=True) for piece in pieces]
    in_order = np.concatenate([lengths[piece] for piece in pieces])
    assert (np.diff(in_order) <= 0).all()


@given(lengths_of_a_batch, worlds)
def test_what_fits_one_micro_batch_a_rank_is_not_cut_further(lengths, world_size):
    assert {len(pieces) for pieces in cut(lengths, world_size, 64 * 512)} == {1}


def test_ranks_are_about_equally_full():
    lengths = np.random.default_rng(1).integers(5, 100, 64)
    full = [sum(int(lengths[piece].sum()) for piece in pieces) for pieces in cut(lengths, 4, 500)]
    assert max(full) - min(full) < 0.15 * np.mean(full)


def padding_cost(descending: np.ndarray, groups: list[tuple[int, int]], cost: int) -> int:
    return sum((end - start) * int(descending[start]) + cost for start, end in groups)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=7), st.integers(0, 60))
def test_groups_are_the_cheapest_of_all(lengths, cost):
    descending = np.sort(np.array(lengths))[::-1]
    from trainers.network.attention import cheapest_groups

    groups = cheapest_groups(descending, cost)
    assert [place for start, end in groups for place in range(start, end)] == list(range(len(lengths)))
    best = min(
        padding_cost(
            descending, list(pairwise([0, *(i for i in range(1, len(lengths)) if mask >> i & 1), len(lengths)])), cost
        )
        for mask in range(0, 1 << len(lengths), 2)
    )
    assert padding_cost(descending, groups, cost) == best


@given(lengths_of_a_batch, budgets)
def test_inference_batches_cover_every_example_exactly_once_within_the_budget(lengths, budget):
    pieces = inference_batches(lengths, budget)
    assert sorted(np.concatenate(pieces)) == list(range(len(lengths)))
    for piece in pieces:
        assert padded(lengths, piece) <= budget or len(piece) == 1


def test_nothing_to_infer_gives_no_batch():
    assert inference_batches(np.array([], np.int64), 100) == []
