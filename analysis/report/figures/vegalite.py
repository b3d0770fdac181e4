"""The parts of which figures are made: Vega-Lite specifications as plain dictionaries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from analysis.inference.statistics import Estimate
from analysis.study import Study
from trainers.tasks.intermediates import NONE

Rows = list[dict[str, Any]]
"""One for each mark; the estimate in `v`, the ends of its interval in `l` and `u`, its panel in `k`."""
Spec = dict[str, Any]
DIGITS = 4
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Distinct with every common colour blindness (Okabe & Ito 2008); its yellow, too light on paper, is left out."""
GREY = "#5b6670"
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
LIT: Spec = {"name": "lit", "select": {"type": "point", "fields": ["i"]}, "bind": "legend"}
ALONE = "Click a name of the legend to see it alone, with shift several."


def menus(rows: Rows, opens: Callable[[Rows, str], str], **labels: str) -> list[Spec]:
    """A menu of the values of each of these fields; none of a field that has but one.

    Args:
        opens: which value is selected at first.
    """
    selections = []
    for field_name, label in labels.items():
        options = distinct(row[field_name] for row in rows)
        if len(options) > 1:
            bind = {"input": "select", "options": options, "name": f"{label} "}
            selections.append({"name": f"only_{field_name}", "value": opens(rows, field_name), "bind": bind})
    return selections


def first(rows: Rows, name: str) -> str:
    """The first value of a field."""
    return str(rows[0][name])


def best_known(rows: Rows, name: str) -> str:
    """The value of a field with the most estimates; of several, the one with the narrowest intervals on average.

    It never looks at the estimates themselves, so no figure opens on what looks best.
    """

    def rank(value: str) -> tuple[int, float]:
        estimates = [row for row in rows if row[name] == value and row.get("v") is not None]
        widths = [row["u"] - row["l"] for row in estimates if row["l"] is not None and row["u"] is not None]
        return -len(estimates), fmean(widths) if widths else math.inf

    return min(distinct(row[name] for row in rows), key=rank)


def opening(menus: Sequence[Spec], what: str) -> str:
    """What the page says of a menu that opens on what is `best_known`; nothing where there is no menu."""
    if not menus:
        return ""
    return (
        f" The menu opens on the {what} with the most defined values; of several, on that with the narrowest "
        "intervals on average, whatever their values."
    )


def field(name: str, title: str, **more: Any) -> Spec:
    """A quantitative channel."""
    return {"field": name, "type": "quantitative", "title": title, **more}


def named(name: str, title: str, values: Sequence[Any], colours: Sequence[Any], **more: Any) -> Spec:
    """A nominal channel: each value has its colour, shape or dash; they are used again where the values are more."""
    used = [colours[place % len(colours)] for place in range(len(values))]
    scale = {"domain": list(values), "range": used}
    return {"field": name, "type": "nominal", "title": title, "scale": scale, **more}


def colour_of_scale(study: Study) -> Spec:
    return named("scale", "scale", study.scales, OKABE_ITO, sort=study.scales)


def colour_of_name(rows: Rows) -> Spec:
    """A colour for each intermediate, black for none; where they are many, twenty colours that are less distinct."""
    names = sorted({row["i"] for row in rows} - {NONE})
    *colours, black = OKABE_ITO
    domain = [*distinct(row["i"] for row in rows if row["i"] == NONE), *names]
    if len(names) > len(colours):
        scale = {"domain": domain, "scheme": "category20"}
        return {"field": "i", "type": "nominal", "title": "intermediate", "scale": scale}
    return named("i", "intermediate", domain, [*[black] * (NONE in domain), *colours])


def lit(opacity: float) -> Spec:
    """Pale where another name of the legend was clicked."""
    return {"opacity": {"condition": {"param": LIT["name"], "value": opacity}, "value": 0.07}}


def rule(axis: str, at: float) -> Spec:
    """A dashed line across each panel."""
    mark = {"type": "rule", "strokeDash": [4, 3], "color": GREY, "strokeWidth": 0.8}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": {axis: {"datum": at}}}


def bars(across: Spec, along: Spec, channels: Spec, *, axis: str = "y", **mark: Any) -> Spec:
    """The interval of each row, along `axis`.

    Args:
        across: the channel of the other axis.
        along: that of the estimate.
        channels: further ones.
        mark: properties of the mark.
    """
    other = "x" if axis == "y" else "y"
    ends = {axis: {**along, "field": "l"}, f"{axis}2": {"field": "u"}}
    return {"mark": {"type": "rule", **mark}, "encoding": {other: across, **ends, **channels}}


def filled(test: str) -> Spec:
    """A mark that is filled where the test holds, and else pale with an outline."""
    return {"fillOpacity": {"condition": {"test": test, "value": 1}, "value": 0.1}}


def note() -> Spec:
    """The text of rows that have a note in `n`, at the top right of their panel."""
    mark = {"type": "text", "align": "right", "baseline": "top", "fontSize": 10, "color": GREY}
    encoding = {"x": {"value": "width"}, "y": {"value": 2}, "text": {"field": "n"}}
    return {"transform": [{"filter": "isValid(datum.n)"}], "mark": mark, "encoding": encoding}


def tooltip(names: dict[str, str]) -> list[Spec]:
    return [{"field": name, "title": title} for name, title in names.items()]


def interval(estimate: Estimate) -> dict[str, float | None]:
    """The fields of a row that hold an estimate."""
    return {"v": rounded(estimate.value), "l": rounded(estimate.low), "u": rounded(estimate.high)}


def rounded(value: float) -> float | None:
    """JSON knows no NaN."""
    return round(value, DIGITS) if math.isfinite(value) else None


def distinct(values: Any) -> list:
    """Distinct values in the order of their first appearance."""
    return list(dict.fromkeys(values))
