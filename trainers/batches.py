"""Which examples meet in a step, and how the step is cut: pure functions of seed, step and lengths.

Nothing about data order lives in an iterator, so resuming is exact.  The cut into micro-batches changes speed,
never the gradient: the loss is normalised over the whole step (trainers.engine).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

MICRO_BATCH_COST_TOKENS = 96
"""What starting one more micro-batch costs on a CPU, in padded tokens: calls, kernels, collectives."""
MICRO_BATCH_COST_TOKENS_GPU = 2048
"""The same on a GPU, which computes so much faster than it is fed."""


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order of all examples in one epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)


def batch(seed: int, step: int, examples: int, batch_size: int) -> np.ndarray:
    """The examples of optimizer step `step` (counted from 0); the last batch of an epoch may be smaller."""
    steps_per_epoch = -(-examples // batch_size)
    epoch, place = divmod(step, steps_per_epoch)
    return permutation(seed, epoch, examples)[place * batch_size : (place + 1) * batch_size]


def cut(
    lengths: np.ndarray, world_size: int, budget_tokens: int, cost_tokens: int = MICRO_BATCH_COST_TOKENS
) -> list[list[np.ndarray]]:
    """Cut a step's batch into length-sorted dense micro-batches, equally many for each rank.

    The cut minimises padded tokens plus `cost_tokens` a micro-batch, by dynamic programming.

    Args:
        lengths: [b] tokens of each example.
        world_size: number of ranks.
        budget_tokens: padded tokens a micro-batch may hold (a longer single example is a micro-batch by itself).

    Returns:
        For each rank its micro-batches: arrays of places in `lengths`, empty where a rank has nothing to do.
    """
    order = np.argsort(-lengths, kind="stable")
    pieces = _cheapest_cut(lengths[order], budget_tokens, cost_tokens)
    while len(pieces) % world_size and len(pieces) < len(order):  # ZeRO's collectives need equal counts
        largest = max(range(len(pieces)), key=lambda i: pieces[i][1] - pieces[i][0])
        start, end = pieces[largest]
        middle = (start + end + 1) // 2
        pieces[largest : largest + 1] = [(start, middle), (middle, end)]
    micro_batches = [order[start:end] for start, end in pieces]
    micro_batches += [order[:0]] * (-len(micro_batches) % world_size)
    return [micro_batches[rank::world_size] for rank in range(world_size)]


def _cheapest_cut(descending: np.ndarray, budget: int, cost: int) -> list[tuple[int, int]]:
    count = len(descending)
    best = np.zeros(count + 1)  # best[e]: cost of the examples before e
    came_from = np.zeros(count + 1, np.int64)
    for end in range(1, count + 1):
        starts = np.arange(end)
        padded = (end - starts) * descending[starts]
        padded = np.where((padded <= budget) | (starts == end - 1), padded, np.inf)
        costs = best[starts] + padded + cost
        came_from[end] = costs.argmin()
        best[end] = costs[came_from[end]]
    pieces: list[tuple[int, int]] = []
    end = count
    while end:
        pieces.append((int(came_from[end]), end))
        end = int(came_from[end])
    return pieces[::-1]


def inference_batches(lengths: np.ndarray, budget_tokens: int) -> list[np.ndarray]:
    """Cut a whole set for evaluation: length-sorted, filled to the budget, longest first."""
    order = np.argsort(-lengths, kind="stable")
    pieces, start = [], 0
    while start < len(order):
        size = max(1, int(budget_tokens // max(1, lengths[order[start]])))
        pieces.append(order[start : start + size])
        start += size
    return pieces
