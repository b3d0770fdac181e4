"""Mining parallel sentences (BUCC 2018).  Columns: id, sentence; the rows of both sides follow each other.

Ids begin with their side's language (`de-000000042`, `en-000000007`).  Gold pairs have a file of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.families.metrics import precision_recall_f1
from trainers.stage.languages import ENGLISH
from trainers.tasks import Task
from trainers.tokens.columns import TEXT, Kind, is_blank
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet
from trainers.tokens.texts import singles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NEIGHBOURS = 4
BLOCK_COSINES = 2**26
"""Cosines that are held at once (256 MiB), so that memory stays with the embeddings, however many the pairs."""

Pair = tuple[str, str]
Mined = list[tuple[Pair, float]]
"""Pairs of ids with their margins, the largest first."""
GOLD_COLUMNS = ("source_id", "target_id")


def kinds(task: Task) -> tuple[Kind, ...]:
    """The types of its columns."""
    return TEXT, TEXT


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> sentence </s>`, in the rows' order."""
    texts = [text.strip() for text in table[task.columns[1]].to_pylist()]
    return singles(tokenizer, texts, lengths.max_length)


def chance(labelled: LabelledSet) -> float:
    """F1 of mining nothing."""
    return 0.0


def score_layer(
    labelled: LabelledSet, embeddings: np.ndarray, development_embeddings: np.ndarray | None = None
) -> tuple[dict[str, float], pl.DataFrame]:
    """F1 of the pairs whose margin is above the threshold that is best on the development set (or, without one, here).

    Args:
        embeddings: [n, hidden] mean-pooled states of one layer, in the rows' order.
        development_embeddings: the same of `labelled.development`.

    Returns:
        {"f1", "precision", "recall": value in [0, 1]}, and one row per pair that is mined or gold: example, prediction
        and gold (`source id<tab>target id`, empty where it is not), score (1 where it is both).
    """
    mined, gold = _mine(labelled, embeddings)
    if labelled.development is None:
        threshold = best_threshold(mined, gold)
    else:
        assert development_embeddings is not None
        threshold = best_threshold(*_mine(labelled.development, development_embeddings))
    taken = {pair for pair, value in mined if value >= threshold}
    either = sorted(taken | gold)
    precision, recall, f1 = scores_at(mined, gold, threshold)
    frame = pl.DataFrame(
        {
            "example": np.arange(len(either)),
            "prediction": ["\t".join(pair) if pair in taken else "" for pair in either],
            "gold": ["\t".join(pair) if pair in gold else "" for pair in either],
            "score": [float(pair in taken and pair in gold) for pair in either],
        }
    )
    return {"f1": f1, "precision": precision, "recall": recall}, frame


def _mine(labelled: LabelledSet, embeddings: np.ndarray) -> tuple[Mined, set[Pair]]:
    """Candidate pairs of ids, and the gold ones.

    Of a sentence that occurs more than once one copy is mined, and it counts for none, as in XTREME: which of its ids
    the gold pairs name is arbitrary.
    """
    ids, sentences = (np.array(labelled.table[column].to_pylist(), object) for column in labelled.task.columns)
    english = np.array([name.startswith(f"{ENGLISH}-") for name in ids])
    rows, names = [], []
    for side in (np.flatnonzero(~english), np.flatnonzero(english)):
        places, occurs_once = unique([sentence.strip() for sentence in sentences[side]])
        rows.append(side[places])
        names.append(list(np.where(occurs_once, ids[side[places]], "")))
    mined = mine(embeddings[rows[0]], embeddings[rows[1]], names[0], names[1])
    assert labelled.gold is not None
    source, target = (labelled.gold[column].to_pylist() for column in GOLD_COLUMNS)
    return [(pair, value) for pair, value in mined if all(pair)], set(zip(source, target, strict=True))


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these sentences can be mined."""
    ids, sentences = (table[column].to_pylist() for column in task.columns)
    problems = []
    if len(set(ids)) < len(ids):
        problems.append(f"{len(ids) - len(set(ids))} ids occur more than once")
    if empty := sum(map(is_blank, sentences)):
        problems.append(f"{empty} sentences are empty")
    return problems


def flaws_of_gold(sides: list[pa.Table], gold: pa.Table) -> list[str]:
    """What a person must mend about the pairs to find, given the sentences of both sides."""
    known = {name for side in sides for name in side["id"].to_pylist()}
    english = sum(name.startswith(f"{ENGLISH}-") for name in known)
    if not 0 < english < len(known):
        return [f"{english} of {len(known)} ids begin with en-; expected sentences of both sides"]
    absent = [name for column in GOLD_COLUMNS for name in gold[column].to_pylist() if name not in known]
    return [
        f"{len(absent)} gold ids have no sentence, e.g. {name!r}; are they of another split?" for name in absent[:1]
    ]


# Ratio margin, as in XTREME's utils_retrieve.py (Artetxe and Schwenk 2019): a pair's cosine over the mean of both
# sides' cosines with their nearest neighbours.  Candidates are each side's best partner, taken greedily one to one from
# the largest margin down; a threshold then decides.  Equal margins are taken in the order of the sentences; XTREME
# leaves theirs to an unstable sort.


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
    used_left, used_right, mined = set(), set(), []
    for place in np.argsort(-margins, kind="stable"):
        source_row, target_row = int(left[place]), int(right[place])
        if source_row not in used_left and target_row not in used_right and margins[place] > 0:
            used_left.add(source_row)
            used_right.add(target_row)
            mined.append(((source_ids[source_row], target_ids[target_row]), float(margins[place])))
    return mined


def best_threshold(mined: Mined, gold: Set[Pair]) -> float:
    """The margin from which on pairs are taken, for the best F1 with `gold`: half-way between two candidates.

    The first of equals, and 0 (every candidate) where nothing is gold, as in XTREME; the last margin where all are
    taken, where XTREME's `bucc_optimize` has an IndexError.
    """
    best_f1, threshold, right = 0.0, 0.0, 0
    for taken, (pair, value) in enumerate(mined, 1):
        right += pair in gold
        f1 = precision_recall_f1(right, taken, len(gold))[2]
        if f1 > best_f1:
            following = mined[taken][1] if taken < len(mined) else value
            best_f1, threshold = f1, (value + following) / 2
    return threshold


def scores_at(mined: Mined, gold: Set[Pair], threshold: float) -> tuple[float, float, float]:
    """Precision, recall and F1, in [0, 1], of the candidates whose margin is at least `threshold`."""
    taken = [pair for pair, value in mined if value >= threshold]
    return precision_recall_f1(len(gold & set(taken)), len(taken), len(gold))


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
