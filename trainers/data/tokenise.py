"""Examples tokenised once per (data, tokenizer, lengths) and memory-mapped by every stage and rank.

A `TokenisedSet` is a few flat arrays: sequence `i` is `ids[starts[i]:starts[i+1]]`.  The cache is built in a
temporary folder and renamed, so that jobs that start at once never read half a set.
"""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainers.data.columns import is_text, refuse_others
from trainers.data.mirror import Mirror
from trainers.files import writing
from trainers.stage import Overflow, digest
from trainers.tasks import Files, Task, family

FORMAT = 4
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
        lengths = np.concatenate([one.sequence_lengths for one in sets])
        return cls(
            np.concatenate([one.ids for one in sets]),
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([one.targets for one in sets]),
            np.concatenate([one.example for one in sets]),
            np.concatenate([one.marks for one in sets]),
        )

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


def load_tokenizer(folder: Path):
    """The fast tokenizer of an encoder folder, without importing transformers.

    Raises:
        FileNotFoundError: the folder has no tokenizer.json.
    """
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(_tokenizer_file(folder)))


def mask_id(folder: Path) -> int:
    """The id of `<mask>`, which XLM-R's tokenizers have as the last."""
    tokenizer = load_tokenizer(folder)
    found = tokenizer.token_to_id("<mask>")
    return tokenizer.get_vocab_size() - 1 if found is None else found


def _tokenizer_file(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no tokenizer.json: save the encoder's fast tokenizer beside its weights")
    return path


def chosen_rows(count: int, limit: int | None) -> np.ndarray:
    """Row numbers of a subset: the first `limit` of one fixed shuffle, in the file's order.

    The same for every scale, seed and (where languages are row-aligned) language.
    """
    if limit is None or limit >= count:
        return np.arange(count)
    return np.sort(np.random.Generator(np.random.Philox(key=20130)).permutation(count)[:limit])


def rows(mirror: Mirror, task: Task, files: Files, language: str, limit: int | None) -> pa.Table:
    """The task's columns of the chosen rows; rows without a gold label are dropped first.

    Raises:
        ValueError: a column is of another type than the family reads, or a value is missing.
    """
    table = mirror.table(files, language, task.columns)
    refuse_others(table, task.columns, family(task).kinds(task))
    table = labelled(task, table)
    return table.take(chosen_rows(table.num_rows, limit))


def labelled(task: Task, table: pa.Table) -> pa.Table:
    """The rows that have a gold label."""
    column = task.columns[-1]
    values = [value for value in task.unlabelled if _fits(value, table.schema.field(column).type)]
    if not values:
        return table
    unlabelled = pc.is_in(table[column], value_set=pa.array(values, table.schema.field(column).type))
    return table.filter(pc.invert(unlabelled))


def _fits(value: object, kind: pa.DataType) -> bool:
    return isinstance(value, str) == is_text(kind)


def tokenised(
    cache: Path,
    mirror: Mirror,
    task: Task,
    files: Files,
    language: str,
    tokenizer_folder: Path,
    lengths: Lengths,
    limit: int | None,
) -> TokenisedSet:
    """The tokenised rows of one split, from the cache or built into it."""
    content = _tokenizer_hash(tokenizer_folder)
    name = digest(
        {
            "format": FORMAT,
            "task": task.name,
            "split": files.split,
            "language": language,
            "limit": limit,
            "data": mirror.fingerprint(files, (language,)),
            "tokenizer": content,
            "labels": task.labels,
            **asdict(lengths),
        }
    )
    folder = cache / f"{task.name}-{files.split.format(language=language)}-{language}-{name}"
    if not folder.is_dir():
        table = rows(mirror, task, files, language, limit)
        encoded = family(task).encode(task, table, _loaded(tokenizer_folder, content), lengths)
        building = cache / f".{folder.name}.{uuid.uuid4().hex[:8]}"
        with writing(folder):
            try:
                building.mkdir(parents=True)
                encoded.save(building)
                os.rename(building, folder)
            except OSError:
                shutil.rmtree(building, ignore_errors=True)
                if not folder.is_dir():  # else another process was first: its set is the same
                    raise
    return TokenisedSet.open(folder)


@lru_cache(maxsize=1)
def _loaded(folder: Path, content: str) -> Any:
    """The tokenizer, once for all the languages of a stage: XLM-R's 250,000 pieces take a second to load."""
    return load_tokenizer(folder)


def _tokenizer_hash(folder: Path) -> str:
    import hashlib

    return hashlib.sha256(_tokenizer_file(folder).read_bytes()).hexdigest()[:16]
