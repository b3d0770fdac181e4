"""A search, point by point, and what may be compared: of each arm the best point, of each training the last attempt.

The best point is chosen by English development score and never by a test: first the points with the most seeds that
did not diverge, of these the highest mean.  Retrieval has no development score and goes by its intermediate's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.inference.statistics import UNDEFINED, Bootstrap, Estimate
from analysis.measures.transfer import Scores, languages_by_target
from analysis.records.frame import primary, settings
from analysis.records.measurements import Arm, Measurements, usable

DEVELOPMENT = "development"
_ARM = ["kind", "scale", "intermediate", "trained", "ends"]


@dataclass(frozen=True)
class PointScore:
    """One training at one point of a search; values over the seeds that completed."""

    arm: Arm
    development: Estimate
    """English development score of what is trained on; of several tasks the mean."""
    zero_shot: Estimate
    """Mean over the target's languages, English included, then over targets; undefined for an intermediate."""
    retention: Estimate
    """R(T) of the intermediate through its stored head, English, of several tasks the mean; undefined if not probed."""
    best: bool
    """Of its training's points, the one with the highest development score."""

    @property
    def settings(self) -> dict[str, str]:
        return settings(self.arm.variant)


def last_attempts(stages: pl.DataFrame) -> pl.DataFrame:
    """Without the attempts that diverged and were made again.

    Args:
        stages: `analysis.records.frame.STAGE_SCHEMA`.
    """
    return stages.filter(pl.col("retry") == pl.col("retry").max().over("first_attempt"))


def best_keys(stages: pl.DataFrame, frame: pl.DataFrame) -> list[str]:
    """Keys of the stages at the best point of each arm; all of an arm's where it has one point.

    Where an arm has several points and none has a development score, none is the best; where nothing of it may be
    averaged anyway, all are kept, so that it is still shown.
    """
    development = primary(frame).filter(pl.col("measure") == DEVELOPMENT).group_by("key").agg(score=pl.mean("value"))
    # Of what was trained last: the stage itself, or the intermediate that is evaluated.
    trained = pl.when(pl.col("trained") == "").then("parent").otherwise("key")
    found = (
        last_attempts(stages)
        .with_columns(
            ends=pl.col("targets").list.join("+"),
            usable=pl.col("key").is_in(usable(stages)["key"].implode()),
            scored=trained,
        )
        .join(development, left_on="scored", right_on="key", how="left")
    )
    good = pl.col("usable") & pl.col("score").is_not_null()
    ranked = (
        found.group_by(*_ARM, "variant")
        .agg("key", pl.sum("usable"), seeds=good.sum(), mean=pl.col("score").filter(good).mean())
        .sort("seeds", "mean", "variant", descending=[True, True, False], nulls_last=True)
        .with_columns(
            place=pl.int_range(pl.len()).over(_ARM), points=pl.len().over(_ARM), alive=pl.sum("usable").over(_ARM)
        )
    )
    best = (pl.col("place") == 0) & ((pl.col("points") == 1) | (pl.col("seeds") > 0))
    return ranked.filter(best | (pl.col("alive") == 0)).explode("key")["key"].to_list()


def compared(stages: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """The stages that arms are compared by, and all intermediates, which the others start from."""
    best = pl.Series(best_keys(stages, frame), dtype=pl.String)
    return stages.filter((pl.col("kind") == "intermediate") | pl.col("key").is_in(best.implode()))


def point_scores(
    found: Sequence[Arm],
    finals: Mapping[tuple[Arm, str], Estimate],
    best: Sequence[str],
    measurements: Measurements,
    bootstrap: Bootstrap,
) -> list[PointScore]:
    """One per arm.

    Args:
        found: intermediates and targets at every point.
        finals: of these arms and more, `analysis.measures.curves.final_means`.
        best: `best_keys`.
    """
    return [
        PointScore(
            arm,
            _development(arm, measurements, bootstrap),
            _zero_shot(arm, measurements, bootstrap),
            finals.get((arm, "stored"), UNDEFINED),
            bool(arm.variant) and set(arm.ordered_keys) <= set(best),
        )
        for arm in found
    ]


def training(point: PointScore) -> tuple[str, str, tuple[str, ...]]:
    """What the points of one search have in common."""
    return point.arm.scale, point.arm.intermediate, point.arm.targets


def numbers(values: Iterable[str]) -> list[float]:
    """The values of an axis; none where they are not numbers."""
    try:
        return [float(value) for value in values]
    except ValueError:
        return []


def _development(arm: Arm, measurements: Measurements, bootstrap: Bootstrap) -> Estimate:
    found = [
        measurements.examples(arm.ordered_keys, DEVELOPMENT, task, language, steps[-1:])
        for task, language in measurements.pairs(arm.ordered_keys, DEVELOPMENT)
        if (steps := measurements.steps(arm.ordered_keys, DEVELOPMENT, task, language))
    ]
    if not found:
        return UNDEFINED
    mean = np.mean([part.by_seed.mean() for part in found])
    return bootstrap.estimate(
        float(mean), np.mean([bootstrap.means(part)[:, 0] for part in found], axis=0), len(arm.seeds)
    )


def _zero_shot(arm: Arm, measurements: Measurements, bootstrap: Bootstrap) -> Estimate:
    scores = [
        Scores(arm.ordered_keys, target, languages, measurements, bootstrap)
        for target, languages in languages_by_target(arm.ordered_keys, measurements).items()
    ]
    if not scores:
        return UNDEFINED
    mean = np.mean([target.value.mean() for target in scores])
    return bootstrap.estimate(
        float(mean), np.mean([target.samples.mean(axis=1) for target in scores], axis=0), len(arm.seeds)
    )
