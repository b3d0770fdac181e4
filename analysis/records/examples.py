"""Scores of single examples, read from the store when they are asked for: a full study's do not fit into memory.

examples = ExampleFiles(root)
scores, weights = examples(key, "zero_shot", "xnli", "de", 0)      # [2, examples]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from analysis.inference.statistics import Floats
from trainers.store import Store

ExampleSource = Callable[[str, str, str, str, int], Floats]
"""Stage key, measure, task, language and step or layer → [2, examples] scores and weights; `NOTHING` where there are
none."""
NOTHING: Floats = np.empty((2, 0))
KEPT = 256
"""Batches of files that stay in memory, each of one stage and task: those of `none` meet every intermediate."""
_PROBE = "probe-step"
_RETRIEVED = {"retrieval": "", "retrieval_normed": "-normed"}
_FILE = "file"
_SUFFIX = ".parquet"


def no_examples(key: str, measure: str, task: str, language: str, at: int) -> Floats:
    """Where only W&B was read."""
    return NOTHING


class ExampleFiles:
    """Reads `predictions/` of a store's stages: many small files, those of one stage and task at once."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)
        self._files = lru_cache(KEPT)(self._list_files)
        self._probes = lru_cache(KEPT)(self._read_probes)
        self._scored = lru_cache(KEPT)(self._read_scored)

    def __reduce__(self) -> tuple[type[ExampleFiles], tuple[Path]]:
        """What was read is read again in another process."""
        return ExampleFiles, (self._store.root,)

    def __call__(self, key: str, measure: str, task: str, language: str, at: int) -> Floats:
        """An `ExampleSource`.  `zero_shot` is measured once, at the end, whatever `at` is."""
        if measure == "zero_shot":
            return self._scored(key, task).get(language, NOTHING)
        if measure in _RETRIEVED:
            return self._scored(key, f"{task}{_RETRIEVED[measure]}-layer{at:02d}").get(language, NOTHING)
        return self._probes(key).get((measure, task, language, at), NOTHING)

    def _read_scored(self, key: str, name: str) -> Mapping[str, Floats]:
        """Language → scores and weights, of `<name>-<language>.parquet`."""
        return {_last_part(file): found for (file,), found in _read(self._files(key).get(name, []), [])}

    def _read_probes(self, key: str) -> Mapping[tuple[str, str, str, int], Floats]:
        """Measure, task, language and step → scores and weights, of `probe-step-<step>.parquet`."""
        return {
            (measure, task, language, int(_last_part(file))): found
            for (file, measure, task, language), found in _read(
                self._files(key).get(_PROBE, []), ["measure", "task", "language"]
            )
        }

    def _list_files(self, key: str) -> Mapping[str, list[str]]:
        """A stage's files, sorted, by their names without the last part.  Paths as text: there are 300,000."""
        folder = str(self._store.entry(key).predictions)
        found: dict[str, list[str]] = {}
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if name.endswith(_SUFFIX) and not name.startswith("."):
                found.setdefault(name.rpartition("-")[0], []).append(f"{folder}/{name}")
        return found


def _last_part(file: str) -> str:
    return file.rpartition("-")[2].removesuffix(_SUFFIX)


def _read(paths: list[str], names: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Floats]]:
    """(File, *names) and [2, examples] scores and weights; files without weights are of examples that weigh alike."""
    if not paths:
        return
    weighted = "weight" in pl.read_parquet_schema(paths[0])
    files = pl.scan_parquet(paths, include_file_paths=_FILE, missing_columns="insert", extra_columns="ignore")
    weight = pl.col("weight").cast(pl.Float64).fill_null(1.0) if weighted else pl.lit(1.0).alias("weight")
    table = files.select(_FILE, *names, pl.col("score").cast(pl.Float64), weight)
    # One query: each operation on a table in memory is another, and they are small.
    groups = table.group_by(_FILE, *names, maintain_order=True).agg("score", "weight").collect()
    keys = zip(*(groups[column].to_list() for column in (_FILE, *names)), strict=True)
    for name, scores, weights in zip(keys, groups["score"], groups["weight"], strict=True):
        yield name, np.stack([scores.to_numpy(), weights.to_numpy()])
