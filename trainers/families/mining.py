"""Mining parallel sentences (BUCC 2018).  Columns: id, sentence; the rows of both sides follow each other.

Ids begin with their side's language (`de-000000042`, `en-000000007`).  Gold pairs have a file of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.families import margin
from trainers.stage.languages import ENGLISH
from trainers.tasks import Task
from trainers.tokens.columns import TEXT, Kind
from trainers.tokens.sets import Lengths, TokenisedSet
from trainers.tokens.texts import singles

if TYPE_CHECKING:
    from trainers.tokens.sets import LabelledSet

GOLD_COLUMNS = ("source_id", "target_id")


def kinds(task: Task) -> tuple[Kind, ...]:
    """Of its columns."""
    return TEXT, TEXT


def encode(task: Task, table: pa.Table, tokenizer, lengths: Lengths) -> TokenisedSet:
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
        threshold = margin.best_threshold(mined, gold)
    else:
        assert development_embeddings is not None
        threshold = margin.best_threshold(*_mine(labelled.development, development_embeddings))
    found = {pair for pair, value in mined if value >= threshold}
    either = sorted(found | gold)
    precision, recall, f1 = margin.precision_recall_f1(mined, gold, threshold)
    frame = pl.DataFrame(
        {
            "example": np.arange(len(either)),
            "prediction": ["\t".join(pair) if pair in found else "" for pair in either],
            "gold": ["\t".join(pair) if pair in gold else "" for pair in either],
            "score": [float(pair in found and pair in gold) for pair in either],
        }
    )
    return {"f1": f1, "precision": precision, "recall": recall}, frame


def _mine(labelled: LabelledSet, embeddings: np.ndarray) -> tuple[margin.Mined, set[margin.Pair]]:
    """Candidate pairs of ids, and the gold ones.

    Of a sentence that occurs more than once one copy is mined, and it counts for none, as in XTREME: which of its ids
    the gold pairs name is arbitrary.
    """
    ids, sentences = (np.array(labelled.table[column].to_pylist(), object) for column in labelled.task.columns)
    english = np.array([one.startswith(f"{ENGLISH}-") for one in ids])
    rows, names = [], []
    for side in (np.flatnonzero(~english), np.flatnonzero(english)):
        places, occurs_once = margin.unique([sentence.strip() for sentence in sentences[side]])
        rows.append(side[places])
        names.append(list(np.where(occurs_once, ids[side[places]], "")))
    mined = margin.mine(embeddings[rows[0]], embeddings[rows[1]], names[0], names[1])
    assert labelled.gold is not None
    source, target = (labelled.gold[column].to_pylist() for column in GOLD_COLUMNS)
    return [(pair, value) for pair, value in mined if all(pair)], set(zip(source, target, strict=True))


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these sentences can be mined."""
    ids, sentences = (table[column].to_pylist() for column in task.columns)
    found = []
    if len(set(ids)) < len(ids):
        found.append(f"{len(ids) - len(set(ids))} ids occur more than once")
    if empty := sum(not sentence.strip() for sentence in sentences):
        found.append(f"{empty} sentences are empty")
    return found


def flaws_of_gold(sides: list[pa.Table], gold: pa.Table) -> list[str]:
    """What a person must mend about the pairs to find, given the sentences of both sides."""
    known = {one for side in sides for one in side["id"].to_pylist()}
    english = sum(one.startswith(f"{ENGLISH}-") for one in known)
    if not 0 < english < len(known):
        return [f"{english} of {len(known)} ids begin with en-; expected sentences of both sides"]
    absent = [one for column in GOLD_COLUMNS for one in gold[column].to_pylist() if one not in known]
    return [f"{len(absent)} gold ids have no sentence, e.g. {one!r}; are they of another split?" for one in absent[:1]]
