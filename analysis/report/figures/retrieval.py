"""The figure of retrieval: what intermediate training does to multilinguality, layer by layer."""

from __future__ import annotations

from analysis.report.figures.vegalite import (
    ALONE,
    DASHES,
    LIT,
    Rows,
    Spec,
    bars,
    best_known,
    colour_of_name,
    field,
    interval,
    lit,
    menus,
    named,
    opening,
    rounded,
    tooltip,
)
from analysis.report.figures.views import View
from analysis.study import Study

PLAIN, NORMED = "each layer’s own", "after the final LayerNorm"
"""The states that sentences are compared by."""


def retrieval_by_layer(study: Study) -> View | None:
    """Score by layer with and without an intermediate, one panel a scale."""
    rows: Rows = []
    for curves, states in ((study.layers, PLAIN), (study.normed_layers, NORMED)):
        for curve in curves:
            common = {"k": curve.arm.scale, "i": curve.arm.intermediate, "t": curve.task, "h": states}
            by_layer = zip(curve.layers.tolist(), curve.value.tolist(), curve.changes.tolist(), strict=True)
            for layer, value, change in by_layer:
                at = interval(curve.compared) if layer == curve.compared_layer and states == PLAIN else {}
                ends = {"l": None, "u": None, **at}
                rows.append({**common, "y": layer, **ends, "v": rounded(value), "d": rounded(change)})
    if not rows:
        return None
    whole = "datum.value % 1 ? '' : format(datum.value, 'd')"  # an axis of few layers has ticks between them, too
    x = field("y", "layer (0: embeddings)", axis={"labelExpr": whole, "tickCount": 6, "ticks": False, "grid": False})
    y = field("v", "score, mean over languages", scale={"domain": [0, 1]}, axis={"tickCount": 6})
    colour = colour_of_name(rows)
    dash = named("h", "states", [PLAIN, NORMED], DASHES)
    if not study.normed_layers:
        dash["legend"] = None
    names = {"i": "intermediate", "y": "layer", "v": "score", "l": "low", "u": "high", "d": "change by it"}
    layers: list[Spec] = [
        {
            "params": [LIT],
            "mark": {"type": "line"},
            "encoding": {"x": x, "y": y, "color": colour, "strokeDash": dash, **lit(0.9)},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 25},
            "encoding": {"x": x, "y": y, "color": colour, **lit(0.9), "tooltip": tooltip(names)},
        },
        bars(x, y, {"color": colour, **lit(1)}, strokeWidth=2),
    ]
    choice = menus(rows, best_known, t="task")
    return View(
        "retrieval",
        "{} retrieval with and without intermediate training",
        "Score by layer, the mean over languages; sentence vectors are mean-pooled states, compared by cosine. The bar "
        "stands at the layer that the sweep compares and is its 95 % interval: what intermediate training does to "
        "multilinguality before any target is trained."
        + " Dashed: the same states after the encoder’s final LayerNorm, which in a pre-LN encoder no layer’s "
        "residuals have been through." * bool(study.normed_layers),
        rows,
        layers,
        panels=[scale for scale in study.scales if any(row["k"] == scale for row in rows)],
        columns=len(study.scales),
        menus=choice,
        hints=f" {ALONE}" + opening(choice, "task"),
        independent={"x": "independent"},
        sheet=lambda row: row["t"],
    )
