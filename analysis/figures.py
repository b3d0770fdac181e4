"""The figures: retention by step, by language and by scale; zero-shot gain by language; retrieval by layer.

Each function takes a study and the sweep's name and gives its drawings, none where there is nothing to draw.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.curves import Curve
from analysis.findings import shown
from analysis.measurements import path
from analysis.plotting import (
    GREY,
    LINES,
    MARKERS,
    PANEL_WIDTH,
    LineStyle,
    band,
    colours,
    label,
    legend,
    log_parameters,
    log_steps,
    panels,
    say,
    scale_handles,
    title,
    whiskers,
)
from analysis.statistics import SIGNIFICANT
from analysis.study import Study
from analysis.transfer import Cell
from trainers.tasks import ENGLISH

RETENTION_LIMITS = (-0.5, 1.6)
"""Where the axis of R is cut at the most: ratios with a small denominator shoot off."""
HEAD_LINES: dict[str, LineStyle] = {"stored": "-", "refit": "--"}
BAND_STRENGTH = {"stored": 0.14, "refit": 0.06}
SHIFTS = {"stored": 0.96, "refit": 1.04}
"""Factors on the logarithmic axis, so that the heads' intervals stand side by side."""


@dataclass(frozen=True)
class Drawing:
    """A figure, its file name, and what to read from it."""

    name: str
    caption: str
    figure: Figure


def retention_by_step(study: Study, sweep: str) -> list[Drawing]:
    """Rows: intermediates; columns: targets; English."""
    curves = [curve for curve in study.curves if curve.language == ENGLISH]
    if not curves:
        return []
    rows, columns = _names(curve.arm.intermediate for curve in curves), _names(curve.arm.targets for curve in curves)
    figure, axes = panels(len(rows), len(columns), sharey=True)
    for row, intermediate in enumerate(rows):
        for column, targets in enumerate(columns):
            here = [curve for curve in curves if (curve.arm.intermediate, curve.arm.targets) == (intermediate, targets)]
            _retention_panel(axes[row, column], study, here, _heading(here, intermediate, targets))
    _finish_retention(figure, axes, study, curves)
    title(figure, sweep, "what is left of the intermediate task (English)", study)
    return [Drawing("retention", _retention_caption("English"), figure)]


def retention_by_language(study: Study, sweep: str) -> list[Drawing]:
    """One figure an intermediate.  Rows: languages other than English; columns: targets."""
    drawings = []
    curves = [curve for curve in study.curves if curve.language != ENGLISH]
    for intermediate in _names(curve.arm.intermediate for curve in curves):
        own = [curve for curve in curves if curve.arm.intermediate == intermediate]
        rows, columns = _names(curve.language for curve in own), _names(curve.arm.targets for curve in own)
        figure, axes = panels(len(rows), len(columns), sharey=True)
        for row, language in enumerate(rows):
            for column, targets in enumerate(columns):
                here = [curve for curve in own if (curve.arm.targets, curve.language) == (targets, language)]
                heading = f"{language} · {_heading(here, intermediate, targets)}"
                _retention_panel(axes[row, column], study, here, heading)
        _finish_retention(figure, axes, study, own)
        title(figure, sweep, f"what is left of {intermediate} in other languages (zero-shot)", study)
        drawings.append(Drawing(f"retention-by-language-{intermediate}",
                                _retention_caption(f"{intermediate} in languages never trained on"), figure))
    return drawings


def retention_by_scale(study: Study, sweep: str) -> list[Drawing]:
    """R(T) against non-embedding parameters.  Rows: intermediates; columns: targets; English."""
    curves = [curve for curve in study.curves if curve.language == ENGLISH and not curve.undefined]
    if not curves:
        return []
    rows, columns = _names(curve.arm.intermediate for curve in curves), _names(curve.arm.targets for curve in curves)
    figure, axes = panels(len(rows), len(columns), sharex=True, sharey=True)
    for row, intermediate in enumerate(rows):
        for column, targets in enumerate(columns):
            _scale_panel(axes[row, column], study, curves, intermediate, targets)
            log_parameters(axes[row, column], [curve.arm.non_embedding_parameters for curve in curves])
    _limit(axes, [value for curve in curves for value in (curve.final.value, curve.final.low, curve.final.high)])
    label(axes, "non-embedding parameters", "retention R(T)")
    family = sorted({curve.arm.layer_norm for curve in curves})
    legend(figure, [*scale_handles(study, [curve.arm.scale for curve in curves]),
                    *(Line2D([], [], color=GREY, marker=MARKERS.get(name, "o"), linestyle="", label=f"{name}-LN")
                      for name in family),
                    Line2D([], [], color=GREY, linestyle="-", label="stored head"),
                    Line2D([], [], color=GREY, linestyle="--", markerfacecolor="white", marker="o",
                           label="refit head")])
    title(figure, sweep, "final retention against scale (English)", study)
    caption = ("Retention at the end of target training against the encoder's non-embedding parameters. Filled: stored "
               "head; open: refit head. Bars are 95 % intervals over seeds and examples; slopes are per tenfold "
               "parameters. LayerNorm placement changes with scale in XLM-R, so compare within a marker first.")
    return [Drawing("retention-by-scale", caption, figure)]


def gain_by_language(study: Study, sweep: str) -> list[Drawing]:
    """One figure an intermediate; one panel a target, one row a language."""
    drawings = []
    cells = [cell for cell in study.cells if cell.gains]
    colour = colours(study.scales)
    for intermediate in _names(cell.arm.intermediate for cell in cells):
        own = [cell for cell in cells if cell.arm.intermediate == intermediate]
        targets = _names(cell.target for cell in own)
        scales = [scale for scale in study.scales if any(cell.arm.scale == scale for cell in own)]
        most = max(len(cell.gains) for cell in own) + 1
        figure, axes = panels(1, len(targets), height=0.5 + most * (0.12 + 0.09 * len(scales)), sharex=True)
        for column, target in enumerate(targets):
            _gain_panel(axes[0, column], [cell for cell in own if cell.target == target], scales, colour)
            axes[0, column].set_title(f"{intermediate} → {target}")
        label(axes, "gain in zero-shot score", "")
        legend(figure, [*scale_handles(study, scales),
                        Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="",
                               label=f"Holm-corrected p ≥ {SIGNIFICANT}")])
        title(figure, sweep, f"what {intermediate} adds to each language", study)
        caption = (f"Transfer gain of {intermediate}: score through it minus score without it, on the same seeds and "
                   f"examples, with 95 % intervals. Filled: different from 0 at p < {SIGNIFICANT} after Holm's "
                   "correction over the languages and targets of a scale. “others” is the mean of the languages other "
                   "than English.")
        drawings.append(Drawing(f"gain-by-language-{intermediate}", caption, figure))
    return drawings


def retrieval_by_layer(study: Study, sweep: str) -> list[Drawing]:
    """One figure a retrieval task; one panel a scale, one line an intermediate."""
    drawings = []
    for task in _names(curve.task for curve in study.layers):
        curves = [curve for curve in study.layers if curve.task == task]
        scales = [scale for scale in study.scales if any(curve.arm.scale == scale for curve in curves)]
        names = sorted({curve.arm.intermediate for curve in curves}, key=lambda name: (name != "none", name))
        colour = {"none": "#000000", **colours([name for name in names if name != "none"])}
        figure, axes = panels(1, len(scales), sharey=True)
        for panel, scale in zip(axes[0], scales, strict=True):
            for curve in (curve for curve in curves if curve.arm.scale == scale):
                name = curve.arm.intermediate
                band(panel, curve.layers, curve.low, curve.high, colour[name])
                panel.plot(curve.layers, curve.value, _line(names, name), color=colour[name], marker=".")
            panel.set_title(scale)
            panel.set_ylim(0, 1.03)
            panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        label(axes, "layer (0: embeddings)", "accuracy, mean over languages")
        legend(figure, [Line2D([], [], color=colour[name], linestyle=_line(names, name), marker=".",
                               label="before phase 2" if name == "none" else f"after {name}") for name in names])
        title(figure, sweep, f"{task} retrieval before and after phase 2", study)
        caption = (f"{task} accuracy (nearest neighbour by cosine among mean-pooled states, English → other language), "
                   "by layer, mean over languages, with 95 % intervals: what intermediate training does to "
                   "multilinguality before any target is trained.")
        drawings.append(Drawing(f"retrieval-{task}", caption, figure))
    return drawings


@dataclass(frozen=True)
class Section:
    """A heading of the report, what draws it, and what to say where there is nothing to draw."""

    heading: str
    draw: Callable[[Study, str], list[Drawing]]
    missing: str


SECTIONS = (
    Section("Retention while a target is learned", retention_by_step,
            "No retention curve yet: no target training with probes of its intermediate has completed."),
    Section("Retention in other languages", retention_by_language,
            "No retention curve in another language: no completed training was probed outside English."),
    Section("Final retention against scale", retention_by_scale,
            "No final retention yet: none is measured, or none is defined (see the cells below)."),
    Section("Zero-shot gain by language", gain_by_language,
            "No gain yet: that takes a target trained through an intermediate and without one, on a common seed."),
    Section("Multilinguality before and after phase 2", retrieval_by_layer,
            "No retrieval has been evaluated."),
)


# -- panels ---------------------------------------------------------------------------------------------------


def _retention_panel(panel: Axes, study: Study, curves: Sequence[Curve], heading: str) -> None:
    colour = colours(study.scales)
    _reference_lines(panel)
    for curve in (curve for curve in curves if not curve.undefined):
        x, own, line = np.log2(1 + curve.steps), colour[curve.arm.scale], HEAD_LINES[curve.head]
        if len(curve.seeds) > 1:
            panel.plot(x, curve.by_seed.T, line, color=own, linewidth=0.5, alpha=0.35)
        band(panel, x, curve.low, curve.high, own, BAND_STRENGTH[curve.head])
        panel.plot(x, curve.value, line, color=own)
    lines = [heading, *_undefined_notes(curves)]
    if not curves:
        say(panel, "not measured")
    elif all(curve.undefined for curve in curves):
        say(panel, "R is undefined: its denominator is not above 0")
        lines = [heading]
    panel.set_title("\n".join(lines))
    if curves:
        log_steps(panel, max(curve.steps[-1] for curve in curves))


def _heading(curves: Sequence[Curve], intermediate: str, targets: Sequence[str]) -> str:
    return curves[0].arm.path if curves else path(intermediate, targets)


def _undefined_notes(curves: Sequence[Curve]) -> list[str]:
    """E.g. `refit undefined: base, large`, in lines as wide as a panel."""
    notes = []
    for head in HEAD_LINES:
        scales = [curve.arm.scale for curve in curves if curve.head == head and curve.undefined]
        if scales:
            notes += textwrap.wrap(f"{head} undefined: {', '.join(scales)}", int(PANEL_WIDTH * 16))
    return notes


def _finish_retention(figure: Figure, axes: np.ndarray, study: Study, curves: Sequence[Curve]) -> None:
    drawn = [curve for curve in curves if not curve.undefined]
    _limit(axes, [value for curve in drawn for line in (curve.value, curve.low, curve.high) for value in line])
    label(axes, "target step τ", "retention R(τ)")
    handles = [Line2D([], [], color=GREY, linestyle=line, label=f"{head} head") for head, line in HEAD_LINES.items()]
    plain = scale_handles(study, [curve.arm.scale for curve in curves])
    for handle in plain:
        handle.set_marker("")
    legend(figure, [*plain, *handles])


def _scale_panel(panel: Axes, study: Study, curves: Sequence[Curve], intermediate: str, targets: tuple) -> None:
    colour = colours(study.scales)
    _reference_lines(panel)
    lines = [_heading([curve for curve in curves if (curve.arm.intermediate, curve.arm.targets)
                       == (intermediate, targets)], intermediate, targets)]
    for head, line in HEAD_LINES.items():
        name = (intermediate, targets, head)
        here = [curve for curve in curves if (curve.arm.intermediate, curve.arm.targets, curve.head) == name]
        x = np.array([curve.arm.non_embedding_parameters for curve in here]) * SHIFTS[head]
        panel.plot(x, [curve.final.value for curve in here], line, color=GREY, linewidth=0.8)
        for place, curve in zip(x, here, strict=True):
            own = colour[curve.arm.scale]
            panel.errorbar(place, curve.final.value, whiskers(curve.final), color=own, elinewidth=1, zorder=3,
                           marker=MARKERS.get(curve.arm.layer_norm, "o"), markersize=5,
                           markerfacecolor=own if head == "stored" else "white")
        lines += [f"slope, {head}: {shown(trend.overall, sign=True, digits=2)}" for trend in study.trends
                  if (trend.arm.intermediate, trend.arm.targets, trend.head) == name]
    if not panel.containers:
        say(panel, "R(T) is undefined at every scale")
    panel.set_title("\n".join(lines))


def _gain_panel(panel: Axes, cells: Sequence[Cell], scales: Sequence[str], colour: dict[str, str]) -> None:
    languages = [gain.language for gain in max(cells, key=lambda cell: len(cell.gains)).gains]
    rows = [*languages, "others"]
    panel.axvline(0, color=GREY, linewidth=0.8)
    for cell in cells:
        offset = (scales.index(cell.arm.scale) - (len(scales) - 1) / 2) * 0.7 / max(len(scales), 2)
        points = [(gain.language, gain.gain, gain.p_holm < SIGNIFICANT) for gain in cell.gains]
        points.append(("others", cell.others_gain, cell.others_gain.differs_from_zero))
        for language, gain, filled in points:
            own = colour[cell.arm.scale]
            panel.errorbar(gain.value, rows.index(language) + offset, xerr=whiskers(gain), color=own, elinewidth=1,
                           marker=MARKERS.get(cell.arm.layer_norm, "o"), markerfacecolor=own if filled else "white")
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.axhline(len(languages) - 0.5, color=GREY, linewidth=0.5, linestyle=":")
    panel.set_yticks(range(len(rows)), rows)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)


def _reference_lines(panel: Axes) -> None:
    for height in (0, 1):
        panel.axhline(height, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)))


def _limit(axes: np.ndarray, values: Iterable[float]) -> None:
    """One range of R for all panels: what is there, 0 and 1, at most RETENTION_LIMITS."""
    finite = [value for value in values if np.isfinite(value)]
    low, high = min([0.0, *finite]), max([1.0, *finite])
    for panel in axes.flat:
        panel.set_ylim(max(low - 0.08, RETENTION_LIMITS[0]), min(high + 0.08, RETENTION_LIMITS[1]))


def _retention_caption(where: str) -> str:
    return (f"Retention of the intermediate task at each probed step of target training, {where}: 1 is all of it, 0 is "
            "chance (stored head) or the untouched encoder (refit head). Thick: mean over seeds; shaded: 95 % interval "
            "over seeds and examples; faint: single seeds. Same task: the target trains on the intermediate's own "
            "data. The axis of R is cut where ratios with a small denominator leave it.")


def _line(names: Sequence[str], name: str) -> LineStyle:
    return LINES[names.index(name) // 7 % len(LINES)]


def _names(found: Iterable) -> list:
    """Distinct values, in the order found."""
    return list(dict.fromkeys(found))
