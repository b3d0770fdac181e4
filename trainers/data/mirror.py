"""The mirror: a folder that holds data sets in the hub's own layout, `<hub id>/<config>/<split>.parquet`.

Reads parquet with pyarrow alone (no torch, no `datasets`), so that plans and checks are instant.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainers.stage.languages import ENGLISH_NAMES, ISO639_3
from trainers.tasks import Files, Task
from trainers.tokens.columns import TEXT, refuse_others

ABSENT = "absent"


class Mirror:
    """Read-only view of a mirror folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, files: Files, language: str) -> Path:
        """The parquet file of one split in one language (of joined ones the first)."""
        names = {
            "language": language,
            "iso639_3": ISO639_3.get(language, language),
            "english_name": ENGLISH_NAMES.get(language, language),
        }
        folder = self.root / files.dataset / files.config.format(**names)
        return folder / f"{files.split.format(**names)}.parquet"

    def missing(self, files: Files, language: str) -> list[Path]:
        """The files that are not there, or (where one file holds all languages) have no rows of this language."""
        return [
            self.path(part, language)
            for part in files.all_files
            if not self.path(part, language).is_file() or (_holds_many(part) and not self._count(part, language))
        ]

    def holds(self, files: Files, language: str) -> bool:
        """Whether the mirror has all files and, where one file holds all languages, rows of this language."""
        return not self.missing(files, language)

    def languages(self, task: Task, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """The languages in which a sweep evaluates `task`: its official ones, cut to those that are `wanted`.

        A wanted language that the task does not officially have counts where the mirror holds it (the sandbox
        speaks PAWS-X in Swahili).  An official one that is missing is kept: `retain check` reports it.
        """
        if wanted is None:
            return task.languages
        assert task.test is not None
        return tuple(language for language in wanted if language in task.languages or self.holds(task.test, language))

    def table(self, files: Files, language: str, columns: tuple[str, ...] | None = None) -> pa.Table:
        """The rows of one split in one language, in the file's order.

        Raises:
            FileNotFoundError, pa.ArrowInvalid: no such file, or no parquet; the message names it.
            KeyError: a column is missing.
            ValueError: the column that tells the language is no text, or has nothing in a row.
        """
        return pa.concat_tables(
            [self._part(part, language, columns) for part in files.parts], promote_options="permissive"
        )

    def _part(self, files: Files, language: str, columns: tuple[str, ...] | None) -> pa.Table:
        path = self.path(files, language)
        table = pq.read_table(path)
        by_language = [name for name in (files.language_column, files.language_prefix) if name is not None]
        missing = [name for name in dict.fromkeys((*(columns or ()), *by_language)) if name not in table.column_names]
        if missing:
            raise KeyError(f"{path} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
        refuse_others(table, by_language, [TEXT] * len(by_language))
        if files.language_column is not None:
            table = table.filter(pc.equal(table[files.language_column], language))
        if files.language_prefix is not None:
            table = table.filter(pc.starts_with(table[files.language_prefix], _prefix(language)))
        return table if columns is None else table.select(list(columns))

    def class_names(self, files: Files, language: str, column: str) -> tuple[str, ...] | None:
        """The names of a column of ClassLabels or of lists of them, as `datasets` stores them; None for any other."""
        metadata = pq.read_schema(self.path(files, language)).metadata or {}
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features") or {}
        feature = features.get(column, {})
        if isinstance(feature, list):  # how datasets up to 3.6 writes a list that was declared as one
            feature = feature[0] if feature else {}
        names = feature.get("feature", feature).get("names")
        return tuple(names) if names else None

    def count(self, files: Files, language: str) -> int:
        """Number of rows; of files that are absent or cannot be read none."""
        return sum(self._count(part, language) for part in files.parts)

    def _count(self, files: Files, language: str) -> int:
        path = self.path(files, language)
        try:
            if files.language_column is not None:
                return _rows_by_value(path, files.language_column, None, _stamp(path)).get(language, 0)
            if files.language_prefix is not None:
                before_hyphen = _prefix(language).removesuffix("-")
                return _rows_by_value(path, files.language_prefix, "-", _stamp(path)).get(before_hyphen, 0)
            return _row_count(path, _stamp(path))
        except (FileNotFoundError, pa.ArrowException):  # what cannot be read has no rows; `retain check` tells why
            return 0

    def fingerprint(self, files: Files, languages: tuple[str, ...]) -> str:
        """Hash of the content of the split's files; `absent` where one is missing."""
        paths = sorted({self.path(part, language) for language in languages for part in files.all_files})
        if not all(path.is_file() for path in paths):
            return ABSENT
        total = hashlib.sha256()
        for path in paths:
            total.update(_content_hash(path, _stamp(path)))
        return total.hexdigest()[:32]


def _holds_many(files: Files) -> bool:
    """Whether one file holds all languages."""
    return files.language_column is not None or files.language_prefix is not None


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@cache
def _row_count(path: Path, _stamp: tuple[int, int]) -> int:
    return pq.read_metadata(path).num_rows


@cache
def _rows_by_value(path: Path, column: str, until: str | None, _stamp: tuple[int, int]) -> dict[str, int]:
    """Rows for each value of a column, or for each beginning of it `until` a character."""
    values = pq.read_table(path, columns=[column])[column]
    if until is not None:
        values = pc.list_element(pc.split_pattern(values, until, max_splits=1), 0)
    return {row["values"]: row["counts"] for row in values.value_counts().to_pylist()}


def _prefix(language: str) -> str:
    """How ids of rows in `language` begin (TyDiQA's)."""
    return f"{ENGLISH_NAMES.get(language, language).lower()}-"


@cache
def _content_hash(path: Path, _stamp: tuple[int, int]) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
