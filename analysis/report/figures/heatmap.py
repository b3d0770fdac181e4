"""The grid of the study at one look: what each intermediate adds to each target, in English and in other languages."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.image import AxesImage

from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.measures.differences import SIDES
from analysis.report.figures.plotting import PANEL_WIDTH, Drawing, distinct, panels, title
from analysis.study import Study
from trainers.tasks import TASKS
from trainers.tasks.intermediates import NONE

COLOURS = "PuOr"
"""Diverging, and told apart with every common colour blindness."""
SHOWN = 0.1
"""Points of 100: what is less reads 0.0 and has no colour."""
CELL_WIDTH, CELL_HEIGHT = 0.62, 0.27
"""Inches."""

Grid = dict[tuple[str, str], Estimate]
"""(intermediate, target) → gain."""


def gain_heat_map(study: Study, sweep: str) -> list[Drawing]:
    """One figure a scale and a difference of scales: rows are intermediates, columns targets, one panel a side."""
    drawings = []
    for scale in distinct(one.where for one in study.grids):
        grids = [
            {(one.intermediate, one.target): one.gain for one in study.grids if (one.where, one.side) == (scale, side)}
            for side in SIDES
        ]
        intermediates, targets = axes_of(study)
        width = max(PANEL_WIDTH, CELL_WIDTH * len(targets))
        figure, axes = panels(1, len(SIDES), height=CELL_HEIGHT * len(intermediates) + 0.8, sharey=True)
        figure.set_figwidth(len(SIDES) * width + 2.2)
        values = [abs(100 * gain.value) for grid in grids for gain in grid.values()]
        largest = max([*values, SHOWN])
        for panel, side, grid in zip(axes[0], SIDES, grids, strict=True):
            drawn = _panel(panel, grid, intermediates, targets, largest)
            panel.set_title(side)
        figure.colorbar(drawn, ax=list(axes[0]), label="gain, points of 100", shrink=0.8)
        title(figure, sweep, f"what each intermediate adds to each target, {scale}", study)
        caption = (
            f"{scale}: score through the intermediate minus score without it, in points of 100, on common seeds"
            f"{' (the difference of these between two scales)' if ' − ' in scale else ''}. "
            "Bold: different from 0 in its 95 % interval. Retrieval is compared at the layer that the sweep names "
            "and has no English side. Empty: not measured, or diverged."
        )
        drawings.append(Drawing(f"gain-heat-map-{scale}".replace(" − ", "-minus-"), caption, figure))
    return drawings


def axes_of(study: Study) -> tuple[list[str], list[str]]:
    """Intermediates and targets of the sweep, in the order of the table of tasks; several tasks at once come last.

    Those of which everything diverged are among them: an empty row or column tells it, a missing one would hide it.
    """
    intermediates = set(study.stages["intermediate"]) - {NONE}
    targets = {target for names in study.stages["targets"] for target in names}
    order = {name: place for place, name in enumerate(TASKS)}
    placed = [sorted(names, key=lambda name: (order.get(name, len(order)), name)) for names in (intermediates, targets)]
    return placed[0], placed[1]


def _panel(panel: Axes, grid: Grid, intermediates: list[str], targets: list[str], largest: float) -> AxesImage:
    found = [[grid.get((intermediate, target), UNDEFINED) for target in targets] for intermediate in intermediates]
    values = np.array([[100 * gain.value for gain in row] for row in found])
    drawn = panel.imshow(values, cmap=COLOURS, norm=TwoSlopeNorm(0, -largest, largest), aspect="auto")
    for row, gains in enumerate(found):
        for column, gain in enumerate(gains):
            if not math.isnan(gain.value):
                panel.text(
                    column,
                    row,
                    f"{100 * gain.value:+.1f}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    fontweight="bold" if gain.differs_from_zero else "normal",
                    color="white" if abs(100 * gain.value) > 0.6 * largest else "black",
                )
    panel.set_xticks(range(len(targets)), targets, rotation=40, ha="right")
    panel.set_yticks(range(len(intermediates)), intermediates)
    panel.grid(visible=False)
    return drawn
