"""Mining parallel sentences by ratio margin, as XTREME's utils_retrieve.py does (Artetxe and Schwenk 2019).

A pair's margin is its cosine over the mean of both sides' cosines with their nearest neighbours.  Candidates are each
side's best partner, taken greedily one to one from the largest margin down; a threshold then decides.

Equal margins are taken in the order of the sentences; XTREME leaves theirs to an unstable sort.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

import numpy as np

NEIGHBOURS = 4
BLOCK_COSINES = 2**26
"""Cosines that are held at once (256 MiB), so that memory stays with the embeddings, however many the pairs."""

Pair = tuple[str, str]
Mined = list[tuple[Pair, float]]
"""Pairs of ids with their margins, the largest first."""


def unique(sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which sentences are mined: each text once, in the order of its first occurrence.

    Returns:
        [u] int, the row whose embedding stands for the text (its last, as in XTREME), and [u] bool, whether the text
        occurs only once: XTREME drops the candidates with one that does not, after they have taken their partners.
    """
    times, last = Counter(sentences), {text: row for row, text in enumerate(sentences)}
    return np.array(list(last.values()), np.int64), np.array([times[text] == 1 for text in last], bool)


def mine(
    source: np.ndarray, target: np.ndarray, source_ids: list[str], target_ids: list[str], neighbours: int = NEIGHBOURS
) -> Mined:
    """Candidates with a positive margin, one to one.

    Args:
        source, target: [n, H] and [m, H] sentence embeddings, of any length; they are left as they are.
        source_ids, target_ids: [n] and [m] names of the sentences.
        neighbours: k of the k nearest, in both directions; all of a side that has fewer.
    """
    if not len(source) or not len(target):
        return []
    source, target = _unit(source), _unit(target)
    forward, forward_places = _nearest(source, target, neighbours)
    backward, backward_places = _nearest(target, source, neighbours)
    source_mean, target_mean = forward.mean(1), backward.mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        forward_margin = forward / ((source_mean[:, None] + target_mean[forward_places]) / 2)
        backward_margin = backward / ((target_mean[:, None] + source_mean[backward_places]) / 2)
    best, best_back = forward_margin.argmax(1), backward_margin.argmax(1)
    everyone, everyone_back = np.arange(len(source)), np.arange(len(target))
    left = np.concatenate([everyone, backward_places[everyone_back, best_back]])
    right = np.concatenate([forward_places[everyone, best], everyone_back])
    margins = np.concatenate([forward_margin.max(1), backward_margin.max(1)])
    used_left, used_right, found = set(), set(), []
    for place in np.argsort(-margins, kind="stable"):
        one, other = int(left[place]), int(right[place])
        if one not in used_left and other not in used_right and margins[place] > 0:
            used_left.add(one)
            used_right.add(other)
            found.append(((source_ids[one], target_ids[other]), float(margins[place])))
    return found


def best_threshold(mined: Mined, gold: Set[Pair]) -> float:
    """The margin from which on pairs are taken, for the best F1 with `gold`: half-way between two candidates.

    The first of equals, and 0 (every candidate) where nothing is gold, as in XTREME; the last margin where all are
    taken, where XTREME's `bucc_optimize` has an IndexError.
    """
    best_f1, threshold, right = 0.0, 0.0, 0
    for taken, (pair, value) in enumerate(mined, 1):
        right += pair in gold
        f1 = _precision_recall_f1(right, taken, len(gold))[2]
        if f1 > best_f1:
            following = mined[taken][1] if taken < len(mined) else value
            best_f1, threshold = f1, (value + following) / 2
    return threshold


def precision_recall_f1(mined: Mined, gold: Set[Pair], threshold: float) -> tuple[float, float, float]:
    """Precision, recall and F1, in [0, 1], of the candidates whose margin is at least `threshold`."""
    taken = [pair for pair, value in mined if value >= threshold]
    return _precision_recall_f1(len(gold & set(taken)), len(taken), len(gold))


def _precision_recall_f1(right: int, taken: int, gold: int) -> tuple[float, float, float]:
    """In XTREME's order of operations: rounding decides which of two equal F1 is the first."""
    if not right:
        return 0.0, 0.0, 0.0
    precision, recall = right / taken, right / gold
    return precision, recall, 2 * precision * recall / (precision + recall)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32, copy=False)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _nearest(queries: np.ndarray, keys: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """[n, k] cosines and places of each query's nearest keys, the nearest first, of equals the first."""
    count, rows = min(count, len(keys)), max(1, BLOCK_COSINES // len(keys))
    cosines = np.empty((len(queries), count), np.float32)
    places = np.empty((len(queries), count), np.int64)
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows] @ keys.T
        here = slice(start, start + len(block))
        for rank in range(count):  # few passes over what is there: argpartition would hold an int64 for each cosine
            near = block.argmax(1, keepdims=True)
            places[here, rank], cosines[here, rank] = near[:, 0], np.take_along_axis(block, near, 1)[:, 0]
            np.put_along_axis(block, near, -np.inf, 1)
    return cosines, places
