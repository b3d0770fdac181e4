"""Masked language modelling.  Column: text.  Lines become sequences; which tokens are masked is drawn per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trainers.tasks import Task
from trainers.tokens.columns import TEXT, Kind, is_blank
from trainers.tokens.sets import Lengths, TokenisedSet
from trainers.tokens.texts import singles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
"""BERT's: of the chosen tokens 80 % become `<mask>`, 10 % another token, 10 % stay."""
SPECIAL_IDS = 4
"""`<s>`, `<pad>`, `</s>`, `<unk>` come first in XLM-R's vocabulary and are never masked."""


def kinds(task: Task) -> tuple[Kind, ...]:
    """The types of its columns."""
    return (TEXT,)


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> line </s>`, truncated; lines without a token to mask are left out."""
    lines = singles(tokenizer, table[task.columns[0]].to_pylist(), lengths.max_length)
    return lines.take(np.flatnonzero(lines.tokens > 2))


@dataclass(frozen=True)
class MaskVocabulary:
    """What tokens are replaced by."""

    mask_id: int
    """Id of `<mask>`."""
    size: int
    """Replacements are drawn from the ids below."""


def mask(examples: TokenisedSet, key: tuple[int, int], vocabulary: MaskVocabulary) -> TokenisedSet:
    """The sequences of one step with tokens masked; a pure function of the key (seed, step).

    Returns:
        The corrupted sequences; marks are the original ids where a token is to be predicted, else -1; targets their
        number in each sequence, one at the least.
    """
    random = np.random.Generator(np.random.Philox(key=key))
    originals, count = np.array(examples.ids), len(examples.ids)
    # A sequence's token with the smallest draw is chosen in any case.
    draws = np.where(originals >= SPECIAL_IDS, random.random(count), np.inf)
    smallest = np.repeat(np.minimum.reduceat(draws, examples.starts[:-1]), examples.sequence_lengths)
    chosen = np.isfinite(draws) & ((draws < CHOSEN) | (draws == smallest))
    kind, others = random.random(count), random.integers(SPECIAL_IDS, vocabulary.size, count)
    ids = np.where(chosen & (kind < MASKED), vocabulary.mask_id, originals)
    ids = np.where(chosen & (kind >= MASKED) & (kind < MASKED + REPLACED), others, ids)
    return TokenisedSet(
        ids.astype(np.int32),
        examples.starts,
        np.add.reduceat(chosen, examples.starts[:-1]).astype(np.int32)[:, None],
        examples.example,
        np.where(chosen, originals, -1).astype(np.int32)[:, None],
    )


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these lines can be trained on."""
    text = table[task.columns[0]].to_pylist()
    return [] if not all(map(is_blank, text)) else ["every line is empty"]
