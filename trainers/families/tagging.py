"""One label a word.  Columns: words, tags.  The first sub-token of a word carries its label, as in XTREME.

Every word gets a label: one that the tokenizer turns into nothing becomes `<unk>`; a sentence too long for the encoder
is split into several sequences (XTREME) or truncated, its tail then being answered with the default class (jiant).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.families.metrics import precision_recall_f1
from trainers.stage import Overflow
from trainers.tasks import TASKS, Task
from trainers.tokens.columns import LABELS, TEXTS, Kind
from trainers.tokens.sets import UNKNOWN, LabelledSet, Lengths, TokenisedSet, ranges
from trainers.tokens.texts import frame, pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NO_CLASS = -1
"""Of a tag that the training rows do not have: it is never trained on and always scored as wrong."""
DEFAULT_CLASSES = ("O", "X")
"""What a word is called that no sequence holds: outside any name, or of no part of speech."""


def kinds(task: Task) -> tuple[Kind, ...]:
    """The types of its columns."""
    return TEXTS, LABELS


def classes(task: Task, table: pa.Table) -> tuple[str, ...]:
    """The classes that the training rows tell, sorted, for a task that has no fixed ones."""
    return tuple(sorted({str(tag) for tags in table[task.columns[1]].to_pylist() for tag in tags}))


def tags_of(task: Task, table: pa.Table) -> list[list[str]]:
    """The gold tags as names; they may be stored as names or as ids (ClassLabel).

    Raises:
        ValueError: a tag is none of the task's classes, or their number is not that of the words.
    """
    known: dict[Any, str] = {name: name for name in task.labels} | dict(enumerate(task.labels))
    names = []
    for row, (words, tags) in enumerate(zip(*(table[column].to_pylist() for column in task.columns), strict=True)):
        if len(words) != len(tags):
            raise ValueError(f"{task.name}: row {row} has {len(words)} words and {len(tags)} tags")
        for tag in tags:
            if tag not in known and (isinstance(tag, int) or not _open(task)):
                raise ValueError(
                    f"{task.name}: row {row} has the tag {tag!r} in column {task.columns[1]!r}; expected one of "
                    f"{', '.join(task.labels[:20])} or their ids, 0 to {len(task.labels) - 1}"
                )
        names.append([known.get(tag, tag) for tag in tags])
    return names


def _open(task: Task) -> bool:
    """Whether the classes come from the training rows, so that other splits may have further ones."""
    return not TASKS[task.name].labels


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> words </s>`; a sentence that is longer gives several sequences, cut between words.

    Marks are, where a word begins, its number in the sequence and its class; targets the number of words with a class.
    """
    sentences, tags = table[task.columns[0]].to_pylist(), tags_of(task, table)
    room = lengths.max_length - 2
    distinct, number = pieces(tokenizer, list(itertools.chain.from_iterable(sentences)), room, empty=[UNKNOWN])
    sizes = distinct.sequence_lengths[number].tolist()
    runs = _runs(list(map(len, sentences)), sizes, room, lengths.overflow)
    example, first, counts = np.array(runs, np.int64).reshape(-1, 3).T
    held = ranges(first, counts)  # all words, but for the tails of truncated sentences
    class_of = {name: number for number, name in enumerate(task.labels)}
    classes = np.array([class_of.get(name, NO_CLASS) for names in tags for name in names], np.int32)[held]
    words, sequence = distinct.take(number[held]), np.repeat(np.arange(len(counts)), counts)
    edges = words.starts[np.concatenate([[0], np.cumsum(counts)])]
    framed = frame(words.ids, edges[:-1, None], np.diff(edges)[:, None])
    begins = words.starts[:-1] + 2 * sequence + 1
    marks = np.full((len(framed.ids), 2), -1, np.int32)
    marks[begins] = np.stack([ranges(np.zeros_like(counts), counts), classes], 1)
    targets = np.bincount(sequence[classes != NO_CLASS], minlength=len(counts))[:, None]
    return TokenisedSet(framed.ids, framed.starts, targets.astype(np.int32), example.astype(np.int32), marks)


def _runs(words: list[int], sizes: list[int], room: int, overflow: Overflow) -> list[tuple[int, int, int]]:
    """(sentence, its first word, number of words) of each sequence.

    Args:
        words: of each sentence.
        sizes: of each word of all sentences, in tokens.
    """
    runs, begin = [], 0
    for row, count in enumerate(words):
        parts = _parts(sizes[begin : begin + count], room, overflow)
        runs += [(row, begin + first, last - first) for first, last in parts]
        begin += count
    return runs


def _parts(sizes: list[int], room: int, overflow: Overflow) -> list[tuple[int, int]]:
    """Runs of words that fit one sequence, [first, last): all of them, or the first alone."""
    if sum(sizes) <= room:
        return [(0, len(sizes))]
    edges, used = [0], 0
    for place, size in enumerate(sizes):
        if used + size > room:
            edges.append(place)
            used = 0
        used += size
    parts = list(itertools.pairwise([*edges, len(sizes)]))
    return parts if overflow == "split" else parts[:1]


def commonest(task: Task, table: pa.Table) -> str:
    """The most frequent tag, of training rows."""
    return Counter(itertools.chain.from_iterable(tags_of(task, table))).most_common(1)[0][0]


def chance(labelled: LabelledSet) -> float:
    """The primary metric of always answering the tag that is most frequent in training."""
    task, table = labelled.task, labelled.table
    constant = commonest(task, table) if labelled.constant is None else str(labelled.constant)
    gold = tags_of(task, table)
    return _metrics(gold, [[constant] * len(tags) for tags in gold])[task.metric]


def score(labelled: LabelledSet, decoded: np.ndarray) -> tuple[dict[str, float], pl.DataFrame]:
    """Chunk F1 (seqeval 0.0.12's, as XTREME) and token accuracy over all words.

    Args:
        decoded: [n, most words in a sequence] the class of each word of each sequence.

    Returns:
        {metric: value in [0, 1]}, and one row per sentence: example, prediction and gold (tags), score (the primary
        metric of it alone) and weight, with which the sentences' scores average to that of all.
    """
    task, examples = labelled.task, labelled.examples
    gold = tags_of(task, labelled.table)
    predicted: list[list[str]] = [[] for _ in gold]
    for unit, (row, count) in enumerate(zip(examples.example, word_counts(examples), strict=True)):
        predicted[row] += [task.labels[int(label)] for label in decoded[unit, :count]]
    default = next((name for name in DEFAULT_CLASSES if name in task.labels), task.labels[0])
    for row, tags in enumerate(gold):
        predicted[row] += [default] * (len(tags) - len(predicted[row]))
    scores, weights = _of_each(task.metric, gold, predicted)
    frame = pl.DataFrame(
        {
            "example": np.arange(len(gold)),
            "prediction": predicted,
            "gold": gold,
            "score": scores,
            "weight": weights.astype(np.float64),
        }
    )
    return _metrics(gold, predicted), frame


def _of_each(metric: str, gold: list[list[str]], predicted: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """[n] the metric of each sentence, and its weight: chunks for F1, words for accuracy."""
    if metric == "f1":
        return chunk_f1_of_each(chunk_counts(gold, predicted))
    shares = [token_accuracy([tags], [answer]) for tags, answer in zip(gold, predicted, strict=True)]
    return np.array(shares), np.array([len(tags) for tags in gold])


def _metrics(gold: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    return {"f1": chunk_f1(gold, predicted), "accuracy": token_accuracy(gold, predicted)}


def word_counts(examples: TokenisedSet) -> np.ndarray:
    """[n] words of each sequence."""
    begins = np.concatenate([[0], np.cumsum(examples.marks[:, 0] >= 0)])
    return np.diff(begins[examples.starts])


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these rows can be trained on or scored."""
    try:
        tags = tags_of(task, table)
    except (ValueError, TypeError) as error:
        return [str(error)]
    unnamed = [row for row, names in enumerate(tags) if "" in names]
    if unnamed:
        return [f"row {unnamed[0]} has an empty tag in column {task.columns[1]!r}"]
    empty = sum(not words for words in tags)
    return [f"{empty} of {len(tags)} sentences have no words"] if empty else []


# Chunk F1 as seqeval 0.0.12 counts it, which XTREME's numbers rest on.  Its types are whole tags where tags have no
# prefix, so that part-of-speech tags are scored as runs of one tag: version 1.2.2 drops their first letter and takes
# CCONJ for SCONJ.  Scores equal 0.0.12's to the last digit.
# Source: chakki-works/seqeval v0.0.12, seqeval/metrics/sequence_labeling.py.

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
    complete: list[Chunk] = []
    before, type_before, begin = "O", "", 0
    for place, name in enumerate([*tags, "O"]):
        tag, kind = name[:1], name.split("-")[-1]
        changed = kind != type_before
        if before in "ES" or (before in "BI" and tag in "BSO") or (before not in "O." and changed):
            complete.append((type_before, begin, place - 1))
        if tag in "BS" or (before in "ESO" and tag in "EI") or (tag not in "O." and changed):
            begin = place
        before, type_before = tag, kind
    return complete


def chunk_counts(gold: Sentences, predicted: Sentences) -> np.ndarray:
    """[n, 3] chunks of each sentence that are right, predicted, and gold.

    Raises:
        ValueError: the two differ in their number of sentences, or of a sentence's words.
    """
    rows = []
    for row, (expected, answer) in enumerate(zip(gold, predicted, strict=True)):
        if len(expected) != len(answer):
            raise ValueError(f"sentence {row} has {len(expected)} gold tags and {len(answer)} predicted ones")
        gold_chunks, predicted_chunks = set(chunks(expected)), set(chunks(answer))
        rows.append((len(gold_chunks & predicted_chunks), len(predicted_chunks), len(gold_chunks)))
    return np.array(rows, np.int64).reshape(-1, 3)


def chunk_f1(gold: Sentences, predicted: Sentences) -> float:
    """Chunk F1 over all sentences; 0 where there are no chunks at all."""
    return precision_recall_f1(*chunk_counts(gold, predicted).sum(0).tolist())[2]


def chunk_f1_of_each(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 of each sentence, [n], and its weight: F1 over any of them is their weighted mean.

    F1 = Σ 2 · right / Σ (predicted + gold), so a sentence weighs as much as it has predicted and gold chunks.
    """
    weights = counts[:, 1:].sum(1)
    return 2 * counts[:, 0] / np.maximum(weights, 1), weights


def token_accuracy(gold: Sentences, predicted: Sentences) -> float:
    """Share of words with the right tag; 0 where there are no words."""
    pairs = [pair for one, other in zip(gold, predicted, strict=True) for pair in zip(one, other, strict=True)]
    return sum(expected == answer for expected, answer in pairs) / len(pairs) if pairs else 0.0
