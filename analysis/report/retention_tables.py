"""The report's tables of retention: in numbers, the shape of its loss, its slopes over scale."""

from __future__ import annotations

import math

from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.report.tabular import DASH, Number, Table, count, estimated, number
from analysis.study import Study
from trainers.stage.languages import ENGLISH


def retention_table(study: Study) -> Table:
    """Every English curve, with why it is undefined where it is."""
    rows = [
        (
            curve.arm.scale,
            curve.path,
            curve.head,
            count(len(curve.seeds)),
            estimated(curve.final),
            estimated(curve.area),
            Number(_whole(curve.half_life, curve.steps[-1]), {"": curve.half_life}),
            estimated(curve.backward_transfer, sign=True),
            estimated(curve.forgetting),
            curve.undefined or DASH,
        )
        for curve in study.curves
        if curve.language == ENGLISH
    ]
    return Table(
        (
            "scale",
            "training",
            "head",
            "seeds",
            "R(T)",
            "area under R",
            "half-life (steps)",
            "backward transfer",
            "forgetting",
            "why undefined",
        ),
        rows,
        names=3,
    )


def shape_table(study: Study) -> Table:
    """The form that each defined English curve has, what it loses, and what stays."""
    rows = [
        (
            curve.arm.scale,
            curve.path,
            curve.head,
            count(len(curve.seeds)),
            curve.fit.form or curve.fit.undefined,
            number(curve.fit.error, ".3f"),
            _steps(curve.fit.half_life, curve.steps[-1]),
            estimated(curve.fit.asymptote),
        )
        for curve in study.curves
        if curve.language == ENGLISH and not curve.undefined
    ]
    columns = ("scale", "training", "head", "seeds", "form", "error left out", "half-life (steps)", "asymptote")
    return Table(columns, rows, names=3)


def trend_table(study: Study) -> Table:
    """Slopes of R(T) on scale, overall and within each LayerNorm family."""
    families = sorted({family for trend in study.trends for family in trend.within})
    rows = [
        (
            trend.smallest.path,
            trend.smallest.head,
            ", ".join(trend.scales),
            count(trend.seeds),
            estimated(trend.overall, sign=True),
            estimated(trend.adjusted, sign=True),
            *(estimated(trend.within.get(family, UNDEFINED), sign=True) for family in families),
        )
        for trend in study.trends
    ]
    return Table(
        (
            "training",
            "head",
            "scales",
            "fewest seeds",
            "slope per tenfold parameters",
            "at equal placement",
            *(f"within {family}-LN" for family in families),
        ),
        rows,
        names=3,
    )


def _steps(estimate: Estimate, last: float) -> Number:
    """As `estimated`, in whole steps."""
    text = _whole(estimate.value, last)
    if math.isfinite(estimate.value) and not math.isnan(estimate.low):
        text += f" [{estimate.low:.0f}, {_whole(estimate.high, last)}]"
    return Number(text, {"": estimate.value, " low": estimate.low, " high": estimate.high})


def _whole(steps: float, last: float) -> str:
    """What lies beyond the last probed step is said to."""
    if math.isnan(steps):
        return DASH
    return f"> {last:.0f}" if math.isinf(steps) else f"{steps:.0f}"
