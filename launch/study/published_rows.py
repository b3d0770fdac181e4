"""How many rows each split has on the hub, so that a mirror of a subset is not taken for the whole.

Counts: the hub's own split sizes, for the splits that `trainers.tasks` reads (`published_rows.tsv`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.mirror import Mirror
from trainers.stage.languages import ENGLISH
from trainers.tasks import TASKS, Files


@cache
def _rows() -> dict[str, int]:
    """By `<hub id> <config> <split>`."""
    text = Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8")
    counts = (line.partition("\t") for line in text.splitlines()[1:])
    return {split: int(count) for count, _, split in counts}


def published_rows(dataset: str, config: str, split: str) -> int | None:
    """Rows of a whole split; None where no count is known."""
    return _rows().get(f"{dataset} {config} {split}")


def expected_rows(mirror: Mirror, files: Files, language: str) -> int:
    """Rows that the mirror holds in a language; where it holds none yet, about as many as are published."""
    if held := mirror.count(files, language):
        return held
    total = 0
    for part in files.parts:
        whole = published_rows(part.dataset, _config(mirror, part, language), mirror.path(part, language).stem) or 0
        total += whole // LANGUAGES_OF_ONE_FILE if part.language_column or part.language_prefix else whole
    return total


LANGUAGES_OF_ONE_FILE = 15
"""XNLI's: about as many rows in each."""


def _config(mirror: Mirror, files: Files, language: str) -> str:
    return mirror.path(files, language).parent.relative_to(mirror.root / files.dataset).as_posix()


def subsets(mirror: Mirror, needed: dict[str, tuple[Files, tuple[str, ...]]]) -> Iterator[str]:
    """A sentence for each `<task>/<role>` of which the mirror holds fewer rows than are published, or more.

    A translation is held against the rows that it translates.
    """
    for name, (files, languages) in sorted(needed.items()):
        translated, held, published = name.endswith("/translated"), 0, 0
        for path, (part, language) in {
            mirror.path(part, language): (part, language) for part in files.parts for language in languages
        }.items():
            original = TASKS[name.split("/")[0]].train
            if translated and original is not None:
                whole: int | None = mirror.count(original, ENGLISH) or None
            else:
                whole = published_rows(part.dataset, _config(mirror, part, language), path.stem)
            if whole is not None:
                with suppress(OSError, pa.ArrowInvalid):  # told elsewhere
                    rows = pq.read_metadata(path).num_rows
                    held, published = held + rows, published + whole
                    if rows > whole:
                        than = "of which it is a translation" if translated else "that are published"
                        yield f"{name}: {path} has {rows:,} rows, more than the {whole:,} {than}: this is other data"
        if held < published:
            yield f"{name}: {held:,} of {published:,} rows: a subset"
