"""A study: everything computed from one sweep's stages that figures, tables and sentences share.

study = analyse(store_records(root, keys), examples, Bootstrap(np.random.default_rng(0)))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from analysis.curves import (
    Curve,
    HeadComparison,
    Trend,
    final_means,
    head_comparisons,
    pooled_slopes,
    retention_curves,
    scale_trends,
)
from analysis.frame import Record, stage_table, tidy
from analysis.measurements import Arm, Measurements, arms, usable
from analysis.multilinguality import NORMED, PLAIN, LayerCurve, layer_curves
from analysis.replication import Replicated, replicated
from analysis.search import PointScore, best_keys, compared, last_attempts, point_scores
from analysis.statistics import Bootstrap, Estimate
from analysis.transfer import Cell, MeanGain, cells, mean_gains


@dataclass(frozen=True)
class Study:
    """What came out."""

    stages: pl.DataFrame
    """`analysis.frame.STAGE_SCHEMA`, unfinished and diverged stages included."""
    compared: pl.DataFrame
    """Those that everything but `points` rests on: last attempts, at the best point of a search."""
    frame: pl.DataFrame
    """`analysis.frame.SCHEMA`"""
    arms: list[Arm]
    """Of target trainings that completed."""
    curves: list[Curve]
    trends: list[Trend]
    pooled_slopes: dict[str, Estimate]
    """Head → mean slope over all trends."""
    adjusted_slopes: dict[str, Estimate]
    """The same at equal LayerNorm placement."""
    heads: list[HeadComparison]
    finals: dict[tuple[Arm, str], Estimate]
    """Arm and head → R(T) in English, the mean over its probed tasks where it is defined."""
    cells: list[Cell]
    mean_gains: list[MeanGain]
    replicated: list[Replicated]
    layers: list[LayerCurve]
    normed_layers: list[LayerCurve]
    """Of pre-LN encoders, whose residuals no LayerNorm has touched: retrieval after the final one."""
    points: list[PointScore]
    """Of a search; empty without one."""
    has_examples: bool
    """Whether intervals cover examples, too, or only seeds."""

    @cached_property
    def scales(self) -> list[str]:
        """From small to large."""
        ordered = self.stages.sort("non_embedding_parameters", "scale", nulls_last=True)
        return ordered["scale"].unique(maintain_order=True).to_list()

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds of the trainings that completed."""
        return sorted(usable(self.stages).filter(pl.col("kind") != "retrieval")["seed"].unique().to_list())

    @cached_property
    def fewest_seeds(self) -> int:
        """The number of seeds of the arm that has the fewest; 0 where none completed."""
        return min((len(arm.seeds) for arm in self.arms), default=0)


XTREME_DEPTH = 7 / 12
"""Layer 14 of 24: where XTREME and X-STILTs retrieve."""


def analyse(
    records: Sequence[Record],
    examples: Iterable[tuple[str, pl.DataFrame]],
    bootstrap: Bootstrap,
    retrieval_depth: float = XTREME_DEPTH,
) -> Study:
    """Compute every estimate; diverged and unfinished stages are listed and never averaged in.

    Args:
        records: what the stages left behind.
        examples: stage key and `analysis.gather.per_example`; nothing where only W&B was read.
        retrieval_depth: share of the layers at which retrieval is compared, fixed by the sweep.

    Raises:
        ValueError: the stages are of more than one sweep.
    """
    stages, frame = stage_table(records), tidy(records)
    measurements = Measurements(frame, examples)
    last = last_attempts(stages)
    ends = compared(stages, frame)
    targets, at_all_points, retrieved = arms(ends, "target"), arms(last, "target"), arms(ends, "retrieval")
    every_curve = retention_curves(at_all_points, measurements, bootstrap)
    curves = [curve for curve in every_curve if curve.arm in targets]
    finals = final_means(every_curve, bootstrap)
    points: list[PointScore] = []
    if (stages["variant"] != "").any():
        found = [*arms(last, "intermediate"), *at_all_points]
        points = point_scores(found, finals, best_keys(stages, frame), measurements, bootstrap)
    trends = scale_trends(curves, bootstrap)
    table = cells(targets, measurements, bootstrap)
    return Study(
        stages,
        ends,
        frame,
        targets,
        curves,
        trends,
        pooled_slopes(trends, bootstrap),
        pooled_slopes(trends, bootstrap, at_equal_placement=True),
        head_comparisons(curves, bootstrap),
        finals,
        cells=table,
        mean_gains=mean_gains(table, bootstrap),
        replicated=replicated(table, bootstrap),
        layers=layer_curves(retrieved, PLAIN, measurements, bootstrap, retrieval_depth),
        normed_layers=layer_curves(retrieved, NORMED, measurements, bootstrap, retrieval_depth),
        points=points,
        has_examples=measurements.has_examples,
    )
