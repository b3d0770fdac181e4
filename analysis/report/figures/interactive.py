"""The report's figures, which one can hover and filter: Vega-Lite specifications with their data.

Each function takes a study and gives its view, None where there is nothing to show.  Vega (BSD licence) draws them from
a script inside the page; nothing is loaded from anywhere, and texts only ever become texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.benchmark.resources import CC100_GIB, by_resource
from analysis.inference.statistics import SIGNIFICANT
from analysis.report.figures.cost import priced, time_unit
from analysis.report.figures.heatmap import SHOWN, axes_of
from analysis.report.figures.interactive_retention import retention_over_scale, retention_over_steps
from analysis.report.figures.plotting import distinct
from analysis.report.figures.vegalite import (
    ALONE,
    DIGITS,
    LIT,
    SHAPES,
    Rows,
    Spec,
    View,
    best_known,
    colour_of_name,
    colour_of_scale,
    field,
    first,
    interval,
    lit,
    menus,
    opening,
    rounded,
    rule,
    single,
    small_multiples,
    tooltip,
)
from analysis.report.findings import listed
from analysis.study import Study

EACH, BETWEEN = "each scale", "differences between scales"


def gain_heat_map(study: Study) -> View | None:
    """Intermediate × target, one panel a scale, or a difference between scales."""
    rows: Rows = [
        {
            "k": one.where,
            "d": EACH if one.where in study.scales else BETWEEN,
            "side": one.side,
            "i": one.intermediate,
            "t": one.target,
            "sure": one.gain.differs_from_zero,
        }
        | {name: None if value is None else rounded(100 * value) for name, value in interval(one.gain).items()}
        for one in study.grids
    ]
    if not rows:
        return None
    largest = max(SHOWN, *(abs(row["v"]) for row in rows))
    intermediates, targets = axes_of(study)
    x: Spec = {"field": "t", "type": "nominal", "title": "target", "scale": {"domain": targets}}
    x["axis"] = {"title": None, "labelAngle": -40}
    y: Spec = {"field": "i", "type": "nominal", "title": "intermediate", "scale": {"domain": intermediates}}
    y["axis"] = {"title": None}
    fill = {
        "field": "v",
        "type": "quantitative",
        "title": "points",
        # Reversed: from orange to purple, as the files' PuOr.
        "scale": {"scheme": "purpleorange", "reverse": True, "domain": [-largest, largest], "domainMid": 0},
        "legend": {"gradientLength": 200, "titleOrient": "left"},
    }
    names = {"i": "intermediate", "t": "target", "v": "points", "l": "low", "u": "high"}
    shade = {"condition": {"test": f"abs(datum.v) > {0.6 * largest}", "value": "white"}, "value": "black"}
    text = {
        "text": {"field": "v", "format": "+.1f"},
        "color": shade,
        "opacity": {"condition": {"test": "datum.sure", "value": 1}, "value": 0.55},
    }
    layers: list[Spec] = [
        {"mark": "rect", "encoding": {"x": x, "y": y, "color": fill, "tooltip": tooltip(names)}},
        {"mark": {"type": "text", "fontSize": 11}, "encoding": {"x": x, "y": y, **text}},
    ]
    side = menus(rows, best_known, side="languages")
    panels = distinct(row["k"] for row in rows)
    return View(
        "gain-heat-map",
        "Score through the intermediate (row) minus score without it, on each target (column), in points of 100, on "
        "common seeds; a difference between scales is the larger scale’s gain minus the smaller one’s. Dark numbers "
        "differ from 0 in their 95 % interval, pale ones do not. Retrieval is compared at the layer that the sweep "
        "names and has no English side. White: not measured, or diverged." + opening(side, "languages"),
        small_multiples(
            rows,
            [*side, *menus(rows, first, d="show")],
            layers,
            panels=panels,
            columns=len(study.scales),
            least=90 + 36 * len(targets),
            height={"step": 26},
        ),
    )


def gain_by_language(study: Study) -> View | None:
    """G(l) of one intermediate, one panel a target; languages sorted by what the encoder was pretrained on."""
    targets = axes_of(study)[1]
    rows: Rows = [
        {
            "k": f"{cell.arm.intermediate} → {cell.target}",
            "i": cell.arm.intermediate,
            "scale": cell.arm.scale,
            "g": gain.language,
            "gib": CC100_GIB.get(gain.language, 0.0),
            "sure": gain.p_holm < SIGNIFICANT,
            **interval(gain.gain),
        }
        for cell in sorted(study.cells, key=lambda cell: targets.index(cell.target))
        for gain in cell.gains
    ]
    if not rows:
        return None
    languages = by_resource({row["g"] for row in rows})
    y: Spec = {"field": "g", "type": "nominal", "title": "language", "sort": languages}
    y["axis"] = {"title": None, "labelOverlap": False}
    colour = colour_of_scale(study)
    offset = {"yOffset": {"field": "scale", "sort": study.scales}}
    x = field("v", "gain in zero-shot score", axis={"tickCount": 5})
    names = {"g": "language", "scale": "scale", "v": "gain", "l": "low", "u": "high", "gib": "GiB of CC-100"}
    filled = {"condition": {"test": "datum.sure", "value": 1}, "value": 0.1}
    layers: list[Spec] = [
        rule("x", 0),
        {
            "mark": {"type": "rule"},
            "encoding": {"y": y, **offset, "x": {**x, "field": "l"}, "x2": {"field": "u"}, "color": colour},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 45, "strokeWidth": 1.5},
            "encoding": {
                "y": y,
                **offset,
                "x": x,
                "color": colour,
                "stroke": colour,
                "fillOpacity": filled,
                "tooltip": tooltip(names),
            },
        },
    ]
    choice = menus(rows, best_known, i="intermediate")
    return View(
        "gain-by-language",
        "Score through the intermediate minus score without it, on the same seeds and examples, with 95 % intervals. "
        f"Filled: different from 0 at p < {SIGNIFICANT} after Holm’s correction over the languages and targets of a "
        "scale. Languages from much pretraining text to little (GiB of CC-100, Conneau et al. 2020)."
        + opening(choice, "intermediate"),
        small_multiples(
            rows,
            choice,
            layers,
            panels=distinct(row["k"] for row in rows),
            columns=len({cell.target for cell in study.cells}),
            height=max(len(cell.gains) for cell in study.cells) * max(26, 10 * len(study.scales)),
            independent={"y": "independent", "yOffset": "independent"},
        ),
    )


def retrieval_by_layer(study: Study) -> View | None:
    """Accuracy by layer with and without an intermediate, one panel a scale."""
    rows: Rows = []
    for curves, normed in ((study.layers, False), (study.normed_layers, True)):
        for curve in curves:
            common = {"k": curve.arm.scale, "i": curve.arm.intermediate, "t": curve.task, "n": normed}
            by_layer = zip(curve.layers.tolist(), curve.value.tolist(), curve.changes.tolist(), strict=True)
            for layer, value, change in by_layer:
                at = interval(curve.compared) if layer == curve.compared_layer and not normed else {}
                ends = {"l": None, "u": None, **at}
                rows.append({**common, "y": layer, **ends, "v": rounded(value), "d": rounded(change)})
    if not rows:
        return None
    x = field("y", "layer (0: embeddings)", axis={"format": "d", "tickCount": 6, "tickMinStep": 1})
    y = field("v", "score, mean over languages", scale={"domain": [0, 1]}, axis={"tickCount": 6})
    colour = colour_of_name(rows)
    dashes = {"domain": [False, True], "range": [[1, 0], [4, 3]]}
    dash = {"strokeDash": {"field": "n", "type": "nominal", "scale": dashes, "legend": None}}
    names = {"i": "intermediate", "y": "layer", "v": "score", "l": "low", "u": "high", "d": "change by it"}
    layers: list[Spec] = [
        {
            "params": [LIT],
            "mark": {"type": "line"},
            "encoding": {"x": x, "y": y, "color": colour, **dash, **lit(0.9)},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 25},
            "encoding": {"x": x, "y": y, "color": colour, **lit(0.9), "tooltip": tooltip(names)},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "u"}, "color": colour, **lit(1)},
        },
    ]
    choice = menus(rows, best_known, t="task")
    return View(
        "retrieval",
        "Sentence vectors are mean-pooled states, compared by cosine. The bar stands at the layer that the sweep "
        "compares and is its 95 % interval. Dashed: the same states after the encoder’s final LayerNorm (pre-LN "
        f"encoders only). {ALONE}" + opening(choice, "task"),
        small_multiples(
            rows,
            choice,
            layers,
            panels=[scale for scale in study.scales if any(row["k"] == scale for row in rows)],
            columns=len(study.scales),
            independent={"x": "independent"},
        ),
    )


def cost_against_gain(study: Study) -> View | None:
    """What a training through an intermediate took, and what it brought."""
    found = priced(study)
    if not found:
        return None
    unit, per_hour = time_unit(max(one.hours for one in found))
    rows: Rows = [
        {
            "i": one.intermediate,
            "scale": one.scale,
            "c": float(f"{one.hours * per_hour:.{DIGITS}g}"),
            **interval(one.gain),
        }
        for one in found
    ]
    title = f"{unit} of an intermediate and a target training"
    times = [row["c"] for row in rows]
    domain = [min(times) / 1.5, max(times) * 1.5]
    x = field("c", title, scale={"type": "log", "domain": domain, "nice": False}, axis={"labelSeparation": 6})
    y = field("v", "mean gain over targets", axis={"tickCount": 6})
    intermediates = distinct(row["i"] for row in rows)
    shapes = {"domain": intermediates, "range": SHAPES[: len(intermediates)]}
    told_apart = 1 < len(intermediates) <= len(SHAPES)
    shape = {"shape": {"field": "i", "type": "nominal", "title": "intermediate", "scale": shapes}} if told_apart else {}
    names = {"i": "intermediate", "scale": "scale", "c": unit, "v": "gain", "l": "low", "u": "high"}
    colour = colour_of_scale(study)
    layers: list[Spec] = [
        rule("y", 0),
        {
            "mark": {"type": "rule", "opacity": 0.5},
            "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "u"}, "color": colour},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70},
            "encoding": {"x": x, "y": y, "color": colour, **shape, "tooltip": tooltip(names)},
        },
    ]
    return View(
        "cost-against-gain",
        "Mean time of one intermediate training and one target training (wall time of the job, whatever it ran on) "
        f"against the gain, the mean over {listed(found[0].targets)} and their languages, with 95 % intervals.",
        single(rows, layers),
    )


@dataclass(frozen=True)
class Figure:
    """A heading of the report, what draws it, and what to say where there is nothing to draw."""

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
