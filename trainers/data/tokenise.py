"""Examples tokenised once per (data, tokenizer, lengths) and memory-mapped by every stage and rank.

A `TokenisedSet` is a few flat arrays: sequence `i` is `ids[starts[i]:starts[i+1]]`.  The cache is built in a
temporary folder and renamed, so that jobs that start at once never read half a set.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainers.data.mirror import Mirror
from trainers.files import writing
from trainers.stage import digest
from trainers.tasks import Files, Task, family

FORMAT = 2


@dataclass(frozen=True)
class TokenisedSet:
    """Sequences of one task, split and language.  n sequences, N tokens in all."""

    ids: np.ndarray
    """[N] int32 token ids."""
    starts: np.ndarray
    """[n + 1] int64: where each sequence starts in `ids`."""
    targets: np.ndarray
    """[n, k] int32: the class (k=1), first and last token of the answer (k=2), or nothing (k=0)."""
    example: np.ndarray
    """[n] int32: the row that a sequence comes from; a long document gives several windows."""
    spans: np.ndarray
    """[N, 2] int32 characters of the context that a token covers, -1 outside it ([0, 2] where unused)."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """[n] tokens per sequence."""
        return np.diff(self.starts)

    def sequence(self, index: int) -> np.ndarray:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    @classmethod
    def from_lists(
        cls,
        ids: list[list[int]],
        targets: Sequence[tuple[int, ...]],
        example: list[int],
        spans: list[list[tuple[int, int]]] | None = None,
        target_width: int = 1,
    ) -> TokenisedSet:
        starts = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(sequence) for sequence in ids], out=starts[1:])
        flat = np.fromiter((token for sequence in ids for token in sequence), np.int32, starts[-1])
        covered = [span for sequence in spans or [] for span in sequence]
        return cls(
            flat,
            starts,
            np.array(targets, np.int32).reshape(len(ids), target_width),
            np.array(example, np.int32),
            np.array(covered, np.int32).reshape(-1, 2),
        )

    @classmethod
    def concatenate(cls, sets: Sequence[TokenisedSet]) -> TokenisedSet:
        """The sequences of several sets of one task, one after another; `example` still counts within each set."""
        lengths = np.concatenate([one.lengths for one in sets])
        return cls(
            np.concatenate([one.ids for one in sets]),
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([one.targets for one in sets]),
            np.concatenate([one.example for one in sets]),
            np.concatenate([one.spans for one in sets]),
        )

    def save(self, folder: Path) -> None:
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name))

    @classmethod
    def open(cls, folder: Path) -> TokenisedSet:
        return cls(**{field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r") for field in fields(cls)})


@dataclass(frozen=True)
class Lengths:
    """How text is cut into sequences."""

    max_length: int
    doc_stride: int


def load_tokenizer(folder: Path):
    """The fast tokenizer of an encoder folder, without importing transformers.

    Raises:
        FileNotFoundError: the folder has no tokenizer.json.
    """
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(_tokenizer_file(folder)))


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
    """The task's columns of the chosen rows.

    Raises:
        ValueError: a value is missing.
    """
    table = mirror.table(files, language, task.columns)
    for column in task.columns:
        if table[column].null_count:
            raise ValueError(f"row {table[column].is_null().to_pylist().index(True)} has nothing in column {column!r}")
    return table.take(chosen_rows(table.num_rows, limit))


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
    name = digest(
        {
            "format": FORMAT,
            "task": task.name,
            "split": files.split,
            "language": language,
            "limit": limit,
            "data": mirror.fingerprint(files, (language,)),
            "tokenizer": _tokenizer_hash(tokenizer_folder),
            "max_length": lengths.max_length,
            "doc_stride": lengths.doc_stride,
        }
    )
    folder = cache / f"{task.name}-{files.split}-{language}-{name}"
    if not folder.is_dir():
        table = rows(mirror, task, files, language, limit)
        encoded = family(task).encode(task, table, load_tokenizer(tokenizer_folder), lengths)
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


def _tokenizer_hash(folder: Path) -> str:
    import hashlib

    return hashlib.sha256(_tokenizer_file(folder).read_bytes()).hexdigest()[:16]
