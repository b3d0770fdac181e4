"""Chunk F1 as seqeval 0.0.12 counts it, which XTREME's numbers rest on.

Its types are whole tags where tags have no prefix, so that part-of-speech tags are scored as runs of one tag: version
1.2.2 drops their first letter and takes CCONJ for SCONJ.  Scores equal 0.0.12's to the last digit.
Source: chakki-works/seqeval v0.0.12, seqeval/metrics/sequence_labeling.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Chunk = tuple[str, int, int]
"""Type, first and last word."""
Sentences = Sequence[Sequence[str]]


def chunks(tags: Sequence[str]) -> list[Chunk]:
    """The chunks of one sentence, in order.

    A tag's first letter is its prefix (B, I, E, S, O), what follows its last hyphen its type: SYM and SCONJ are chunks
    word by word, NOUN NOUN is one chunk.

    Raises:
        ValueError: a tag is empty.
    """
    if not all(tags):
        raise ValueError(f"a word has an empty tag in {list(tags)!r}")
    found: list[Chunk] = []
    before, type_before, begin = "O", "", 0
    for place, name in enumerate([*tags, "O"]):
        tag, kind = name[:1], name.split("-")[-1]
        changed = kind != type_before
        if before in "ES" or (before in "BI" and tag in "BSO") or (before not in "O." and changed):
            found.append((type_before, begin, place - 1))
        if tag in "BS" or (before in "ESO" and tag in "EI") or (tag not in "O." and changed):
            begin = place
        before, type_before = tag, kind
    return found


def counts(gold: Sentences, predicted: Sentences) -> np.ndarray:
    """[n, 3] chunks of each sentence that are right, predicted, and gold.

    Raises:
        ValueError: the two differ in their number of sentences, or of a sentence's words.
    """
    rows = []
    for row, (expected, answer) in enumerate(zip(gold, predicted, strict=True)):
        if len(expected) != len(answer):
            raise ValueError(f"sentence {row} has {len(expected)} gold tags and {len(answer)} predicted ones")
        here, there = set(chunks(expected)), set(chunks(answer))
        rows.append((len(here & there), len(there), len(here)))
    return np.array(rows, np.int64).reshape(-1, 3)


def f1(gold: Sentences, predicted: Sentences) -> float:
    """Chunk F1 over all sentences; 0 where there are no chunks at all."""
    return precision_recall_f1(counts(gold, predicted))[2]


def precision_recall_f1(counts: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 over the sentences of `counts`' rows, [n, 3].

    Each is 0 where it would divide by 0.
    """
    right, answered, expected = counts.sum(0).tolist()
    precision = right / answered if answered else 0.0
    recall = right / expected if expected else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0


def f1_of_each(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 of each sentence, [n], and its weight: F1 over any of them is their weighted mean.

    F1 = Σ 2 · right / Σ (predicted + gold), so a sentence weighs as much as it has predicted and gold chunks.
    """
    weights = counts[:, 1:].sum(1)
    return 2 * counts[:, 0] / np.maximum(weights, 1), weights


def token_accuracy(gold: Sentences, predicted: Sentences) -> float:
    """Share of words with the right tag; 0 where there are no words."""
    pairs = [pair for one, other in zip(gold, predicted, strict=True) for pair in zip(one, other, strict=True)]
    return sum(expected == answer for expected, answer in pairs) / len(pairs) if pairs else 0.0
