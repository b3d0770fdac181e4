"""Which examples meet in a step, and how the step is cut: pure functions of seed, step and lengths.

The order of the data is no iterator's state, so resuming is exact.  The cut into micro-batches changes speed, never the
gradient: the loss is normalised over the whole step (trainers.training.step).  Padding is not computed
(trainers.network.attention), so examples of any lengths may meet.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order of all examples in one epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)


def batch(seed: int, step: int, examples: int, batch_size: int) -> np.ndarray:
    """The examples of optimizer step `step` (counted from 0); the last batch of an epoch may be smaller."""
    steps_per_epoch = -(-examples // batch_size)
    epoch, place = divmod(step, steps_per_epoch)
    return permutation(seed, epoch, examples)[place * batch_size : (place + 1) * batch_size]


def cut(tokens: np.ndarray, world_size: int, budget_tokens: int) -> list[list[np.ndarray]]:
    """Cut a step's batch into the fewest micro-batches that hold it, equally many and about equally full for each rank.

    A micro-batch holds sequences of similar lengths, for which attention pads least (trainers.network.attention).

    Args:
        tokens: [b] real tokens of each example.
        world_size: number of ranks.
        budget_tokens: what a micro-batch may hold (a longer single example is a micro-batch by itself).

    Returns:
        For each rank its micro-batches: arrays of places in `tokens`, empty where a rank has nothing to do.
    """
    order = np.argsort(-tokens, kind="stable")
    ends = np.cumsum(tokens[order])
    count = world_size  # a multiple of it, as ZeRO's collectives need equal counts
    while count < len(order):
        inner = np.searchsorted(ends, ends[-1] * np.arange(1, count) / count)
        micro_batches = np.split(order, inner)
        if all(tokens[piece].sum() <= budget_tokens or len(piece) == 1 for piece in micro_batches):
            break
        count += world_size
    else:
        micro_batches = [*np.split(order, len(order)), *[order[:0]] * (count - len(order))]
    return [micro_batches[rank::world_size] for rank in range(world_size)]


def inference_batches(lengths: np.ndarray, budget_tokens: int) -> list[np.ndarray]:
    """Cut a whole set for evaluation: length-sorted, filled to the budget, longest first."""
    order = np.argsort(-lengths, kind="stable")
    pieces, start = [], 0
    while start < len(order):
        size = max(1, int(budget_tokens // max(1, lengths[order[start]])))
        pieces.append(order[start : start + size])
        start += size
    return pieces
