"""The figures as files, for papers: those of retention, gain and cost, zero-shot gain by language, retrieval by layer.

Each function takes a study and the sweep's name and gives its drawings, none where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.benchmark.resources import by_resource
from analysis.inference.statistics import SIGNIFICANT
from analysis.measures.transfer import Cell
from analysis.report.figures.cost_figure import cost_against_gain
from analysis.report.figures.heatmap import gain_heat_map
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
    scale_handles,
    title,
    whiskers,
)
from analysis.report.figures.retention import retention_by_language, retention_by_scale, retention_by_step
from analysis.study import Study


def gain_by_language(study: Study, sweep: str) -> list[Drawing]:
    """One figure an intermediate; one panel a target, one row a language, from much pretraining text to little."""
    drawings = []
    cells = [cell for cell in study.cells if cell.gains]
    colour = colours(study.scales)
    for intermediate in distinct(cell.arm.intermediate for cell in cells):
        own = [cell for cell in cells if cell.arm.intermediate == intermediate]
        targets = distinct(cell.target for cell in own)
        scales = [scale for scale in study.scales if any(cell.arm.scale == scale for cell in own)]
        most = max(len(cell.gains) for cell in own) + 1
        figure, axes = panels(1, len(targets), height=0.5 + most * (0.12 + 0.09 * len(scales)), sharex=True)
        for column, target in enumerate(targets):
            _gain_panel(axes[0, column], [cell for cell in own if cell.target == target], scales, colour)
            axes[0, column].set_title(f"{intermediate} → {target}")
        label(axes, "gain in zero-shot score", "")
        legend(
            figure,
            [
                *scale_handles(study, scales),
                Line2D(
                    [],
                    [],
                    color=GREY,
                    marker="o",
                    markerfacecolor="white",
                    linestyle="",
                    label=f"Holm-corrected p ≥ {SIGNIFICANT}",
                ),
            ],
        )
        title(figure, sweep, f"what {intermediate} adds to each language", study)
        caption = (
            f"Transfer gain of {intermediate}: score through it minus score without it, on the same seeds and "
            f"examples, with 95 % intervals. Filled: different from 0 at p < {SIGNIFICANT} after Holm's "
            "correction over the languages and targets of a scale. Languages from much pretraining text to little "
            "(GiB of CC-100, Conneau et al. 2020); “others” is the mean of those other than English."
        )
        drawings.append(Drawing(f"gain-by-language-{intermediate}", caption, figure))
    return drawings


def retrieval_by_layer(study: Study, sweep: str) -> list[Drawing]:
    """One figure a retrieval task; one panel a scale, one line an intermediate, and a dashed one of normed states."""
    drawings = []
    for task in distinct(curve.task for curve in study.layers):
        curves, normed = (
            [curve for curve in found if curve.task == task] for found in (study.layers, study.normed_layers)
        )
        scales = [scale for scale in study.scales if any(curve.arm.scale == scale for curve in curves)]
        names = sorted({curve.arm.intermediate for curve in curves}, key=lambda name: (name != "none", name))
        colour = {"none": "#000000", **colours([name for name in names if name != "none"])}
        figure, axes = panels(1, len(scales), sharey=True)
        for panel, scale in zip(axes[0], scales, strict=True):
            for curve in (curve for curve in curves if curve.arm.scale == scale):
                name = curve.arm.intermediate
                panel.plot(curve.layers, curve.value, _line(names, name), color=colour[name], marker=".")
                panel.vlines(curve.compared_layer, curve.compared.low, curve.compared.high, color=colour[name])
                panel.axvline(curve.compared_layer, color=GREY, linestyle=":", linewidth=0.8)
            for curve in (curve for curve in normed if curve.arm.scale == scale):
                panel.plot(curve.layers, curve.value, "--", color=colour[curve.arm.intermediate], linewidth=0.8)
            panel.set_title(scale)
            panel.set_ylim(0, 1.03)
            panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        label(axes, "layer (0: embeddings; dotted: compared)", "score, mean over languages")
        handles = [
            Line2D(
                [],
                [],
                color=colour[name],
                linestyle=_line(names, name),
                marker=".",
                label="without" if name == "none" else f"after {name}",
            )
            for name in names
        ]
        dashed = Line2D([], [], color=GREY, linestyle="--", linewidth=0.8, label="after the final LayerNorm")
        legend(figure, [*handles, dashed] if normed else handles)
        title(figure, sweep, f"{task} retrieval with and without intermediate training", study)
        caption = (
            f"{task} (sentence vectors are mean-pooled states, compared by cosine), "
            "by layer, mean over languages, with a 95 % interval at the layer that is compared: what intermediate "
            "training does to multilinguality before any target is trained."
            + " Thin and dashed: the same states after the encoder’s final LayerNorm, which in a pre-LN encoder no "
            "layer’s residuals have been through." * bool(normed)
        )
        drawings.append(Drawing(f"retrieval-{task}", caption, figure))
    return drawings


DRAWINGS: tuple[Callable[[Study, str], list[Drawing]], ...] = (
    gain_heat_map,
    retention_by_step,
    retention_by_language,
    retention_by_scale,
    gain_by_language,
    cost_against_gain,
    retrieval_by_layer,
)


def _gain_panel(panel: Axes, cells: Sequence[Cell], scales: Sequence[str], colour: dict[str, str]) -> None:
    languages = by_resource({gain.language for cell in cells for gain in cell.gains})
    rows = [*languages, "others"]
    panel.axvline(0, color=GREY, linewidth=0.8)
    for cell in cells:
        offset = (scales.index(cell.arm.scale) - (len(scales) - 1) / 2) * 0.7 / max(len(scales), 2)
        points = [(gain.language, gain.gain, gain.p_holm < SIGNIFICANT) for gain in cell.gains]
        points.append(("others", cell.others_gain, cell.others_gain.differs_from_zero))
        for language, gain, filled in points:
            own = colour[cell.arm.scale]
            panel.errorbar(
                gain.value,
                rows.index(language) + offset,
                xerr=whiskers(gain),
                color=own,
                elinewidth=1,
                marker=MARKERS.get(cell.arm.layer_norm, "o"),
                markerfacecolor=own if filled else "white",
            )
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.axhline(len(languages) - 0.5, color=GREY, linewidth=0.5, linestyle=":")
    panel.set_yticks(range(len(rows)), rows)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)


def _line(names: Sequence[str], name: str) -> LineStyle:
    return LINES[names.index(name) // 7 % len(LINES)]
