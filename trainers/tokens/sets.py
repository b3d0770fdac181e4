"""Tokenised examples: flat arrays that a stage maps into memory, and the rows that they come from.

A `TokenisedSet` is a few flat arrays: sequence `i` is `ids[starts[i]:starts[i+1]]`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainers.stage import Overflow
from trainers.tasks import Task

BEGIN, END, UNKNOWN = 0, 2, 3
"""XLM-R's `<s>`, `</s>` and `<unk>`."""


@dataclass(frozen=True)
class TokenisedSet:
    """What one task, split and language is trained on or scored by, in units that are never torn apart.

    A unit is a sequence, or for multiple choice one sequence per choice.  n units, S = n × group sequences, N tokens.
    """

    ids: np.ndarray
    """[N] int32 token ids."""
    starts: np.ndarray
    """[S + 1] int64: where each sequence starts in `ids`."""
    targets: np.ndarray
    """[n, k] int32: the class (k=1), first and last token of the answer (k=2), number of words with a class
    (k=1), or nothing (k=0)."""
    example: np.ndarray
    """[n] int32: the row that a unit comes from; a long document gives several windows."""
    marks: np.ndarray
    """[N, w] int32, what the family says of each token: the characters of the context that it covers (w=2), number and
    class of the word that begins with it (w=2), or nothing (w=0); -1 where there is none."""

    def __len__(self) -> int:
        return len(self.example)

    @property
    def group(self) -> int:
        """Sequences per unit."""
        return max(1, (len(self.starts) - 1) // max(1, len(self)))

    @property
    def sequence_lengths(self) -> np.ndarray:
        """[S] tokens per sequence."""
        return np.diff(self.starts)

    @property
    def lengths(self) -> np.ndarray:
        """[n] tokens that each unit fills when its sequences are padded to the longest of them."""
        return self.sequence_lengths.reshape(-1, self.group).max(1, initial=0) * self.group

    @property
    def tokens(self) -> np.ndarray:
        """[n] real tokens per unit."""
        return self.sequence_lengths.reshape(-1, self.group).sum(1)

    def sequences(self, units: np.ndarray) -> np.ndarray:
        """The sequences of some units, unit by unit."""
        return (np.asarray(units)[:, None] * self.group + np.arange(self.group)).reshape(-1)

    def sequence(self, index: int) -> np.ndarray:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def take(self, units: np.ndarray) -> TokenisedSet:
        """Some units, in the order given."""
        sequences = self.sequences(units)
        lengths = self.sequence_lengths[sequences]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        tokens = ranges(self.starts[sequences], lengths)
        return TokenisedSet(self.ids[tokens], starts, self.targets[units], self.example[units], self.marks[tokens])

    @classmethod
    def from_lists(
        cls,
        ids: list[list[int]],
        targets: Sequence[tuple[int, ...]],
        example: list[int],
        marks: Sequence[np.ndarray] = (),
        target_width: int = 1,
    ) -> TokenisedSet:
        starts = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(sequence) for sequence in ids], out=starts[1:])
        flat = np.fromiter(itertools.chain.from_iterable(ids), np.int32, starts[-1])
        return cls(
            flat,
            starts,
            np.array(targets, np.int32).reshape(len(example), target_width),
            np.array(example, np.int32),
            np.concatenate(marks).astype(np.int32) if marks else np.zeros((len(flat), 0), np.int32),
        )

    @classmethod
    def concatenate(cls, sets: Sequence[TokenisedSet]) -> TokenisedSet:
        """The units of several sets of one task, one after another; `example` still counts within each set."""
        lengths = np.concatenate([part.sequence_lengths for part in sets])
        others = [field.name for field in fields(cls) if field.name != "starts"]
        joined = {name: np.concatenate([getattr(part, name) for part in sets]) for name in others}
        return cls(starts=np.concatenate([[0], np.cumsum(lengths)]), **joined)

    def save(self, folder: Path) -> None:
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name))

    @classmethod
    def open(cls, folder: Path) -> TokenisedSet:
        return cls(**{field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r") for field in fields(cls)})


def ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`counts[i]` numbers from `first[i]` on, for each i in turn: the places of runs in a flat array."""
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(counts.sum())


@dataclass(frozen=True)
class Lengths:
    """How text is cut into sequences."""

    max_length: int
    doc_stride: int
    overflow: Overflow = "split"


@dataclass(frozen=True)
class LabelledSet:
    """Rows of one task, split and language with their tokens."""

    task: Task
    language: str
    table: pa.Table
    examples: TokenisedSet
    gold: pa.Table | None = None
    """The answers, where they have a file of their own (mining)."""
    development: LabelledSet | None = None
    """What a threshold is chosen on (mining)."""
    constant: int | str | None = None
    """The answer that is commonest among the training rows, which gives chance; None: among these rows."""
