"""Frames of measurements, read in each way that there is; two are one if each value is the same to the last bit."""

from __future__ import annotations

from collections.abc import Set
from functools import partial
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from analysis.records.frame import tidy
from analysis.records.gather import is_stage, store_records, wandb_record, wandb_server_records
from analysis.records.wandb_api import Place
from tests.analysis.wandb_files import read_runs

assert_same = partial(assert_frame_equal, check_exact=True)
"""`DataFrame.equals` takes 1 for 1.0."""


def gather_store(root: Path, keys: Set[str] | None = None) -> pl.DataFrame:
    """Every value that the store's stages measured, as the analysis reads it."""
    return tidy(store_records(root, keys))


def gather_wandb_server(place: Place, cache: Path, keys: Set[str] | None = None) -> pl.DataFrame:
    """The same frame from a W&B server."""
    return tidy(wandb_server_records(place, cache, keys))


def gather_wandb_files(folder: Path, keys: Set[str] | None = None) -> pl.DataFrame:
    """The same frame from W&B's offline files: fragments merged in start order, runs that are no stages passed over."""
    runs = {key: fragments for key, fragments in read_runs(folder).items() if keys is None or key in keys}
    return tidy([wandb_record(fragments) for fragments in runs.values() if any(map(is_stage, fragments))])
