"""The figure of a search: scores against the searched value, one line a scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.inference.statistics import Estimate
from analysis.measures.search import PointScore, numbers
from analysis.records.frame import SEPARATOR
from analysis.report.figures.plotting import (
    GREY,
    LINES,
    MARKERS,
    Drawing,
    LineStyle,
    colours,
    distinct,
    label,
    legend,
    panels,
    say,
    scale_handles,
    title,
    whiskers,
)
from analysis.study import Study

SCORES: dict[str, Callable[[PointScore], Estimate]] = {
    "English development": lambda point: point.development,
    "zero-shot mean": lambda point: point.zero_shot,
    "R(T) stored": lambda point: point.retention,
}
"""One row of panels each."""
LOGARITHMIC_FROM = 3
"""An axis whose largest value is so many times its least is drawn in logarithms."""


def scores_by_point(study: Study, sweep: str) -> list[Drawing]:
    """One figure for each searched axis of numbers: a row a score, a column a training that it changes."""
    drawings = []
    for axis in distinct(axis for point in study.points for axis in point.settings):
        own = [point for point in study.points if axis in point.settings]
        if len(set(numbers(point.settings[axis] for point in own))) < 2:
            continue
        trainings = distinct((point.arm.intermediate, point.arm.targets) for point in own)
        figure, axes = panels(len(SCORES), len(trainings), sharey="row")
        others = distinct(_other(point, axis) for point in own)
        for column, name in enumerate(trainings):
            here = [point for point in own if (point.arm.intermediate, point.arm.targets) == name]
            for row, score in enumerate(SCORES.values()):
                _panel(axes[row, column], study, here, axis, score, others)
            axes[0, column].set_title(here[0].arm.path if here[0].arm.targets else name[0])
        label(axes, axis, "")
        for row, measure in enumerate(SCORES):
            axes[row, 0].set_ylabel(measure)
        legend(
            figure,
            [
                *scale_handles(study, [point.arm.scale for point in own]),
                *(Line2D([], [], color=GREY, linestyle=_line(others, other), label=other) for other in others if other),
                Line2D([], [], color=GREY, marker="o", linestyle="", label="best by development score"),
            ],
        )
        title(figure, sweep, f"scores against {axis}", study)
        caption = (
            f"Each training at every searched {axis}, with 95 % intervals. Filled: the point with the highest English "
            "development score, at which the rest of this page compares it."
        )
        drawings.append(Drawing(f"search-{axis}", caption, figure))
    return drawings


def _panel(
    panel: Axes,
    study: Study,
    points: Sequence[PointScore],
    axis: str,
    score: Callable[[PointScore], Estimate],
    others: Sequence[str],
) -> None:
    colour = colours(study.scales)
    known = [point for point in points if not math.isnan(score(point).value)]
    if not known:
        say(panel, "not measured")
        panel.set_xticks([])
        return
    for scale, other in distinct((point.arm.scale, _other(point, axis)) for point in known):
        line = sorted(
            (point for point in known if (point.arm.scale, _other(point, axis)) == (scale, other)),
            key=lambda point: float(point.settings[axis]),
        )
        places = [float(point.settings[axis]) for point in line]
        panel.plot(places, [score(point).value for point in line], _line(others, other), color=colour[scale])
        for place, point in zip(places, line, strict=True):
            panel.errorbar(
                place,
                score(point).value,
                yerr=whiskers(score(point)),
                color=colour[scale],
                elinewidth=1,
                marker=MARKERS.get(point.arm.layer_norm, "o"),
                markerfacecolor=colour[scale] if point.best else "white",
                zorder=4 if point.best else 3,
            )
    values = sorted(set(numbers(point.settings[axis] for point in points)))
    if values[0] > 0 and values[-1] >= LOGARITHMIC_FROM * values[0]:
        panel.set_xscale("log")
    shown = [values[0], values[len(values) // 2], values[-1]] if len(values) > 2 else values
    panel.set_xticks(shown, [f"{value:g}" for value in shown])
    panel.set_xticks([], minor=True)


def _other(point: PointScore, axis: str) -> str:
    """The settings beside the one on the axis."""
    return SEPARATOR.join(f"{name}={value}" for name, value in point.settings.items() if name != axis)


def _line(others: Sequence[str], other: str) -> LineStyle:
    return LINES[others.index(other) % len(LINES)]
