"""The parts of which the page's figures are made: Vega-Lite specifications as plain dictionaries.

A figure is one view, or small multiples: equal panels in rows, of which the page makes as many columns as it has room
for.  Every figure is stretched to the page's width when it is drawn (`analysis.report.page`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from analysis.inference.statistics import Estimate
from analysis.report.figures.plotting import OKABE_ITO, distinct
from analysis.study import Study
from trainers.tasks.intermediates import NONE

Rows = list[dict[str, Any]]
"""One a mark; the estimate in `v`, the ends of its interval in `l` and `u`, its panel in `k`."""
Spec = dict[str, Any]
DIGITS = 4
WIDTH, HEIGHT = 640, 300
PANEL_WIDTH, PANEL_HEIGHT = 220, 200
"""The least width of a panel, in pixels, and its height."""
CHARACTER = 7
"""Pixels of a panel's title for each of its characters."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
CONFIG: Spec = {
    "view": {"stroke": None},
    "axis": {"gridColor": "#eee"},
    "legend": {"orient": "top", "titleOrient": "left", "columns": 8, "offset": 8},
    "header": {"title": None, "labelAnchor": "start", "labelFontSize": 10, "labelFontWeight": "bold", "labelLimit": 0},
}
LIT: Spec = {"name": "lit", "select": {"type": "point", "fields": ["i"]}, "bind": "legend"}
ALONE = "Click a name of the legend to see it alone, with shift several."


@dataclass(frozen=True)
class View:
    """One interactive figure."""

    name: str
    caption: str
    spec: Spec


def single(rows: Rows, layer: Sequence[Spec]) -> Spec:
    """One view of all rows."""
    return {**_data(rows, [], []), "width": WIDTH, "height": HEIGHT, "layer": list(layer)}


def small_multiples(
    rows: Rows,
    menus: Sequence[Spec],
    layer: Sequence[Spec],
    transform: Sequence[Spec] = (),
    *,
    panels: Sequence[str],
    columns: int,
    least: int = PANEL_WIDTH,
    height: Any = PANEL_HEIGHT,
    independent: Spec | None = None,
) -> Spec:
    """One panel for each value of `k`, side by side, on the same scales.

    Args:
        panels: the values of `k` in their order.
        columns: how many stand in a row where the page is wide enough.
        least: how many pixels a panel needs to be read.
        independent: scales that the panels do not share: axis → `independent`.
    """
    least = max(least, CHARACTER * max(map(len, panels)))
    return {
        **_data(rows, menus, transform),
        "facet": {"field": "k", "type": "nominal", "sort": list(panels)},
        "columns": columns,
        "spec": {"width": least, "height": height, "layer": list(layer)},
        "resolve": {"axis": {"x": "independent"}, "scale": independent or {}},
        "usermeta": {"panel": least},
    }


def _data(rows: Rows, menus: Sequence[Spec], transform: Sequence[Spec]) -> Spec:
    chosen = [{"filter": f"datum.{one['name'].removeprefix('only_')} === {one['name']}"} for one in menus]
    return {
        "data": {"values": rows},
        "params": list(menus),
        "transform": [*chosen, *transform],
        "config": CONFIG,
    }


def menus(rows: Rows, opens: Callable[[Rows, str], str], **labels: str) -> list[Spec]:
    """A menu of the values of each of these fields; none of a field that has but one.

    Args:
        opens: which value is selected at first.
    """
    found = []
    for field_name, label in labels.items():
        options = distinct(row[field_name] for row in rows)
        if len(options) > 1:
            bind = {"input": "select", "options": options, "name": f"{label} "}
            found.append({"name": f"only_{field_name}", "value": opens(rows, field_name), "bind": bind})
    return found


def first(rows: Rows, name: str) -> str:
    """The first value of a field."""
    return str(rows[0][name])


def best_known(rows: Rows, name: str) -> str:
    """The value of a field of which most is known: most estimates; of several, the narrowest intervals on average.

    It never looks at the estimates themselves, so no figure opens on what looks best.
    """

    def rank(value: str) -> tuple[int, float]:
        own = [row for row in rows if row[name] == value and row.get("v") is not None]
        widths = [row["u"] - row["l"] for row in own if row["l"] is not None and row["u"] is not None]
        return -len(own), fmean(widths) if widths else math.inf

    return min(distinct(row[name] for row in rows), key=rank)


def opening(menus: Sequence[Spec], what: str) -> str:
    """What a caption says of a menu that opens on what is `best_known`; nothing where there is no menu."""
    if not menus:
        return ""
    return (
        f" The menu opens on the {what} with the most defined values; of several, on that with the narrowest "
        "intervals on average, whatever their values."
    )


def field(name: str, title: str, **more: Any) -> Spec:
    """A quantitative one."""
    return {"field": name, "type": "quantitative", "title": title, **more}


def colour_of_scale(study: Study) -> Spec:
    used = [OKABE_ITO[place % len(OKABE_ITO)] for place in range(len(study.scales))]
    return {"field": "scale", "type": "nominal", "sort": study.scales, "scale": {"domain": study.scales, "range": used}}


def colour_of_name(rows: Rows) -> Spec:
    """One colour an intermediate, black for none; of more than OKABE_ITO has, twenty that are told apart less well."""
    names = sorted({row["i"] for row in rows} - {NONE})
    *colours, black = OKABE_ITO
    used: Spec
    if len(names) <= len(colours):
        used = {"range": [*[black] * any(row["i"] == NONE for row in rows), *colours[: len(names)]]}
    else:
        used = {"scheme": "category20"}
    domain = [*distinct(row["i"] for row in rows if row["i"] == NONE), *names]
    return {"field": "i", "type": "nominal", "title": "intermediate", "scale": {"domain": domain, **used}}


def lit(opacity: float) -> Spec:
    """Pale where another name of the legend was clicked."""
    return {"opacity": {"condition": {"param": LIT["name"], "value": opacity}, "value": 0.07}}


def rule(axis: str, at: float) -> Spec:
    mark = {"type": "rule", "strokeDash": [4, 3], "color": "#666666", "strokeWidth": 0.8}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": {axis: {"datum": at}}}


def note() -> Spec:
    """The text of rows that have a note in `n`, at the top right of their panel."""
    mark = {"type": "text", "align": "right", "baseline": "top", "fontSize": 10, "color": "#5b6670"}
    encoding = {"x": {"value": "width"}, "y": {"value": 2}, "text": {"field": "n"}}
    return {"transform": [{"filter": "isValid(datum.n)"}], "mark": mark, "encoding": encoding}


def tooltip(names: dict[str, str]) -> list[Spec]:
    return [{"field": name, "title": title} for name, title in names.items()]


def interval(estimate: Estimate) -> dict[str, float | None]:
    return {"v": rounded(estimate.value), "l": rounded(estimate.low), "u": rounded(estimate.high)}


def rounded(value: float) -> float | None:
    """JSON knows no NaN."""
    return round(value, DIGITS) if math.isfinite(value) else None
