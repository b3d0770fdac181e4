"""Examples tokenised once per (data, tokenizer, lengths) and memory-mapped by every stage and rank.

The cache is built in a temporary folder and renamed, so that jobs that start together never read half a set.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainers.data.mirror import Mirror
from trainers.families import family
from trainers.stage import digest
from trainers.store.files import writing
from trainers.tasks import Files, Task
from trainers.tokens.columns import is_text, refuse_others
from trainers.tokens.sets import Lengths, TokenisedSet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FORMAT = 5


def load_tokenizer(folder: Path) -> Tokenizer:
    """The fast tokenizer of an encoder folder, without importing transformers.

    It neither pads nor truncates, whatever its file was saved with.

    Raises:
        FileNotFoundError: the folder has no tokenizer.json.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_tokenizer_file(folder)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def mask_id(folder: Path) -> int:
    """The id of `<mask>`, which XLM-R's tokenizers have as the last."""
    tokenizer = load_tokenizer(folder)
    number = tokenizer.token_to_id("<mask>")
    return tokenizer.get_vocab_size() - 1 if number is None else number


def _tokenizer_file(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no tokenizer.json: save the fast tokenizer with the weights")
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
def _loaded(folder: Path, content: str) -> Tokenizer:
    """The tokenizer, once for all the languages of a stage: XLM-R's 250,000 pieces take a second to load."""
    return load_tokenizer(folder)


def _tokenizer_hash(folder: Path) -> str:
    return hashlib.sha256(_tokenizer_file(folder).read_bytes()).hexdigest()[:16]
