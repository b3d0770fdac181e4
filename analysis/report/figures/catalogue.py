"""All figures of the report: their headings, what draws them, and what to say where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analysis.report.figures.cost import cost_against_gain
from analysis.report.figures.drawing import Drawing, drawings
from analysis.report.figures.gains import gain_by_language, gain_heat_map
from analysis.report.figures.retention import retention_over_languages, retention_over_scale, retention_over_steps
from analysis.report.figures.retrieval import retrieval_by_layer
from analysis.report.figures.search import scores_by_point
from analysis.report.figures.views import View
from analysis.study import Study


@dataclass(frozen=True)
class Figure:
    """A section of the page."""

    heading: str
    draw: Callable[[Study], View | None]
    missing: str


NO_GAIN = "No gain yet: that takes a target trained through an intermediate and without one, on a common seed."
FIGURES = (
    Figure(
        "Retention while a target is learned",
        retention_over_steps,
        "No retention curve yet: no target training with probes of its intermediate has completed, or R is undefined.",
    ),
    Figure(
        "Final retention against scale",
        retention_over_scale,
        "No final retention at two scales yet: none is measured, or none is defined (see the cells below).",
    ),
    Figure("What each intermediate adds to each target", gain_heat_map, NO_GAIN),
    Figure("Zero-shot gain by language", gain_by_language, NO_GAIN),
    Figure("Retrieval with and without intermediate training", retrieval_by_layer, "No retrieval has been evaluated."),
    Figure("Cost against gain", cost_against_gain, NO_GAIN),
)


def every_drawing(study: Study, sweep: str) -> Iterator[Drawing]:
    """Every figure as sheets for paper: those of the page, and retention in other languages."""
    views = [figure.draw(study) for figure in FIGURES]
    for view in (*views, retention_over_languages(study), *scores_by_point(study)):
        yield from drawings(view, study, sweep)
