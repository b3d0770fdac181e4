"""Scores as XTREME aggregates them: the unweighted mean over a task's languages, English included.

Source: google-research/xtreme, evaluate.py (`evaluate`); its unit is the point, 0 to 100.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.benchmark.published import MEAN, OFFICIAL_EXAMPLES
from analysis.records.measurements import usable
from trainers.tasks import TARGETS, TASKS
from trainers.tasks.intermediates import NONE

NINE = tuple(name for name in TARGETS if TASKS[name].published)
"""XTREME's tasks."""
NAMES = {"bucc": "bucc2018"}
"""XTREME's names, where they are others."""
ENOUGH = 0.99
"""Share of the official examples that counts as all of them: the hub lost a few rows here and there."""


@dataclass(frozen=True)
class Score:
    """One scale and intermediate in one task; only official languages that every seed was scored in count."""

    scale: str
    intermediate: str
    task: str
    points: tuple[float, ...]
    """One per metric of `metrics`; empty where no stage completed."""
    seeds: int = 0
    """Completed, and averaged here."""
    diverged: int = 0
    """Diverged, or trained from an intermediate that did: never averaged."""
    unfinished: int = 0
    languages: int = 0
    examples: int = 0
    """Of all these languages, in the seed that has the fewest."""
    layer: int | None = None
    """Where retrieval was compared."""

    @property
    def overall(self) -> float:
        """What counts in XTREME's mean over tasks: of question answering (F1 + EM) / 2."""
        return float(np.mean(self.points)) if self.points else math.nan

    @property
    def gaps(self) -> list[str]:
        """In words, what of the official test is not covered."""
        found = []
        languages = len(TASKS[self.task].languages) if self.task in TASKS else 0
        examples = OFFICIAL_EXAMPLES.get(self.task, 0)
        if self.languages < languages:
            found.append(f"{self.languages} of {languages} languages")
        if self.examples < ENOUGH * examples:
            found.append(f"{self.examples:,} of {examples:,} examples")
        return found


def metrics(task: str) -> tuple[str, ...]:
    """XTREME's metrics of a task, the primary one first."""
    return ("f1", "exact_match") if TASKS[task].family == "span" else (TASKS[task].metric,)


def compared_layer(depth: float, layers: int) -> int:
    """The layer at a share of an encoder's layers: 14 of 24 at XTREME's 7/12."""
    return round(depth * layers)


def scores(stages: pl.DataFrame, frame: pl.DataFrame, retrieval_depth: float) -> list[Score]:
    """One per scale, intermediate and task that the stages were to score: scales from small to large, `none` first.

    Args:
        stages: `analysis.records.frame.STAGE_SCHEMA`, planned stages included.
        frame: `analysis.records.frame.SCHEMA`
        retrieval_depth: share of the layers at which retrieval is compared.
    """
    cells = (
        stages.filter(pl.col("kind") != "intermediate")
        .with_columns(
            pl.when(pl.col("outcome").is_in(["running", "missing"]))
            .then(pl.lit("unfinished"))
            .when(pl.col("key").is_in(usable(stages)["key"].implode()))
            .then(pl.lit("usable"))
            .otherwise(pl.lit("diverged"))
            .alias("state")
        )
        .explode("targets")
        .group_by("scale", "intermediate", "targets", maintain_order=True)
        .agg("key", "state")
    )
    tables = _tables(frame, retrieval_depth)
    found = []
    for scale, intermediate, task, keys, states in cells.iter_rows():
        good = [tables.get((key, task), _EMPTY) for key, state in zip(keys, states, strict=True) if state == "usable"]
        trouble = {"diverged": states.count("diverged"), "unfinished": states.count("unfinished")}
        found.append(_score(scale, intermediate, task, good, trouble))
    by_size = stages.sort("non_embedding_parameters", "scale", nulls_last=True)["scale"].to_list()
    return sorted(
        found,
        key=lambda score: (
            by_size.index(score.scale),
            score.intermediate != NONE,
            score.intermediate,
            TARGETS.index(score.task),
        ),
    )


def means(found: Sequence[Score]) -> list[Score]:
    """XTREME's overall score of each scale and intermediate that covers all nine tasks in full."""
    arms: dict[tuple[str, str], dict[str, Score]] = {}
    for score in found:
        if score.points and not score.gaps and score.task in NINE:
            arms.setdefault((score.scale, score.intermediate), {})[score.task] = score
    return [
        Score(
            *arm,
            MEAN,
            (float(np.mean([score.overall for score in by_task.values()])),),
            seeds=min(score.seeds for score in by_task.values()),
            diverged=max(score.diverged for score in by_task.values()),
            unfinished=max(score.unfinished for score in by_task.values()),
        )
        for arm, by_task in arms.items()
        if len(by_task) == len(NINE)
    ]


@dataclass(frozen=True)
class _Table:
    """What one stage scored in one task."""

    values: dict[str, dict[str, float]]
    """Language → metric → value."""
    examples: dict[str, int]
    layer: int | None


_EMPTY = _Table({}, {}, None)


def _tables(frame: pl.DataFrame, depth: float) -> dict[tuple[str, str], _Table]:
    """By stage and task: zero-shot scores after the last step, retrieval at the compared layer."""
    measured = frame.filter(pl.col("measure").is_in(["zero_shot", "retrieval"]))
    last = pl.col("at").max().over("key", "measure", "task")
    layer = pl.Series([compared_layer(depth, layers) for layers in measured.select(last).to_series()], dtype=pl.Int64)
    retrieved = pl.col("measure") == "retrieval"
    kept = measured.with_columns(pl.when(retrieved).then(layer).otherwise(last).alias("wanted")).filter(
        pl.col("at") == pl.col("wanted")
    )
    tables: dict[tuple[str, str], _Table] = {}
    columns = ["key", "task", "measure", "at", "language", "metric", "value", "examples"]
    for key, task, measure, at, language, metric, value, examples in kept.select(columns).iter_rows():
        table = tables.setdefault((key, task), _Table({}, {}, at if measure == "retrieval" else None))
        table.values.setdefault(language, {})[metric] = value
        table.examples[language] = examples
    return tables


def _score(scale: str, intermediate: str, task: str, seeds: list[_Table], trouble: dict[str, int]) -> Score:
    wanted = metrics(task)
    languages = [
        language
        for language in TASKS[task].languages
        if seeds and all(set(wanted) <= set(table.values.get(language, ())) for table in seeds)
    ]
    if not languages:
        return Score(scale, intermediate, task, (), **trouble)
    return Score(
        scale,
        intermediate,
        task,
        tuple(
            100 * float(np.mean([[table.values[language][metric] for language in languages] for table in seeds]))
            for metric in wanted
        ),
        seeds=len(seeds),
        languages=len(languages),
        examples=min(sum(table.examples[language] for language in languages) for table in seeds),
        layer=seeds[0].layer,
        **trouble,
    )
