"""What all figures share: colours, markers, panels, titles that tell the seeds, deterministic files."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from analysis.inference.statistics import FEW_SEEDS, Estimate, Floats
from analysis.study import Study
from trainers.stage import digest
from trainers.store.files import writing

mpl.use("agg", force=False)

LineStyle = Literal["-", "--", ":", "-."]

STYLE = Path(__file__).with_name("print.mplstyle")
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart with every common colour blindness (Okabe & Ito 2008); its yellow, too light on paper, is left out."""
LINES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
MARKERS = {"post": "o", "pre": "s"}
GREY = "#666666"
LONGEST_NAME = 100
RETENTION_LIMITS = (-0.5, 1.6)
"""Where the axis of R is cut at the most: ratios with a small denominator shoot off."""
PANEL_WIDTH, PANEL_HEIGHT = 2.35, 1.85
"""Inches."""
LEGEND_ROW = 0.18
"""Inches; a figure grows by so much for each row of its legend beyond …"""
ROWS_WITH_ROOM = 2
"""… those that it has room for."""


def style() -> Any:
    """The context in which figures are drawn and saved."""
    return mpl.rc_context(fname=STYLE)


def colours(names: Sequence[str]) -> dict[str, str]:
    return {name: OKABE_ITO[place % len(OKABE_ITO)] for place, name in enumerate(names)}


def panels(rows: int, columns: int, height: float = PANEL_HEIGHT, **shared: Any) -> tuple[Figure, Any]:
    """A figure of rows × columns equal panels: [rows, columns] axes.

    Wide enough for its title where there is but one column; no pyplot, so nothing stays in memory.
    """
    spaced = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.04)
    figure = Figure(figsize=(max(columns * PANEL_WIDTH + 0.5, 5.2), rows * height + 1.1), layout=spaced)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def title(figure: Figure, sweep: str, subject: str, study: Study) -> None:
    """`sweep: subject`, and under it the seeds and the fingerprint."""
    width = int(figure.get_figwidth() * 12)
    lines = textwrap.wrap(f"{sweep}: {subject}", width) + textwrap.wrap(origin(study), int(width * 1.2))
    figure.suptitle("\n".join(lines))


def origin(study: Study) -> str:
    """The seeds, and the fingerprint by which `retain report --reproduce` draws the same again."""
    return " · ".join(filter(None, (seeds_note(study), study.fingerprint)))


def seeds_note(study: Study) -> str:
    """How many seeds there are, and that they are few where they are."""
    fewest, most = study.fewest_seeds, len(study.seeds)
    if most == 0:
        return "no seed has completed"
    count = f"{most} seed{'s' * (most != 1)}" if fewest in (most, 0) else f"{fewest} to {most} seeds"
    return count if fewest >= FEW_SEEDS else f"{count}: fewer than {FEW_SEEDS}, so other seeds may look different"


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Below all panels, in as many columns as fit; they keep their height, whatever it holds."""
    widths = [len(str(handle.get_label())) + 7 for handle in handles]
    room = figure.get_figwidth() * 14
    columns = len(handles) if sum(widths) <= room else max(1, int(room / max(widths)))
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(0, rows - ROWS_WITH_ROOM))
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def scale_handles(study: Study, names: Sequence[str]) -> list[Line2D]:
    """One legend entry a scale: its colour, and its LayerNorm family's marker."""
    family = dict(study.stages.select("scale", "layer_norm").drop_nulls().iter_rows())
    colour = colours(study.scales)
    return [
        Line2D([], [], color=colour[name], marker=MARKERS.get(family.get(name, ""), "o"), label=name)
        for name in study.scales
        if name in names
    ]


def log_steps(axes: Axes, last: float) -> None:
    """Label an axis of log2(1 + τ) with τ itself."""
    ticks = step_ticks(last)
    axes.set_xticks(np.log2(1 + np.array(ticks)), [f"{step:.0f}" for step in ticks])


def step_ticks(last: float) -> list[float]:
    """Steps T, …, 16, 4, 1, 0 that label an axis of log2(1 + τ), as far as the labels leave each other room."""
    span = np.log2(1 + last)
    ticks = [last]
    for step in [4.0**exponent for exponent in range(int(span / 2), -1, -1)] + [0.0]:
        room = (0.05 + 0.025 * len(f"{ticks[-1]:.0f}")) * span
        if np.log2(1 + ticks[-1]) - np.log2(1 + step) > room:
            ticks.append(step)
    return ticks


def retention_range(values: Iterable[float]) -> tuple[float, float]:
    """The axis of R: what is there, 0 and 1, at most RETENTION_LIMITS."""
    finite = [value for value in values if np.isfinite(value)]
    low, high = min([0.0, *finite]), max([1.0, *finite])
    return max(low - 0.08, RETENTION_LIMITS[0]), min(high + 0.08, RETENTION_LIMITS[1])


def log_parameters(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic axis of encoder sizes, labelled at the sizes themselves."""
    axes.set_xscale("log")
    ticks = sorted(set(sizes))
    axes.set_xticks(ticks, [compact(size) for size in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(ticks[0] / 1.5, ticks[-1] * 1.5)


def compact(number: float) -> str:
    """Three digits and a unit: 85.1M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:  # which three digits round up to the unit
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def label(axes: Any, x: str, y: str) -> None:
    """Name the axes at the outer panels only."""
    for panel in axes[-1, :]:
        panel.set_xlabel(x)
    for panel in axes[:, 0]:
        panel.set_ylabel(y)


def band(axes: Axes, x: Floats, low: Floats, high: Floats, colour: str, strength: float = 0.14) -> None:
    axes.fill_between(x, low, high, color=colour, alpha=strength, linewidth=0)


def whiskers(estimate: Estimate) -> Any:
    """[2, 1] distances for `errorbar`; none where there is no interval, or where the value lies outside it."""
    if np.isnan(estimate.low):
        return None
    return np.maximum([[estimate.value - estimate.low], [estimate.high - estimate.value]], 0)


def say(axes: Axes, text: str) -> None:
    """A sentence in the middle of a panel that has nothing else."""
    axes.text(
        0.5, 0.5, textwrap.fill(text, 26), transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=7.5
    )


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write `<name>.png` and `<name>.svg`; returns the SVG's text.  Equal figures give equal files.

    What is no letter or digit in the name (an intermediate's may come from anywhere) becomes `_`; a name too long for a
    file is cut, and told from others that begin so by a digest.

    Raises:
        StoreError: the folder cannot be written.
    """
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{digest(name, 8)}"
    name = re.sub(r"[^\w+-]", "_", name)
    svg = as_svg(figure)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    return svg


def as_svg(figure: Figure) -> str:
    """Its text; equal figures give equal texts."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out: once is enough, and all files get the same
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


@dataclass(frozen=True)
class Drawing:
    """A figure, its file name, and what to read from it."""

    name: str
    caption: str
    figure: Figure


def distinct(found: Iterable) -> list:
    """Distinct values, in the order found."""
    return list(dict.fromkeys(found))
