"""Scores of single examples, read from the store when they are asked for: a full study's do not fit into memory.

examples = ExampleFiles(root)
scores, weights = examples(key, "zero_shot", "xnli", "de", 0)      # [2, examples]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from analysis.statistics import Floats
from trainers.store import Store

ExampleSource = Callable[[str, str, str, str, int], Floats]
"""Stage key, measure, task, language and step or layer → [2, examples] scores and weights; `NOTHING` where there are
none."""
NOTHING: Floats = np.empty((2, 0))
KEPT = 256
"""Batches of files that stay in memory, each of one stage and task: those of `none` meet every intermediate."""
_PROBE = "probe-step-"
_RETRIEVED = {"retrieval": "", "retrieval_normed": "-normed"}
_FILE = "file"


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
        paths = [path for path in self._files(key) if path.stem.rpartition("-")[0] == name]
        return {Path(file).stem.rpartition("-")[2]: found for (file,), found in _read(paths, [])}

    def _read_probes(self, key: str) -> Mapping[tuple[str, str, str, int], Floats]:
        """Measure, task, language and step → scores and weights, of `probe-step-<step>.parquet`."""
        paths = [path for path in self._files(key) if path.stem.startswith(_PROBE)]
        return {
            (measure, task, language, int(Path(file).stem.removeprefix(_PROBE))): found
            for (file, measure, task, language), found in _read(paths, ["measure", "task", "language"])
        }

    def _list_files(self, key: str) -> list[Path]:
        return sorted(self._store.entry(key).predictions.glob("[!.]*.parquet"))


def _read(paths: list[Path], names: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Floats]]:
    """(File, *names) and [2, examples] scores and weights; files without weights are of examples that weigh alike."""
    if not paths:
        return
    weighted = "weight" in pl.read_parquet_schema(paths[0])
    files = pl.scan_parquet(paths, include_file_paths=_FILE, missing_columns="insert", extra_columns="ignore")
    weight = pl.col("weight").cast(pl.Float64).fill_null(1.0) if weighted else pl.lit(1.0).alias("weight")
    table = files.select(_FILE, *names, pl.col("score").cast(pl.Float64), weight).collect()
    groups = table.group_by(_FILE, *names, maintain_order=True).agg("score", "weight")
    values = np.stack([groups[column].explode().to_numpy() for column in ("score", "weight")])
    ends = groups["score"].list.len().cum_sum().to_list()
    for place, name in enumerate(groups.select(_FILE, *names).iter_rows()):
        yield name, values[:, ends[place - 1] if place else 0 : ends[place]]
