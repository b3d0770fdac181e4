"""A study as the store has it now: gathered, named as the plan names it, and analysed."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from analysis.inference.statistics import RESAMPLES, Bootstrap
from analysis.records.basis import MISSING, Basis, results_of
from analysis.records.examples import ExampleFiles, no_examples
from analysis.records.frame import Record, with_planned
from analysis.records.gather import store_records, wandb_server_records
from analysis.records.wandb_api import Place
from analysis.study import XTREME_DEPTH, Study, analyse
from trainers.stage import Stage

Source = Literal["store"] | Place


@dataclass(frozen=True)
class Reading:
    """What was read, and what came out of it."""

    store: Path
    records: list[Record]
    study: Study
    bootstrap: Bootstrap
    """That which drew the study."""
    basis: Basis
    """What both rest on."""


def source_of(text: str) -> Source:
    """
    Raises:
        ValueError: it is no source.
    """
    return "store" if text == "store" else Place.parse(text)


def read_study(
    store: Path,
    keys: Set[str],
    sweep: str,
    planned: Sequence[Stage] = (),
    *,
    source: Source = "store",
    resamples: int = RESAMPLES,
    seed: int = 0,
    retrieval_depth: float = XTREME_DEPTH,
) -> Reading:
    """Gather and analyse the stages of one sweep; an unfinished or empty store is as good as a full one.

    Args:
        keys: the sweep's stages; those that were never begun are counted as missing.
        sweep: its name.
        planned: the plan's stages, so that those never begun can be named.
        source: `store`, or a place in W&B, which has no scores of single examples: then intervals cover seeds only.
        resamples: of the bootstrap.
        seed: of the bootstrap; the same store, keys and seed give the same study.
        retrieval_depth: share of the layers at which retrieval is compared, fixed by the sweep.

    Raises:
        ValueError: a stage is of another version, or the keys are of more than one sweep.
        WandbError: W&B cannot be asked, or has no runs of the sweep.
    """
    records = with_planned(_records(store, keys, source), (stage for stage in planned if stage.key in keys))
    results = {**dict.fromkeys(sorted(keys), MISSING), **results_of(records)}
    basis = Basis(
        sweep=sweep,
        source=str(source),
        retrieval_depth=retrieval_depth,
        resamples=resamples,
        seed=seed,
        results=results,
    )
    return _analysed(store, records, basis)


def read_again(store: Path, basis: Basis, planned: Sequence[Stage] = ()) -> Reading:
    """Repeat an earlier reading: what has come since is left out.

    Args:
        planned: the plan's stages, as they are now.

    Raises:
        ValueError: what was read then is no longer there.
        WandbError: W&B cannot be asked.
    """
    keys = set(basis.results)
    records = with_planned(_records(store, keys, source_of(basis.source)), (one for one in planned if one.key in keys))
    return _analysed(store, basis.restored(records), basis)


def _analysed(store: Path, records: list[Record], basis: Basis) -> Reading:
    examples = ExampleFiles(store) if basis.source == "store" else no_examples
    bootstrap = Bootstrap(np.random.default_rng(basis.seed), basis.resamples)
    study = analyse(records, examples, bootstrap, basis.retrieval_depth)
    return Reading(store, records, replace(study, fingerprint=basis.fingerprint), bootstrap, basis)


def _records(store: Path, keys: Set[str], source: Source) -> list[Record]:
    if isinstance(source, Place):
        return wandb_server_records(source, store / "wandb-cache", keys)
    return store_records(store, keys)
