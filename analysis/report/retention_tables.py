"""The report's tables of retention: in numbers, the shape of its loss, its slopes over scale."""

from __future__ import annotations

import math

from analysis.inference.statistics import UNDEFINED
from analysis.measures.curves import Curve
from analysis.report.findings import DASH
from analysis.report.table import Column, Shown, Table, count, estimate, label, number, table_of, words
from analysis.study import Study
from trainers.stage.languages import ENGLISH

CURVE = (label("scale"), label("training"), label("head"), count("seeds"))


def retention_table(study: Study) -> Table:
    """Every English curve, with why it is undefined where it is."""
    layout = (
        *CURVE,
        estimate("R(T)"),
        estimate("area under R"),
        Column("half-life (steps)", lambda steps, last: Shown(_whole(steps, last)), unwritten=(" last",)),
        estimate("backward transfer", sign=True),
        estimate("forgetting"),
        words("why undefined"),
    )
    rows = [
        (
            *_curve(curve),
            curve.final,
            curve.area,
            (curve.half_life, curve.steps[-1]),
            curve.backward_transfer,
            curve.forgetting,
            curve.undefined or None,
        )
        for curve in study.curves
        if curve.language == ENGLISH
    ]
    return table_of(layout, rows)


def shape_table(study: Study) -> Table:
    """The form that each defined English curve has, what it loses, and what stays."""
    layout = (
        *CURVE,
        words("form"),
        number("error left out", ".3f"),
        Column("half-life (steps)", _show_steps, ("", " low", " high"), unwritten=(" last",)),
        estimate("asymptote"),
    )
    rows = [
        (
            *_curve(curve),
            curve.fit.form or curve.fit.undefined,
            curve.fit.error,
            (curve.fit.half_life.value, curve.fit.half_life.low, curve.fit.half_life.high, curve.steps[-1]),
            curve.fit.asymptote,
        )
        for curve in study.curves
        if curve.language == ENGLISH and not curve.undefined
    ]
    return table_of(layout, rows)


def trend_table(study: Study) -> Table:
    """Slopes of R(T) on scale, overall and within each LayerNorm family."""
    families = sorted({family for trend in study.trends for family in trend.within})
    slopes = ("slope per tenfold parameters", "at equal placement", *(f"within {family}-LN" for family in families))
    layout = (
        label("training"),
        label("head"),
        label("scales"),
        count("fewest seeds"),
        *(estimate(name, sign=True) for name in slopes),
    )
    rows = [
        (
            trend.smallest.path,
            trend.smallest.head,
            ", ".join(trend.scales),
            trend.seeds,
            trend.overall,
            trend.adjusted,
            *(trend.within.get(family, UNDEFINED) for family in families),
        )
        for trend in study.trends
    ]
    return table_of(layout, rows)


def _curve(curve: Curve) -> tuple:
    return curve.arm.scale, curve.path, curve.head, len(curve.seeds)


def _show_steps(value: float, low: float, high: float, last: float) -> Shown:
    """In whole steps."""
    known = math.isfinite(value) and not math.isnan(low)
    return Shown(_whole(value, last), f"[{low:.0f}, {_whole(high, last)}]" if known else "")


def _whole(steps: float, last: float) -> str:
    """What lies beyond the last probed step is said to."""
    if math.isnan(steps):
        return DASH
    return f"> {last:.0f}" if math.isinf(steps) else f"{steps:.0f}"
