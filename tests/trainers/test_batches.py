"""Batches are pure functions of seed and step; the cut covers each example once and wastes little."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainers.batches import MICRO_BATCH_COST_TOKENS, batch, cut, inference_batches, permutation

seeds = st.integers(0, 2**63 - 1)
sizes = st.integers(1, 300)
lengths_of_a_batch = st.lists(st.integers(1, 512), min_size=1, max_size=64).map(np.array)
worlds = st.integers(1, 9)
budgets = st.integers(1, 8192)


def padded(lengths: np.ndarray, places: np.ndarray) -> int:
    return int(lengths[places].max()) * len(places) if len(places) else 0


def cost(lengths: np.ndarray, pieces: list[np.ndarray]) -> int:
    return sum(padded(lengths, piece) + MICRO_BATCH_COST_TOKENS for piece in pieces)


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
            assert padded(lengths, piece) <= budget or len(piece) == 1


@given(lengths_of_a_batch, worlds, budgets)
def test_neighbours_in_a_micro_batch_are_neighbours_in_length(lengths, world_size, budget):
    pieces = [piece for pieces in zip(*cut(lengths, world_size, budget), strict=True) for piece in pieces]
    in_order = np.concatenate([lengths[piece] for piece in pieces])
    assert (np.diff(in_order) <= 0).all()


@given(lengths_of_a_batch, budgets)
def test_cut_never_costs_more_than_one_piece_or_all_singletons(lengths, budget):
    (pieces,) = cut(lengths, 1, budget)
    assert cost(lengths, pieces) <= cost(lengths, [np.array([i]) for i in range(len(lengths))])
    if lengths.max() * len(lengths) <= budget:
        assert cost(lengths, pieces) <= cost(lengths, [np.arange(len(lengths))])


@given(st.lists(st.integers(1, 512), min_size=1, max_size=7).map(np.array), budgets)
def test_cut_is_the_cheapest_of_all_cuts(lengths, budget):
    (pieces,) = cut(lengths, 1, budget)
    order = np.argsort(-lengths, kind="stable")
    best = np.inf
    for mask in range(1 << (len(order) - 1)):  # a 1 in place i: cut after example i
        candidate = np.split(order, [i + 1 for i in range(len(order) - 1) if mask >> i & 1])
        if all(padded(lengths, piece) <= budget or len(piece) == 1 for piece in candidate):
            best = min(best, cost(lengths, candidate))
    assert cost(lengths, pieces) == best


@given(lengths_of_a_batch, st.integers(2, 8), budgets)
def test_more_ranks_add_no_more_padding_than_they_need(lengths, world_size, budget):
    """Splitting a piece for another rank never makes its longest example longer."""
    (alone,) = cut(lengths, 1, budget)
    together = [piece for pieces in cut(lengths, world_size, budget) for piece in pieces]
    assert sum(padded(lengths, piece) for piece in together) <= sum(padded(lengths, piece) for piece in alone)


@given(lengths_of_a_batch, budgets)
def test_inference_batches_cover_every_example_exactly_once_within_the_budget(lengths, budget):
    pieces = inference_batches(lengths, budget)
    assert sorted(np.concatenate(pieces)) == list(range(len(lengths)))
    for piece in pieces:
        assert padded(lengths, piece) <= budget or len(piece) == 1


def test_nothing_to_infer_gives_no_batch():
    assert inference_batches(np.array([], np.int64), 100) == []
