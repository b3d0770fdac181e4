"""What a training through an intermediate takes, beside what it brings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from analysis.inference.statistics import Estimate
from analysis.report.figures.vegalite import (
    DIGITS,
    OKABE_ITO,
    SHAPES,
    Rows,
    Spec,
    bars,
    field,
    filled,
    interval,
    named,
    rule,
    tooltip,
)
from analysis.report.figures.views import View
from analysis.report.findings import listed
from analysis.study import Study

UNITS = (("hours", 1), ("minutes", 60), ("seconds", 3600))
"""Name, and how many make an hour."""


@dataclass(frozen=True)
class CostAndGain:
    """One intermediate at one scale."""

    scale: str
    intermediate: str
    hours: float
    """Wall time of one intermediate training and one target training, whatever they ran on: the mean of each, added."""
    gain: Estimate
    """Mean over targets and languages."""
    targets: tuple[str, ...]
    """These, the same for all."""


def costs_and_gains(study: Study) -> list[CostAndGain]:
    """Every intermediate that has a gain over all targets and whose finished stages tell their time."""
    trainings = study.compared.filter(pl.col("seconds").is_not_null(), pl.col("kind") != "retrieval")
    by_kind = trainings.group_by("scale", "intermediate", "kind").agg(pl.mean("seconds"))
    hours = by_kind.group_by("scale", "intermediate").agg(pl.sum("seconds") / 3600)
    took = {(scale, intermediate): hour for scale, intermediate, hour in hours.iter_rows()}
    return [
        CostAndGain(row.scale, row.intermediate, took[row.scale, row.intermediate], row.gain, row.targets)
        for row in study.replicated
        if took.get((row.scale, row.intermediate), 0) > 0 and not math.isnan(row.gain.value)
    ]


def time_unit(longest: float) -> tuple[str, int]:
    """The largest of UNITS in which the longest time, in hours, is one or more."""
    return next((unit for unit in UNITS if longest * unit[1] >= 1), UNITS[-1])


def cost_against_gain(study: Study) -> View | None:
    """Mean gain against the time of an intermediate and a target training, one panel a scale."""
    known = costs_and_gains(study)
    if not known:
        return None
    unit, per_hour = time_unit(max(row.hours for row in known))
    rows: Rows = [
        {
            "k": row.scale,
            "i": row.intermediate,
            "c": float(f"{row.hours * per_hour:.{DIGITS}g}"),
            "sure": bool(row.gain.differs_from_zero),
            **interval(row.gain),
        }
        for row in known
    ]
    names = sorted({row["i"] for row in rows})
    x = field("c", unit, scale={"zero": False, "padding": 12}, axis={"tickCount": 4})
    y = field("v", "mean gain over targets", axis={"tickCount": 6})
    colour = named("i", "intermediate", names, OKABE_ITO)
    # With five shapes and seven colours, which have no divisor in common, 35 intermediates look different.
    shape = named("i", "intermediate", names, SHAPES[:5])
    shown = {"i": "intermediate", "k": "scale", "c": unit, "v": "gain", "l": "low", "u": "high"}
    point = {"x": x, "y": y, "color": colour, "stroke": colour, "shape": shape, "tooltip": tooltip(shown)}
    layers: list[Spec] = [
        rule("y", 0),
        bars(x, y, {"color": colour}, opacity=0.5),
        {
            "mark": {"type": "point", "filled": True, "size": 70, "strokeWidth": 1.5},
            "encoding": {**point, **filled("datum.sure")},
        },
    ]
    return View(
        "cost-against-gain",
        "what each intermediate adds, against the time of its training and a target’s",
        "Mean time of one intermediate training and one target training (wall time of the job, whatever it ran on) "
        f"against the gain, the mean over {listed(known[0].targets)} and their languages, with 95 % intervals. "
        "Filled: different from 0 in its interval. Each scale has its own axis of time.",
        rows,
        layers,
        panels=[scale for scale in study.scales if any(row["k"] == scale for row in rows)],
        columns=len(study.scales),
        independent={"x": "independent"},
    )
