"""A study as the store has it now: gathered, named as the plan names it, and analysed."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from analysis.examples import ExampleFiles, no_examples
from analysis.frame import Record, with_planned
from analysis.gather import store_records, wandb_records, wandb_server_records
from analysis.statistics import RESAMPLES, Bootstrap
from analysis.study import XTREME_DEPTH, Study, analyse
from analysis.wandb_api import Place
from trainers.stage import Stage

Source = Literal["store", "wandb"] | Place


@dataclass(frozen=True)
class Reading:
    """What was read, and what came out of it."""

    records: list[Record]
    study: Study
    bootstrap: Bootstrap
    """That which drew the study."""


def read_study(
    store_root: Path,
    keys: Set[str],
    planned: Sequence[Stage] = (),
    *,
    source: Source = "store",
    resamples: int = RESAMPLES,
    seed: int = 0,
    retrieval_depth: float = XTREME_DEPTH,
) -> Reading:
    """Gather and analyse the stages of one sweep; an unfinished or empty store is as good as a full one.

    Args:
        keys: the sweep's stages.
        planned: the plan's stages, so that those never begun can be named.
        source: `store`, `wandb` for the offline files beside it, or a place in W&B (these two have no scores of single
            examples, so that intervals cover seeds only).
        resamples: of the bootstrap.
        seed: of the bootstrap; the same store, keys and seed give the same study.
        retrieval_depth: share of the layers at which retrieval is compared, fixed by the sweep.

    Raises:
        ValueError: a W&B file is damaged, a stage is of another version, or the keys are of more than one sweep.
        WandbError: W&B cannot be asked, or has no runs of the sweep.
    """
    records = _records(store_root, keys, source)
    examples = ExampleFiles(store_root) if source == "store" else no_examples
    records = with_planned(records, (stage for stage in planned if stage.key in keys))
    bootstrap = Bootstrap(np.random.default_rng(seed), resamples)
    return Reading(records, analyse(records, examples, bootstrap, retrieval_depth), bootstrap)


def _records(store_root: Path, keys: Set[str], source: Source) -> list[Record]:
    if isinstance(source, Place):
        return wandb_server_records(source, store_root / "wandb-cache", keys)
    return store_records(store_root, keys) if source == "store" else wandb_records(store_root / "wandb", keys)
