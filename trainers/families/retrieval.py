"""Sentence retrieval without training (Tatoeba).  Columns: foreign sentence, English sentence, aligned by row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.families.metrics import accuracy
from trainers.tasks import Task
from trainers.tokens.columns import TEXT, Kind, is_blank
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet
from trainers.tokens.texts import singles

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def kinds(task: Task) -> tuple[Kind, ...]:
    """The types of its columns."""
    return TEXT, TEXT


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, lengths: Lengths) -> TokenisedSet:
    """Row i gives two sequences: 2i the foreign sentence, 2i+1 the English one.  The hub keeps a final newline."""
    foreign, english = (table[column].to_pylist() for column in task.columns)
    texts = [text.strip() for pair in zip(foreign, english, strict=True) for text in pair]
    sentences = singles(tokenizer, texts, lengths.max_length)
    return replace(sentences, example=sentences.example // 2)


def chance(labelled: LabelledSet) -> float:
    """Accuracy of a random guess."""
    return 1 / labelled.table.num_rows


def score_layer(labelled: LabelledSet, embeddings: np.ndarray) -> tuple[dict[str, float], pl.DataFrame]:
    """Whether each English sentence's nearest foreign sentence (cosine) is its translation, as in XTREME.

    Args:
        embeddings: [2n, hidden] mean-pooled states of one layer, in the order of `encode`.

    Returns:
        As `accuracy`; a prediction is the row of the foreign sentence found for the English one.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    nearest = (unit[1::2] @ unit[0::2].T).argmax(1)
    rows = np.arange(len(nearest))
    return accuracy(nearest, rows, rows.astype(str))


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these rows can be scored."""
    empty = sum(is_blank(text) for column in task.columns for text in table[column].to_pylist())
    return [f"{empty} sentences are empty"] if empty else []
