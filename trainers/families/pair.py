"""Sentence-pair classification: NLI and paraphrase.  Columns: first text, second text, label."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.families.metrics import accuracy
from trainers.tasks import Task
from trainers.tokens.columns import LABEL, TEXT, Kind, is_blank
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet
from trainers.tokens.texts import pairs

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def kinds(task: Task) -> tuple[Kind, ...]:
    """The types of its columns."""
    return TEXT, TEXT, LABEL


def labels_of(task: Task, table: pa.Table) -> np.ndarray:
    """[n] int class ids; labels may be stored as ids (ClassLabel) or as names, in any of arrow's string types.

    Raises:
        ValueError: a label is none of the task's classes; the message shows it and its row.
    """
    stored = table[task.columns[2]].to_pylist()
    known: dict = {name: index for index, name in enumerate(task.labels)} | {i: i for i in range(len(task.labels))}
    for row, label in enumerate(stored):
        if label not in known:
            raise ValueError(
                f"{task.name}: row {row} has the label {label!r} in column {task.columns[2]!r}; expected one of "
                f"{', '.join(task.labels)} or their ids, 0 to {len(task.labels) - 1}"
            )
    return np.array([known[label] for label in stored], np.int32)


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> first </s></s> second </s>`, the longer text truncated first."""
    first, second = (table[column].to_pylist() for column in task.columns[:2])
    return replace(pairs(tokenizer, first, second, lengths.max_length), targets=labels_of(task, table)[:, None])


def commonest(task: Task, table: pa.Table) -> int:
    """The most frequent class, of training rows."""
    return int(np.bincount(labels_of(task, table)).argmax())


def chance(labelled: LabelledSet) -> float:
    """Accuracy of always answering the class that is most frequent in training."""
    task, table = labelled.task, labelled.table
    constant = commonest(task, table) if labelled.constant is None else labelled.constant
    return float((labels_of(task, table) == constant).mean())


def score(labelled: LabelledSet, decoded: np.ndarray) -> tuple[dict[str, float], pl.DataFrame]:
    """Accuracy of decoded, [n, classes] logits."""
    gold = labels_of(labelled.task, labelled.table)
    return accuracy(decoded.argmax(1), gold, np.array(labelled.task.labels))


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these rows can be trained on or scored."""
    problems = []
    for column in task.columns[:2]:
        empty = sum(not text or is_blank(text) for text in table[column].to_pylist())
        if empty:
            problems.append(f"{empty} of {table.num_rows} rows have no text in column {column!r}")
    try:
        labels_of(task, table)
    except ValueError as error:
        problems.append(str(error))
    return problems
