"""Read what stages left behind: from the store (the truth), or from a W&B server.

frame = tidy(store_records(root))                 # one row per measured value
frame = tidy(wandb_server_records(Place("us", "retain", "sandbox"), cache))
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from analysis.records.frame import MEASURED, NOTHING, Record
from analysis.records.wandb_api import Fragment, Place, WandbError, connect, read_measured, runs_of
from trainers.collector import uncollected
from trainers.stage import Stage
from trainers.stage.scores import Score
from trainers.store import StageEntry, Store
from trainers.store.tracking import step_axis

_MEASURED_LINE = re.compile(rb'\{"event": "measured", [^\n]*\}(?=\n)')
"""Whole: one torn by a crash, or still being written, is passed over.  A long training's events are nearly all `step`s:
what is looked for is found without going through their lines."""
PARSED_AT_ONCE = 50_000
"""Lines: for each stage, or each line, a call would cost far more than the values themselves."""


# -- the store ------------------------------------------------------------------------------------------------


@uncollected()
def store_records(root: Path, keys: Set[str] | None = None) -> list[Record]:
    """One record per stage that was begun, by key.

    Raises:
        ValueError: a stage.json is no stage of this version.
    """
    entries = [entry for entry in Store(root).entries() if keys is None or entry.key in keys]
    begun, counts = [], [0]
    lines: list[bytes] = []
    values: list[Future[pl.DataFrame]] = []
    with ThreadPoolExecutor(1) as beside:
        for entry in entries:
            events = _content(entry.folder / "events.jsonl")
            found = _MEASURED_LINE.findall(events)
            lines += found
            counts.append(counts[-1] + len(found))
            begun.append(_begun(entry, events))
            if len(lines) >= PARSED_AT_ONCE or entry is entries[-1]:
                values.append(beside.submit(_values, lines))
                lines = []
    measured = pl.concat([future.result() for future in values], rechunk=True) if values else NOTHING
    return [record_with(measured[start:end]) for record_with, (start, end) in zip(begun, pairwise(counts), strict=True)]


def _values(lines: list[bytes]) -> pl.DataFrame:
    return pl.read_ndjson(b"\n".join(lines), schema=MEASURED) if lines else NOTHING


def _begun(entry: StageEntry, events: bytes) -> Callable[[pl.DataFrame], Record]:
    """A stage's record, still to be given what it measured."""
    try:
        stage = entry.stage
    except ValueError as error:
        raise ValueError(f"{entry.folder / 'stage.json'} is not a stage of this version: {error}") from error
    provenance = json.loads(_content(entry.folder / "provenance.json", missing=b"{}"))
    return partial(Record, stage, _scale(events), entry.result, provenance=provenance)


def _scale(events: bytes) -> dict[str, Any]:
    """What the first attempt says of the encoder, which all say alike; nothing where none got so far."""
    for line in BytesIO(events):
        if line.startswith(b'{"event": "attempt", '):
            with suppress(ValueError):  # torn
                return json.loads(line)["scale"]
    return {}


def _content(path: Path, missing: bytes = b"") -> bytes:
    """Of a file, or what stands for it where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return missing


# -- W&B ------------------------------------------------------------------------------------------------------


def wandb_server_records(place: Place, cache: Path, keys: Set[str] | None = None) -> list[Record]:
    """One record per run of a sweep, by key; runs that are no stages are passed over.

    Args:
        cache: a folder; runs that have not changed since they were read are taken from it.
        keys: only these stages, in whichever group; all of the sweep's group where None.

    Raises:
        WandbError: W&B cannot be asked, or has no such runs.
        StoreError: the cache cannot be written.
    """
    from rich.console import Console
    from rich.progress import track

    runs = [run for run in runs_of(connect(), place, keys or ()) if keys is None or run.id in keys]
    if not runs:
        raise WandbError(f"{place} has no runs of this sweep; `retain wandb sync` sends those of a store")
    screen = Console(stderr=True)
    shown = track(sorted(runs, key=lambda run: run.id), "W&B", console=screen, disable=not screen.is_terminal)
    fragments = [read_measured(run, cache / place.entity / place.project) for run in shown]
    return [wandb_record([fragment]) for fragment in fragments if is_stage(fragment)]


def is_stage(fragment: Fragment) -> bool:
    """Whether a run is a stage's: people's own runs may lie beside, and call anything a stage."""
    stage = fragment.config.get("stage")
    return isinstance(stage, dict) and "schema_version" in stage


def wandb_record(fragments: Sequence[Fragment]) -> Record:
    """What the fragments of a stage's run say together, in the order in which they were written."""
    config: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for fragment in fragments:
        config.update(fragment.config)
        curves.update(fragment.config.get("curves", {}))
        summary.update(fragment.summary)
    try:
        stage = Stage.model_validate(config["stage"])
    except ValueError as error:
        raise ValueError(f"W&B's run {fragments[0].run_id} is not a stage of this version: {error}") from error
    axis = step_axis(stage)
    measured: list[tuple[Any, ...]] = []
    for row in (row for fragment in fragments for row in fragment.history):
        for name in row.keys() & curves.keys():
            measure, task, language, metric = name.split("/", 3)
            measured.append((row[axis], *Score(measure, task, language, metric, float(row[name]), **curves[name])))
    values = pl.DataFrame(measured, schema=MEASURED, orient="row")
    # W&B keeps no empty objects: of a stage that no attempt has reached there is no scale.
    return Record(stage, config.get("scale", {}), summary if "outcome" in summary else None, values)
