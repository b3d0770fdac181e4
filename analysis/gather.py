"""Read what stages left behind: from the store (the truth), or from the W&B files beside it.

frame = gather_store(root)                        # one row per measured value
frame = gather_wandb_files(root / "wandb")        # the same rows
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from analysis.frame import MEASURED, Record, tidy
from analysis.wandb_files import Fragment, read_runs
from trainers.scores import Score
from trainers.stage import Stage
from trainers.store import StageEntry, Store
from trainers.tracking import step_axis


def gather_store(root: Path, keys: Set[str] | None = None) -> pl.DataFrame:
    """Every value that the store's stages measured, unfinished stages included (outcome `running`).

    Args:
        keys: only these stages; all where None.

    Returns:
        One row per value (`analysis.frame.SCHEMA`).

    Raises:
        ValueError: a stage.json is no stage of this version.
    """
    return tidy(store_records(root, keys))


def gather_wandb_files(folder: Path, keys: Set[str] | None = None) -> pl.DataFrame:
    """The same frame from W&B's offline files.

    Args:
        folder: W&B's folder, `<store>/wandb`.

    Raises:
        ValueError: a file is damaged or not W&B's.
    """
    return tidy(wandb_records(folder, keys))


# -- the store ------------------------------------------------------------------------------------------------


def store_records(root: Path, keys: Set[str] | None = None) -> list[Record]:
    """One record per stage that was begun, by key.

    Raises:
        ValueError: a stage.json is no stage of this version.
    """
    entries = Store(root).entries()
    return [_store_record(entry) for entry in entries if keys is None or entry.key in keys]


def _store_record(entry: StageEntry) -> Record:
    try:
        stage = entry.stage
    except ValueError as error:
        raise ValueError(f"{entry.folder / 'stage.json'} is not a stage of this version: {error}") from error
    attempts, measured = _events(entry.folder / "events.jsonl")
    scale = attempts[-1]["scale"] if attempts else {}
    return Record(stage, scale, entry.result, measured, _provenance(entry))


def _events(path: Path) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Attempts and measurements (`MEASURED`); a line torn by a crash is passed over.

    A long training's events are nearly all `step`s: their lines are skipped unparsed, which makes reading 20 times
    faster.
    """
    attempts: list[bytes] = []
    measured: list[bytes] = []
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if b'"measured"' in line:
                    measured.append(line)
                elif b'"attempt"' in line:
                    attempts.append(line)
    return [event for event in _whole(attempts) if event.get("event") == "attempt"], _measured(measured)


def _measured(lines: list[bytes]) -> pl.DataFrame:
    schema = {"event": pl.String, **MEASURED}
    try:
        found = pl.read_ndjson(b"".join(lines), schema=schema) if lines else pl.DataFrame(schema=schema)
    except pl.exceptions.ComputeError:  # a torn line among them
        found = pl.DataFrame(list(_whole(lines)), schema=schema)
    return found.filter(pl.col("event") == "measured").select(list(MEASURED))


def _whole(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)


def _provenance(entry: StageEntry) -> dict[str, Any]:
    path = entry.folder / "provenance.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


# -- W&B ------------------------------------------------------------------------------------------------------


def wandb_records(folder: Path, keys: Set[str] | None = None) -> list[Record]:
    """One record per run, its fragments merged in start order; runs that are no stages are passed over.

    Raises:
        ValueError: a file is damaged or not W&B's.
    """
    runs = read_runs(folder)
    return [
        _wandb_record(fragments)
        for key, fragments in runs.items()
        if (keys is None or key in keys) and any("stage" in fragment.config for fragment in fragments)
    ]


def _wandb_record(fragments: list[Fragment]) -> Record:
    config: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for fragment in fragments:
        config.update(fragment.config)
        curves.update(fragment.config.get("curves", {}))
        summary.update(fragment.summary)
    stage = Stage.model_validate(config["stage"])
    axis = step_axis(stage)
    measured = []
    for row in (row for fragment in fragments for row in fragment.history):
        for name in row.keys() & curves.keys():
            measure, task, language, metric = name.split("/", 3)
            score = Score(measure, task, language, metric, float(row[name]), **curves[name])
            measured.append((row[axis], score))
    values = pl.DataFrame([(at, *score) for at, score in measured], schema=MEASURED, orient="row")
    return Record(stage, config["scale"], summary if "outcome" in summary else None, values)
