"""The figures of a search: scores against each searched value, one line a scale."""

from __future__ import annotations

import math
from collections.abc import Callable

from analysis.inference.statistics import Estimate
from analysis.measures.search import PointScore, numbers
from analysis.records.frame import SEPARATOR
from analysis.report.figures.vegalite import (
    DASHES,
    Rows,
    Spec,
    bars,
    colour_of_scale,
    distinct,
    field,
    filled,
    interval,
    named,
    note,
    tooltip,
)
from analysis.report.figures.views import View
from analysis.study import Study

SCORES: dict[str, Callable[[PointScore], Estimate]] = {
    "English development": lambda point: point.development,
    "zero-shot mean": lambda point: point.zero_shot,
    "R(T) stored": lambda point: point.retention,
}
"""One row of panels each."""
LOGARITHMIC_FROM = 3
"""An axis whose largest value is so many times its least is logarithmic."""


def scores_by_point(study: Study) -> list[View]:
    """One figure for each searched axis of numbers: a row a score, a column a training that it changes."""
    views = []
    for axis in distinct(axis for point in study.points for axis in point.settings):
        points = [point for point in study.points if axis in point.settings]
        if len(set(numbers(point.settings[axis] for point in points))) > 1:
            views.append(_view(study, axis, points))
    return views


def _view(study: Study, axis: str, points: list[PointScore]) -> View:
    rows: Rows = []
    trainings = distinct(map(_training, points))
    for measure, score in SCORES.items():
        for training in trainings:
            panel = {"k": f"{measure} · {training}"}
            known = [point for point in points if _training(point) == training and not math.isnan(score(point).value)]
            if not known:
                rows.append({**panel, "n": "not measured"})
            rows += [
                {
                    **panel,
                    "scale": point.arm.scale,
                    "x": float(point.settings[axis]),
                    "others": _other_settings(point, axis),
                    "best": point.best,
                    **interval(score(point)),
                }
                for point in known
            ]
    values = sorted(set(numbers(point.settings[axis] for point in points)))
    logarithmic = values[0] > 0 and values[-1] >= LOGARITHMIC_FROM * values[0]
    labelled = [values[0], values[len(values) // 2], values[-1]] if len(values) > 2 else values
    x = field(
        "x",
        axis,
        scale={"type": "log" if logarithmic else "linear", "zero": False, "nice": False, "padding": 12},
        axis={"values": labelled, "format": "~g"},
    )
    y = field("v", "score", scale={"zero": False}, axis={"tickCount": 5})
    colour = colour_of_scale(study)
    others = distinct(_other_settings(point, axis) for point in points)
    dash = {"strokeDash": named("others", "beside", others, DASHES)} if len(others) > 1 else {}
    beside = {"others": "beside"} if len(others) > 1 else {}
    shown = {"scale": "scale", "x": axis, **beside, "v": "score", "l": "low", "u": "high"}
    point_of = {"x": x, "y": y, "color": colour, "stroke": colour, "tooltip": tooltip(shown)}
    layers: list[Spec] = [
        {
            "mark": {"type": "line"},
            "encoding": {"x": x, "y": y, "color": colour, **dash, "detail": {"field": "others"}},
        },
        bars(x, y, {"color": colour}),
        {
            "mark": {"type": "point", "filled": True, "size": 45, "strokeWidth": 1.5},
            "encoding": {**point_of, **filled("datum.best")},
        },
        note(),
    ]
    return View(
        f"search-{axis}",
        f"scores against {axis}",
        f"Each training at every searched {axis}, with 95 % intervals. Filled: the point with the highest English "
        "development score, at which the rest of the report compares it.",
        rows,
        layers,
        panels=distinct(row["k"] for row in rows),
        columns=len(trainings),
        independent={"y": "independent"},
    )


def _training(point: PointScore) -> str:
    return point.arm.path if point.arm.targets else point.arm.intermediate


def _other_settings(point: PointScore, axis: str) -> str:
    """The settings beside the one on the axis."""
    return SEPARATOR.join(f"{name}={value}" for name, value in point.settings.items() if name != axis)
