"""The report's figures, which one can hover and filter: Vega-Lite specifications with their data.

Each function takes a study and gives its view, None where there is nothing to show.  Vega (BSD licence) draws them from
a script inside the page; nothing is loaded from anywhere, and texts only ever become texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.cost import priced
from analysis.findings import listed
from analysis.heatmap import SHOWN, axes_of
from analysis.plotting import OKABE_ITO, distinct
from analysis.resources import CC100_GIB, by_resource
from analysis.statistics import SIGNIFICANT, Estimate
from analysis.study import Study
from trainers.tasks.languages import ENGLISH

Rows = list[dict[str, Any]]
Spec = dict[str, Any]
DIGITS = 4
WIDTH, HEIGHT = 640, 340
RETENTION_DOMAIN = [-0.5, 1.6]
"""Where the axis of R is cut at the most: ratios with a small denominator shoot off."""


LIT: Spec = {"name": "lit", "select": {"type": "point", "fields": ["i"]}, "bind": "legend"}
ALONE = "Click a name of the legend to see it alone, with shift several."


@dataclass(frozen=True)
class View:
    """One interactive figure."""

    name: str
    caption: str
    spec: Spec


def retention_over_steps(study: Study) -> View | None:
    """R(τ) of one training at all scales; English."""
    rows: Rows = []
    for curve in study.curves:
        if curve.language == ENGLISH and not curve.undefined:
            common = {"i": curve.subject, "t": "+".join(curve.arm.targets), "scale": curve.arm.scale, "h": curve.head}
            for place, step in enumerate(curve.steps.tolist()):
                seeds = [_round(value) for value in curve.by_seed[:, place].tolist()]
                ends = {"v": curve.value[place], "l": curve.low[place], "u": curve.high[place]}
                rows.append({**common, "s": step, "seeds": seeds, **{name: _round(end) for name, end in ends.items()}})
    if not rows:
        return None
    filters = [_select("i", "intermediate", rows), _select("t", "target", rows), _select("h", "head", rows)]
    x = _field("x", "Q", "target step τ", axis={"labelExpr": "format(pow(2, datum.value) - 1, ',.0f')", "tickCount": 8})
    y = _field("v", "Q", "retention R(τ)", scale={"domain": RETENTION_DOMAIN, "clamp": False})
    tooltip = _tooltip({"scale": "scale", "s": "step", "v": "R(τ)", "l": "low", "u": "high"})
    layers = [
        {
            "transform": [
                {"flatten": ["seeds"], "as": ["seed"]},
                {"window": [{"op": "row_number", "as": "n"}], "groupby": ["scale", "s"]},
            ],
            "mark": {"type": "line", "strokeWidth": 0.6, "opacity": 0.45, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": "seed"}, "color": _colour(study), "detail": {"field": "n"}},
        },
        {
            "mark": {"type": "area", "opacity": 0.15, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "u"}, "color": _colour(study)},
        },
        {
            "mark": {"type": "line", "point": {"size": 40}, "clip": True},
            "encoding": {"x": x, "y": y, "color": _colour(study), "tooltip": tooltip},
        },
    ]
    return View(
        "retention",
        "What is left of the intermediate task at each probed step of target training, in English: 1 is all of it, 0 "
        "is chance (stored head) or the untouched encoder (refit head). Thick: mean over seeds; shaded: 95 % interval "
        "over seeds and examples; faint: single seeds.",
        _spec(
            rows,
            filters,
            [{"calculate": "log(1 + datum.s) / LN2", "as": "x"}],
            layer=[_rule("y", 0), _rule("y", 1), *layers],
        ),
    )


def retention_over_scale(study: Study) -> View | None:
    """R(T) of every training against parameters; English."""
    rows: Rows = [
        {
            "i": curve.subject,
            "t": "+".join(curve.arm.targets),
            "scale": curve.arm.scale,
            "h": curve.head,
            "p": curve.arm.non_embedding_parameters,
            "f": curve.arm.layer_norm,
            **_interval(curve.final),
        }
        for curve in study.curves
        if curve.language == ENGLISH and not curve.undefined and not curve.same_task
    ]
    if len({row["p"] for row in rows}) < 2:
        return None
    x = _field("p", "Q", "non-embedding parameters", scale={"type": "log"}, axis={"format": ".2s", "tickCount": 4})
    y = _field("v", "Q", "final retention R(T)", scale={"domain": RETENTION_DOMAIN})
    colour = _colour_of_name(rows)
    names = {
        "i": "intermediate",
        "t": "target",
        "scale": "scale",
        "v": "R(T)",
        "l": "low",
        "u": "high",
        "f": "LayerNorm",
    }
    common = {"x": x, "color": colour, "detail": {"field": "i"}}
    return View(
        "retention-by-scale",
        "Retention at the end of target training against the encoder’s size, one line a training (intermediate → "
        "target). "
        "Bars are 95 % intervals. Marks tell LayerNorm placement, which changes with scale in XLM-R: compare within a "
        f"mark first. Trainings whose target is the intermediate’s own task are left out. {ALONE}",
        _spec(
            rows,
            [_select("t", "target", rows), _select("h", "head", rows)],
            layer=[
                _rule("y", 0),
                _rule("y", 1),
                {"params": [LIT], "mark": {"type": "line", "clip": True}, "encoding": {**common, "y": y, **_lit(0.6)}},
                {
                    "mark": {"type": "rule", "clip": True},
                    "encoding": {**common, "y": {**y, "field": "l"}, "y2": {"field": "u"}, **_lit(0.5)},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 70, "clip": True},
                    "encoding": {
                        **common,
                        "y": y,
                        **_lit(0.9),
                        "shape": {"field": "f", "type": "nominal", "title": "LayerNorm"},
                        "tooltip": _tooltip(names),
                    },
                },
            ],
        ),
    )


def gain_heat_map(study: Study) -> View | None:
    """Intermediate × target at each scale, and the difference between scales."""
    rows: Rows = [
        {"w": one.where, "side": one.side, "i": one.intermediate, "t": one.target, "sure": one.gain.differs_from_zero}
        | {name: None if value is None else _round(100 * value) for name, value in _interval(one.gain).items()}
        for one in study.grids
    ]
    if not rows:
        return None
    largest = max(SHOWN, *(abs(row["v"]) for row in rows))
    intermediates, targets = axes_of(study)
    x = {"field": "t", "type": "nominal", "title": "target", "axis": {"labelAngle": -40}, "scale": {"domain": targets}}
    y = {"field": "i", "type": "nominal", "title": "intermediate", "scale": {"domain": intermediates}}
    fill = {
        "field": "v",
        "type": "quantitative",
        "title": "points",
        # Reversed: from orange to purple, as the files' PuOr.
        "scale": {"scheme": "purpleorange", "reverse": True, "domain": [-largest, largest], "domainMid": 0},
    }
    names = {"i": "intermediate", "t": "target", "v": "points", "l": "low", "u": "high"}
    return View(
        "gain-heat-map",
        "Score through the intermediate minus score without it, in points of 100, on common seeds; “large − base” is "
        "the difference of the two scales’ gains. Dark numbers differ from 0 in their 95 % interval, pale ones do not. "
        "Retrieval is compared at the layer that the sweep names and has no English side. Empty: not measured, or "
        "diverged.",
        _spec(
            rows,
            [_select("w", "scale", rows), _select("side", "languages", rows)],
            height={"step": 26},
            layer=[
                {"mark": "rect", "encoding": {"x": x, "y": y, "color": fill, "tooltip": _tooltip(names)}},
                {
                    "mark": {"type": "text", "fontSize": 11},
                    "encoding": {
                        "x": x,
                        "y": y,
                        "text": {"field": "v", "format": "+.1f"},
                        "color": {
                            "condition": {"test": f"abs(datum.v) > {0.6 * largest}", "value": "white"},
                            "value": "black",
                        },
                        "opacity": {"condition": {"test": "datum.sure", "value": 1}, "value": 0.55},
                    },
                },
            ],
        ),
    )


def gain_by_language(study: Study) -> View | None:
    """G(l) of one intermediate and target, languages sorted by what the encoder was pretrained on."""
    rows: Rows = []
    for cell in study.cells:
        for gain in cell.gains:
            rows.append(
                {
                    "i": cell.arm.intermediate,
                    "t": cell.target,
                    "scale": cell.arm.scale,
                    "g": gain.language,
                    "gib": CC100_GIB.get(gain.language, 0.0),
                    "sure": gain.p_holm < SIGNIFICANT,
                    **_interval(gain.gain),
                }
            )
    if not rows:
        return None
    languages = by_resource({row["g"] for row in rows})
    y = {"field": "g", "type": "nominal", "title": "language", "sort": languages, "axis": {"labelOverlap": False}}
    colour = _colour(study)
    offset = {"yOffset": {"field": "scale", "sort": study.scales}}
    x = _field("v", "Q", "gain in zero-shot score")
    names = {"g": "language", "scale": "scale", "v": "gain", "l": "low", "u": "high", "gib": "GiB of CC-100"}
    filled = {"condition": {"test": "datum.sure", "value": 1}, "value": 0.1}
    return View(
        "gain-by-language",
        "Score through the intermediate minus score without it, on the same seeds and examples, with 95 % intervals. "
        f"Filled: different from 0 at p < {SIGNIFICANT} after Holm’s correction over the languages and targets of a "
        f"scale. "
        "Languages from much pretraining text to little (GiB of CC-100, Conneau et al. 2020).",
        _spec(
            rows,
            [_select("i", "intermediate", rows), _select("t", "target", rows)],
            height={"step": max(8, 26 // max(1, len(study.scales)))},
            layer=[
                _rule("x", 0),
                {
                    "mark": {"type": "rule"},
                    "encoding": {
                        "y": y,
                        **offset,
                        "x": {**x, "field": "l"},
                        "x2": {"field": "u"},
                        "color": _colour(study),
                    },
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
                        "tooltip": _tooltip(names),
                    },
                },
            ],
        ),
    )


def retrieval_by_layer(study: Study) -> View | None:
    """Accuracy by layer before phase 2 and after."""
    rows: Rows = []
    for curves, normed in ((study.layers, False), (study.normed_layers, True)):
        for curve in curves:
            common = {"i": curve.arm.intermediate, "t": curve.task, "scale": curve.arm.scale, "n": normed}
            by_layer = zip(curve.layers.tolist(), curve.value.tolist(), curve.changes.tolist(), strict=True)
            for layer, value, change in by_layer:
                at = _interval(curve.compared) if layer == curve.compared_layer and not normed else {}
                rows.append({**common, "y": layer, "l": None, "u": None, **at, "v": _round(value), "d": _round(change)})
    if not rows:
        return None
    x = _field("y", "Q", "layer (0: embeddings)", axis={"format": "d", "tickMinStep": 1})
    y = _field("v", "Q", "score, mean over languages", scale={"domain": [0, 1]})
    colour = _colour_of_name(rows)
    dashes = {"domain": [False, True], "range": [[1, 0], [4, 3]]}
    dash = {"strokeDash": {"field": "n", "type": "nominal", "scale": dashes, "legend": None}}
    names = {"i": "intermediate", "y": "layer", "v": "score", "l": "low", "u": "high", "d": "change through phase 2"}
    return View(
        "retrieval",
        "Sentence vectors are mean-pooled states, compared by cosine. The bar stands at the layer that the sweep "
        "compares "
        "and is its 95 % interval. Dashed: the same states after the encoder’s final LayerNorm (pre-LN encoders only). "
        f"{ALONE}",
        _spec(
            rows,
            [_select("t", "task", rows), _select("scale", "scale", rows)],
            layer=[
                {
                    "params": [LIT],
                    "mark": {"type": "line"},
                    "encoding": {"x": x, "y": y, "color": colour, **dash, **_lit(0.9)},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 25},
                    "encoding": {"x": x, "y": y, "color": colour, **_lit(0.9), "tooltip": _tooltip(names)},
                },
                {
                    "transform": [{"filter": "datum.l != null"}],
                    "mark": {"type": "rule", "strokeWidth": 2},
                    "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "u"}, "color": colour, **_lit(1)},
                },
            ],
        ),
    )


def cost_against_gain(study: Study) -> View | None:
    """What a training through an intermediate took, and what it brought."""
    found = priced(study)
    rows: Rows = [
        {"i": one.intermediate, "scale": one.scale, "c": float(f"{one.hours:.{DIGITS}g}"), **_interval(one.gain)}
        for one in found
    ]
    if not rows:
        return None
    title = "hours of an intermediate and a target training"
    x = _field("c", "Q", title, scale={"type": "log"}, axis={"labelSeparation": 6})
    y = _field("v", "Q", "mean gain over targets")
    names = {"i": "intermediate", "scale": "scale", "c": "hours", "v": "gain", "l": "low", "u": "high"}
    return View(
        "cost-against-gain",
        "Mean hours of one intermediate training and one target training (wall time of the job, whatever it ran on) "
        f"against the gain, the mean over {listed(found[0].targets)} and their languages, with 95 % intervals.",
        _spec(
            rows,
            [],
            layer=[
                _rule("y", 0),
                {
                    "mark": {"type": "rule", "opacity": 0.5},
                    "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "u"}, "color": _colour(study)},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 70},
                    "encoding": {"x": x, "y": y, "color": _colour(study), "tooltip": _tooltip(names)},
                },
            ],
        ),
    )


@dataclass(frozen=True)
class Figure:
    """A heading of the report, what draws it, and what to say where there is nothing to draw."""

    heading: str
    draw: Callable[[Study], View | None]
    missing: str


NO_GAIN = "No gain yet: that takes a target trained through an intermediate and without one, on a common seed."
FIGURES = (
    Figure("What each intermediate adds to each target", gain_heat_map, NO_GAIN),
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
    Figure("Zero-shot gain by language", gain_by_language, NO_GAIN),
    Figure("Cost against gain", cost_against_gain, NO_GAIN),
    Figure("Multilinguality before and after phase 2", retrieval_by_layer, "No retrieval has been evaluated."),
)


# -- parts of a specification ----------------------------------------------------------------------------------


def _spec(rows: Rows, filters: Sequence[Spec], transform: Sequence[Spec] = (), **more: Any) -> Spec:
    """Rows filtered by what is selected in the menus."""
    chosen = [{"filter": f"datum.{one['name'].removeprefix('only_')} === {one['name']}"} for one in filters]
    return {
        "data": {"values": rows},
        "params": list(filters),
        "transform": [*chosen, *transform],
        "width": WIDTH,
        "height": HEIGHT,
        "config": {"view": {"stroke": None}, "axis": {"gridColor": "#eee"}},
        **more,
    }


def _select(field: str, label: str, rows: Rows) -> Spec:
    """A menu of the values that a field has."""
    options = distinct(row[field] for row in rows)
    return {
        "name": f"only_{field}",
        "value": options[0],
        "bind": {"input": "select", "options": options, "name": f"{label} "},
    }


def _field(name: str, kind: str, title: str, **more: Any) -> Spec:
    return {"field": name, "type": {"Q": "quantitative", "N": "nominal"}[kind], "title": title, **more}


def _colour(study: Study) -> Spec:
    used = [OKABE_ITO[place % len(OKABE_ITO)] for place in range(len(study.scales))]
    return {"field": "scale", "type": "nominal", "sort": study.scales, "scale": {"domain": study.scales, "range": used}}


def _colour_of_name(rows: Rows) -> Spec:
    """One colour an intermediate; of more than OKABE_ITO has, twenty that are told apart less well."""
    few = len(distinct(row["i"] for row in rows)) <= len(OKABE_ITO)
    scale = {"range": list(OKABE_ITO)} if few else {"scheme": "category20"}
    return {"field": "i", "type": "nominal", "title": "intermediate", "scale": scale}


def _lit(opacity: float) -> Spec:
    """Pale where another name of the legend was clicked."""
    return {"opacity": {"condition": {"param": LIT["name"], "value": opacity}, "value": 0.07}}


def _rule(axis: str, at: float) -> Spec:
    mark = {"type": "rule", "strokeDash": [4, 3], "color": "#666666", "strokeWidth": 0.8}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": {axis: {"datum": at}}}


def _tooltip(names: dict[str, str]) -> list[Spec]:
    return [{"field": field, "title": title} for field, title in names.items()]


def _interval(estimate: Estimate) -> dict[str, float | None]:
    return {"v": _round(estimate.value), "l": _round(estimate.low), "u": _round(estimate.high)}


def _round(value: float) -> float | None:
    """JSON knows no NaN."""
    return round(value, DIGITS) if math.isfinite(value) else None
