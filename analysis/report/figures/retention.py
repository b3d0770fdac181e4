"""The figures of retention: by step, by language and by scale.

Each function takes a study and the sweep's name and gives its drawings, none where there is nothing to draw.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.measures.curves import Curve
from analysis.records.measurements import path
from analysis.report.figures.plotting import (
    GREY,
    MARKERS,
    PANEL_WIDTH,
    Drawing,
    LineStyle,
    band,
    colours,
    distinct,
    label,
    legend,
    log_parameters,
    log_steps,
    panels,
    retention_range,
    say,
    scale_handles,
    title,
    whiskers,
)
from analysis.report.findings import shown
from analysis.study import Study
from trainers.stage.languages import ENGLISH

HEAD_LINES: dict[str, LineStyle] = {"stored": "-", "refit": "--"}
BAND_STRENGTH = {"stored": 0.14, "refit": 0.06}
SHIFTS = {"stored": 0.96, "refit": 1.04}
"""Factors on the logarithmic axis, so that the heads' intervals stand side by side."""


def retention_by_step(study: Study, sweep: str) -> list[Drawing]:
    """Rows: what is retained; columns: targets; English."""
    drawings = []
    for name, curves in _sheets(curve for curve in study.curves if curve.language == ENGLISH):
        rows, columns = distinct(curve.subject for curve in curves), distinct(curve.arm.targets for curve in curves)
        figure, axes = panels(len(rows), len(columns), sharey=True)
        for row, subject in enumerate(rows):
            for column, targets in enumerate(columns):
                here = [curve for curve in curves if (curve.subject, curve.arm.targets) == (subject, targets)]
                _retention_panel(axes[row, column], study, here, _heading(here, subject, targets))
        _finish_retention(figure, axes, study, curves)
        title(figure, sweep, "what is left of the intermediate task (English)", study)
        drawings.append(Drawing(f"retention{name}", _retention_caption("English"), figure))
    return drawings


def retention_by_language(study: Study, sweep: str) -> list[Drawing]:
    """One figure a probed task.  Rows: languages other than English in which it is defined; columns: targets."""
    drawings = []
    curves = [curve for curve in study.curves if curve.language != ENGLISH]
    for subject in distinct(curve.subject for curve in curves):
        own = [curve for curve in curves if curve.subject == subject]
        rows = distinct(curve.language for curve in own if not curve.undefined)
        if not rows:
            continue
        columns = distinct(curve.arm.targets for curve in own)
        nowhere = [language for language in distinct(curve.language for curve in own) if language not in rows]
        figure, axes = panels(len(rows), len(columns), sharey=True)
        for row, language in enumerate(rows):
            for column, targets in enumerate(columns):
                here = [curve for curve in own if (curve.arm.targets, curve.language) == (targets, language)]
                heading = f"{language} · {_heading(here, subject, targets)}"
                _retention_panel(axes[row, column], study, here, heading)
        _finish_retention(figure, axes, study, own)
        title(figure, sweep, f"what is left of {subject} in other languages (zero-shot)", study)
        drawings.append(
            Drawing(
                f"retention-by-language-{subject.replace(' · ', '-')}",
                _retention_caption(f"{subject} in languages never trained on")
                + (f" Not defined at any scale: {', '.join(nowhere)}." if nowhere else ""),
                figure,
            )
        )
    return drawings


def retention_by_scale(study: Study, sweep: str) -> list[Drawing]:
    """R(T) against non-embedding parameters.  Rows: what is retained; columns: targets; English."""
    defined = (curve for curve in study.curves if curve.language == ENGLISH and not curve.undefined)
    return [_scale_figure(study, sweep, name, curves) for name, curves in _sheets(defined)]


def _scale_figure(study: Study, sweep: str, name: str, curves: Sequence[Curve]) -> Drawing:
    rows, columns = distinct(curve.subject for curve in curves), distinct(curve.arm.targets for curve in curves)
    figure, axes = panels(len(rows), len(columns), sharex=True, sharey=True)
    for row, subject in enumerate(rows):
        for column, targets in enumerate(columns):
            _scale_panel(axes[row, column], study, curves, subject, targets)
            log_parameters(axes[row, column], [curve.arm.non_embedding_parameters for curve in curves])
    _limit(axes, [value for curve in curves for value in (curve.final.value, curve.final.low, curve.final.high)])
    label(axes, "non-embedding parameters", "retention R(T)")
    family = sorted({curve.arm.layer_norm for curve in curves})
    legend(
        figure,
        [
            *scale_handles(study, [curve.arm.scale for curve in curves]),
            *(
                Line2D([], [], color=GREY, marker=MARKERS.get(member, "o"), linestyle="", label=f"{member}-LN")
                for member in family
            ),
            Line2D([], [], color=GREY, linestyle="-", label="stored head"),
            Line2D([], [], color=GREY, linestyle="--", markerfacecolor="white", marker="o", label="refit head"),
        ],
    )
    title(figure, sweep, "final retention against scale (English)", study)
    caption = (
        "Retention at the end of target training against the encoder's non-embedding parameters. Filled: stored "
        "head; open: refit head. Bars are 95 % intervals over seeds and examples; slopes are per tenfold "
        "parameters. LayerNorm placement changes with scale in XLM-R, so compare within a marker first."
    )
    return Drawing(f"retention-by-scale{name}", caption, figure)


# -- panels ---------------------------------------------------------------------------------------------------


def _sheets(curves: Iterable[Curve]) -> list[tuple[str, list[Curve]]]:
    """The curves of one figure each, and the end of its name: intermediates of one task together, others alone."""
    sheets: dict[str, list[Curve]] = {}
    for curve in curves:
        sheets.setdefault(f"-{curve.arm.intermediate}" if len(curve.arm.probed) > 1 else "", []).append(curve)
    return sorted(sheets.items())


def _retention_panel(panel: Axes, study: Study, curves: Sequence[Curve], heading: str) -> None:
    colour = colours(study.scales)
    _reference_lines(panel)
    for curve in (curve for curve in curves if not curve.undefined):
        x, own, line = np.log2(1 + curve.steps), colour[curve.arm.scale], HEAD_LINES[curve.head]
        if len(curve.seeds) > 1:
            panel.plot(x, curve.by_seed.T, line, color=own, linewidth=0.5, alpha=0.35)
        band(panel, x, curve.low, curve.high, own, BAND_STRENGTH[curve.head])
        panel.plot(x, curve.value, line, color=own)
    lines = [*_wrapped(heading), *_undefined_notes(curves)]
    if not curves:
        say(panel, "no run has completed above chance")
        panel.set_xticks([])
    elif all(curve.undefined for curve in curves):
        say(panel, "R is undefined: its denominator is not above 0")
        lines = _wrapped(heading)
    panel.set_title("\n".join(lines))
    if curves:
        log_steps(panel, max(curve.steps[-1] for curve in curves))


def _heading(curves: Sequence[Curve], subject: str, targets: Sequence[str]) -> str:
    return curves[0].path if curves else path(subject, targets)


def _undefined_notes(curves: Sequence[Curve]) -> list[str]:
    """E.g. `refit undefined: base, large`."""
    notes = []
    for head in HEAD_LINES:
        scales = [curve.arm.scale for curve in curves if curve.head == head and curve.undefined]
        if scales:
            notes += _wrapped(f"{head} undefined: {', '.join(scales)}")
    return notes


def _wrapped(text: str) -> list[str]:
    """Lines as wide as a panel."""
    return textwrap.wrap(text, int(PANEL_WIDTH * 16))


def _finish_retention(figure: Figure, axes: np.ndarray, study: Study, curves: Sequence[Curve]) -> None:
    drawn = [curve for curve in curves if not curve.undefined]
    _limit(axes, [value for curve in drawn for line in (curve.value, curve.low, curve.high) for value in line])
    label(axes, "target step τ", "retention R(τ)")
    handles = [Line2D([], [], color=GREY, linestyle=line, label=f"{head} head") for head, line in HEAD_LINES.items()]
    plain = scale_handles(study, [curve.arm.scale for curve in curves])
    for handle in plain:
        handle.set_marker("")
    legend(figure, [*plain, *handles])


def _scale_panel(panel: Axes, study: Study, curves: Sequence[Curve], subject: str, targets: tuple) -> None:
    colour = colours(study.scales)
    _reference_lines(panel)
    own = [curve for curve in curves if (curve.subject, curve.arm.targets) == (subject, targets)]
    lines = _wrapped(_heading(own, subject, targets))
    for head, line in HEAD_LINES.items():
        here = [curve for curve in own if curve.head == head]
        x = np.array([curve.arm.non_embedding_parameters for curve in here]) * SHIFTS[head]
        panel.plot(x, [curve.final.value for curve in here], line, color=GREY, linewidth=0.8)
        for place, curve in zip(x, here, strict=True):
            shade = colour[curve.arm.scale]
            panel.errorbar(
                place,
                curve.final.value,
                whiskers(curve.final),
                color=shade,
                elinewidth=1,
                zorder=3,
                marker=MARKERS.get(curve.arm.layer_norm, "o"),
                markersize=5,
                markerfacecolor=shade if head == "stored" else "white",
            )
        lines += [
            f"slope, {head}: {shown(trend.overall, sign=True, digits=2)}"
            for trend in study.trends
            if (trend.smallest.subject, trend.smallest.arm.targets, trend.smallest.head) == (subject, targets, head)
        ]
    if not panel.containers:
        say(panel, "R(T) is undefined at every scale")
    panel.set_title("\n".join(lines))


def _reference_lines(panel: Axes) -> None:
    for height in (0, 1):
        panel.axhline(height, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)))


def _limit(axes: np.ndarray, values: Iterable[float]) -> None:
    """One range of R for all panels."""
    limits = retention_range(values)
    for panel in axes.flat:
        panel.set_ylim(limits)


def _retention_caption(where: str) -> str:
    return (
        f"Retention of the intermediate task at each probed step of target training, {where}: 1 is all of it, 0 is "
        "chance (stored head) or the untouched encoder (refit head). Thick: mean over seeds; shaded: 95 % interval "
        "over seeds and examples; faint: single seeds. Same task: the target trains on the intermediate's own "
        "data. The axis of R is cut where ratios with a small denominator leave it."
    )
