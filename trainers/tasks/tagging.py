"""One label a word.  Columns: words, tags.  The first sub-token of a word carries its label, as in XTREME.

Every word gets a label: one that the tokenizer turns into nothing becomes `<unk>`; a sentence too long for the encoder
is split into several sequences (XTREME) or truncated, its tail then being answered with the default class (jiant).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.data.tokenise import Lengths, TokenisedSet
from trainers.tasks import TASKS, Task, chunks

if TYPE_CHECKING:
    from trainers.data.stagedata import LabelledSet

BEGIN, END, UNKNOWN = 0, 2, 3
"""XLM-R's `<s>`, `</s>` and `<unk>`."""
NO_WORD = (-1, -1)
"""The mark of a token with which no word begins."""
NO_CLASS = -1
"""Of a tag that the training rows do not have: it is never trained on and always scored as wrong."""
DEFAULT_CLASSES = ("O", "X")
"""What a word is called that no sequence holds: outside any name, or of no part of speech."""


def classes(task: Task, table: pa.Table) -> tuple[str, ...]:
    """The classes that the training rows tell, sorted, for a task that has no fixed ones."""
    return tuple(sorted({str(tag) for tags in table[task.columns[1]].to_pylist() for tag in tags}))


def tags_of(task: Task, table: pa.Table) -> list[list[str]]:
    """The gold tags as names; they may be stored as names or as ids (ClassLabel).

    Raises:
        ValueError: a tag is none of the task's classes, or their number is not that of the words.
    """
    known: dict[Any, str] = {name: name for name in task.labels} | dict(enumerate(task.labels))
    found = []
    for row, (words, tags) in enumerate(zip(*(table[column].to_pylist() for column in task.columns), strict=True)):
        if len(words) != len(tags):
            raise ValueError(f"{task.name}: row {row} has {len(words)} words and {len(tags)} tags")
        for tag in tags:
            if tag not in known and (isinstance(tag, int) or not _open(task)):
                raise ValueError(
                    f"{task.name}: row {row} has the tag {tag!r} in column {task.columns[1]!r}; expected one of "
                    f"{', '.join(task.labels[:20])} or their ids, 0 to {len(task.labels) - 1}"
                )
        found.append([known.get(tag, tag) for tag in tags])
    return found


def _open(task: Task) -> bool:
    """Whether the classes come from the training rows, so that other splits may have further ones."""
    return not TASKS[task.name].labels


def encode(task: Task, table: pa.Table, tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> words </s>`; a sentence that is longer gives several sequences, cut between words.

    Marks are, where a word begins, its number in the sequence and its class; targets the number of words with a class.
    """
    tokenizer.no_truncation()
    class_of = {name: number for number, name in enumerate(task.labels)}
    sentences, tags = table[task.columns[0]].to_pylist(), tags_of(task, table)
    encodings = iter(tokenizer.encode_batch_fast([w for words in sentences for w in words], add_special_tokens=False))
    ids, marks, targets, example = [], [], [], []
    for row, names in enumerate(tags):
        words = [_Word(next(encodings).ids or [UNKNOWN], class_of.get(name, NO_CLASS)) for name in names]
        for part in _parts(words, lengths):
            told = [
                mark
                for number, word in enumerate(part)
                for mark in [(number, word.label), *[NO_WORD] * (len(word.ids) - 1)]
            ]
            ids.append([BEGIN, *(token for word in part for token in word.ids), END])
            marks.append([NO_WORD, *told, NO_WORD])
            targets.append((sum(word.label != NO_CLASS for word in part),))
            example.append(row)
    return TokenisedSet.from_lists(ids, targets, example, marks)


class _Word(NamedTuple):
    ids: list[int]
    label: int


def _parts(words: list[_Word], lengths: Lengths) -> list[list[_Word]]:
    """Runs of words that fit one sequence: all of them, or the first alone.  A longer word is cut to fit."""
    room = lengths.max_length - 2
    parts: list[list[_Word]] = [[]]
    used = 0
    for word in words:
        word = _Word(word.ids[:room], word.label)
        if used + len(word.ids) > room:
            if lengths.overflow == "truncate":
                break
            parts.append([])
            used = 0
        parts[-1].append(word)
        used += len(word.ids)
    return parts


def chance(labelled: LabelledSet) -> float:
    """The primary metric of always answering the most frequent class."""
    gold = tags_of(labelled.task, labelled.table)
    commonest = Counter(tag for tags in gold for tag in tags).most_common(1)[0][0]
    return _metrics(gold, [[commonest] * len(tags) for tags in gold])[labelled.task.metric]


def score(labelled: LabelledSet, decoded: np.ndarray) -> tuple[dict[str, float], pl.DataFrame]:
    """Chunk F1 (seqeval 0.0.12's, as XTREME) and token accuracy over all words.

    Args:
        decoded: [n, most words in a sequence] the class of each word of each sequence.

    Returns:
        {metric: value in [0, 1]}, and one row per sentence: example, prediction and gold (tags), score (its token
        accuracy).
    """
    task, examples = labelled.task, labelled.examples
    gold = tags_of(task, labelled.table)
    predicted: list[list[str]] = [[] for _ in gold]
    for unit, (row, count) in enumerate(zip(examples.example, word_counts(examples), strict=True)):
        predicted[row] += [task.labels[int(label)] for label in decoded[unit, :count]]
    default = next((name for name in DEFAULT_CLASSES if name in task.labels), task.labels[0])
    for row, tags in enumerate(gold):
        predicted[row] += [default] * (len(tags) - len(predicted[row]))
    shares = [chunks.token_accuracy([tags], [answer]) for tags, answer in zip(gold, predicted, strict=True)]
    frame = pl.DataFrame(
        {"example": np.arange(len(gold)), "prediction": predicted, "gold": gold, "score": np.array(shares)}
    )
    return _metrics(gold, predicted), frame


def _metrics(gold: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    return {"f1": chunks.f1(gold, predicted), "accuracy": chunks.token_accuracy(gold, predicted)}


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
    empty = sum(not words for words in tags)
    return [f"{empty} of {len(tags)} sentences have no words"] if empty else []
