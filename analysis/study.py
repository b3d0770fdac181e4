"""A study: everything computed from one sweep's stages that figures, tables and sentences share.

study = analyse(store_records(root, keys), examples, Bootstrap(np.random.default_rng(0)))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from analysis.inference.statistics import Bootstrap, Estimate
from analysis.measures.curves import Curve, HeadComparison, final_means, head_comparisons
from analysis.measures.differences import GridGain, gain_grids
from analysis.measures.multilinguality import LayerCurve
from analysis.measures.replication import Replicated, replicated
from analysis.measures.search import PointScore, best_keys, compared, last_attempts, point_scores
from analysis.measures.transfer import Cell, MeanGain, mean_gains
from analysis.measures.trends import Trend, pooled_slopes, scale_trends
from analysis.pieces import measure_all
from analysis.records.examples import ExampleSource
from analysis.records.frame import Record, stage_table, tidy
from analysis.records.measurements import Arm, Measurements, arms, usable


@dataclass(frozen=True)
class Study:
    """What came out."""

    stages: pl.DataFrame
    """`analysis.records.frame.STAGE_SCHEMA`, unfinished and diverged stages included."""
    compared: pl.DataFrame
    """Those that everything but `points` rests on: last attempts, at the best point of a search."""
    frame: pl.DataFrame
    """`analysis.records.frame.SCHEMA`"""
    arms: list[Arm]
    """Of target trainings that completed."""
    curves: list[Curve]
    trends: list[Trend]
    pooled_slopes: dict[str, Estimate]
    """Head → mean slope over its pooled trends."""
    adjusted_slopes: dict[str, Estimate]
    """The same at equal LayerNorm placement."""
    heads: list[HeadComparison]
    finals: dict[tuple[Arm, str], Estimate]
    """Arm and head → R(T) in English, the mean over its probed tasks where it is defined."""
    cells: list[Cell]
    mean_gains: list[MeanGain]
    replicated: list[Replicated]
    grids: list[GridGain]
    """Gains of intermediate × target at each scale, and their differences between scales."""
    layers: list[LayerCurve]
    normed_layers: list[LayerCurve]
    """Of pre-LN encoders, whose residuals no LayerNorm has touched: retrieval after the final one."""
    points: list[PointScore]
    """Of a search; empty without one."""
    has_examples: bool
    """Whether intervals cover examples, too, or only seeds."""
    fingerprint: str = ""
    """Of what it was read from (`analysis.records.basis`)."""

    @cached_property
    def scales(self) -> list[str]:
        """From small to large."""
        return scales_in(self.stages)

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds of the trainings that completed."""
        return sorted(usable(self.stages).filter(pl.col("kind") != "retrieval")["seed"].unique().to_list())

    @cached_property
    def fewest_seeds(self) -> int:
        """The number of seeds of the arm that has the fewest; 0 where none completed."""
        return min((len(arm.seeds) for arm in self.arms), default=0)


def scales_in(stages: pl.DataFrame) -> list[str]:
    """From small to large; those whose size nobody knows yet come last."""
    ordered = stages.sort("non_embedding_parameters", "scale", nulls_last=True)
    return ordered["scale"].unique(maintain_order=True).to_list()


XTREME_DEPTH = 7 / 12
"""Layer 14 of 24: where XTREME and X-STILTs retrieve."""


def analyse(
    records: Sequence[Record],
    examples: ExampleSource,
    bootstrap: Bootstrap,
    retrieval_depth: float = XTREME_DEPTH,
) -> Study:
    """Compute every estimate; diverged and unfinished stages are listed and never averaged in.

    Args:
        records: what the stages left behind.
        examples: looks up the scores of single examples (`analysis.records.examples`).
        retrieval_depth: share of the layers at which retrieval is compared, fixed by the sweep.

    Raises:
        ValueError: the stages are of more than one sweep.
    """
    stages, frame = stage_table(records), tidy(records)
    last = last_attempts(stages)
    ends = compared(stages, frame)
    targets, at_all_points, retrieved = arms(ends, "target"), arms(last, "target"), arms(ends, "retrieval")
    pieces = measure_all(frame, at_all_points, targets, retrieved, examples, bootstrap, retrieval_depth)
    curves = [curve for curve in pieces.curves if curve.arm in targets]
    finals = final_means(pieces.curves, bootstrap)
    points: list[PointScore] = []
    if (stages["variant"] != "").any():
        found = [*arms(last, "intermediate"), *at_all_points]
        measurements = Measurements(frame, examples)
        points = point_scores(found, finals, best_keys(stages, frame), measurements, bootstrap)
    trends = scale_trends(curves, bootstrap)
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
        cells=pieces.cells,
        mean_gains=mean_gains(pieces.cells, bootstrap),
        replicated=replicated(pieces.cells, bootstrap),
        grids=gain_grids(pieces.cells, pieces.layers, scales_in(stages), bootstrap),
        layers=pieces.layers,
        normed_layers=pieces.normed_layers,
        points=points,
        has_examples=pieces.has_examples,
    )
