"""What a training through an intermediate takes, beside what it brings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from analysis.inference.statistics import Estimate
from analysis.study import Study


@dataclass(frozen=True)
class Priced:
    """One intermediate at one scale."""

    scale: str
    intermediate: str
    hours: float
    """Wall time of one intermediate training and one target training, whatever they ran on: the mean of each, added."""
    gain: Estimate
    """Mean over targets and languages."""
    targets: tuple[str, ...]
    """These, the same for all."""


UNITS = (("hours", 1), ("minutes", 60), ("seconds", 3600))
"""Name, and how many make an hour."""


def time_unit(longest: float) -> tuple[str, int]:
    """The largest of UNITS in which the longest time, in hours, is one or more."""
    return next((unit for unit in UNITS if longest * unit[1] >= 1), UNITS[-1])


def priced(study: Study) -> list[Priced]:
    """Every intermediate that has a gain over all targets and whose finished stages tell their time."""
    trainings = study.compared.filter(pl.col("seconds").is_not_null(), pl.col("kind") != "retrieval")
    by_kind = trainings.group_by("scale", "intermediate", "kind").agg(pl.mean("seconds"))
    hours = by_kind.group_by("scale", "intermediate").agg(pl.sum("seconds") / 3600)
    took = {(scale, intermediate): hour for scale, intermediate, hour in hours.iter_rows()}
    return [
        Priced(one.scale, one.intermediate, took[one.scale, one.intermediate], one.gain, one.targets)
        for one in study.replicated
        if took.get((one.scale, one.intermediate), 0) > 0 and not math.isnan(one.gain.value)
    ]
