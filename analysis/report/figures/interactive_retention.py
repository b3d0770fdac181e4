"""The page's figures of retention: over the steps of target training, and over scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from analysis.measures.curves import HEADS, Curve
from analysis.report.figures.heatmap import axes_of
from analysis.report.figures.plotting import distinct, retention_range, step_ticks
from analysis.report.figures.vegalite import (
    ALONE,
    DIGITS,
    LIT,
    Rows,
    Spec,
    View,
    best_known,
    colour_of_name,
    colour_of_scale,
    field,
    interval,
    lit,
    menus,
    note,
    opening,
    rounded,
    rule,
    small_multiples,
    tooltip,
)
from analysis.study import Study
from trainers.stage.languages import ENGLISH

ASIDE = 1.04
"""The outermost points of one encoder's size stand at so much of it."""


def retention_over_steps(study: Study) -> View | None:
    """R(τ) of one intermediate at all scales, one panel a head and target; English."""
    curves = _in_order(study, (curve for curve in study.curves if curve.language == ENGLISH))
    if all(curve.undefined for curve in curves):
        return None
    rows: Rows = []
    for (head, path), own in _panels(curves):
        common = {"k": f"{path} · {head}", "i": own[0].subject}
        missing = [curve.arm.scale for curve in own if curve.undefined]
        if missing:
            rows.append({**common, "seeds": [], "n": f"undefined: {', '.join(missing)}"})
        for curve in own:
            for place, step in enumerate(curve.steps.tolist() if not curve.undefined else ()):
                seeds = [rounded(value) for value in curve.by_seed[:, place].tolist()]
                ends = {"v": curve.value[place], "l": curve.low[place], "u": curve.high[place]}
                estimate = {name: rounded(end) for name, end in ends.items()}
                rows.append({**common, "scale": curve.arm.scale, "s": step, "seeds": seeds, **estimate})
    defined = [curve for curve in curves if not curve.undefined]
    ticks = np.log2(1 + np.array(step_ticks(max(curve.steps[-1] for curve in defined)))).round(DIGITS).tolist()
    x = field("x", "target step τ", axis={"labelExpr": "format(pow(2, datum.value) - 1, ',.0f')", "values": ticks})
    limits = retention_range(end for curve in defined for line in (curve.value, curve.low, curve.high) for end in line)
    y = field("v", "retention R(τ)", scale={"domain": limits, "nice": False}, axis={"tickCount": 6})
    names = tooltip({"scale": "scale", "s": "step", "v": "R(τ)", "l": "low", "u": "high"})
    colour = colour_of_scale(study)
    layers: list[Spec] = [
        rule("y", 0),
        rule("y", 1),
        {
            "transform": [
                {"flatten": ["seeds"], "as": ["seed"]},
                {"window": [{"op": "row_number", "as": "n"}], "groupby": ["k", "scale", "s"]},
            ],
            "mark": {"type": "line", "strokeWidth": 0.6, "opacity": 0.45, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": "seed"}, "color": colour, "detail": {"field": "n"}},
        },
        {
            "mark": {"type": "area", "opacity": 0.15, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "u"}, "color": colour},
        },
        {
            "mark": {"type": "line", "point": {"size": 30}, "clip": True},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": names},
        },
        note(),
    ]
    choice = menus(rows, best_known, i="intermediate")
    return View(
        "retention",
        "What is left of the intermediate task at each probed step of target training, in English: 1 is all of it, 0 "
        "is chance (stored head) or the untouched encoder (refit head). Thick: mean over seeds; shaded: 95 % interval "
        "over seeds and examples; faint: single seeds. Same task: the target trains on the intermediate’s own data. "
        "The axis is cut where ratios with a small denominator leave it."
        + " Undefined: intermediate training left nothing above 0 that could be retained."
        * (len(defined) < len(curves))
        + opening(choice, "intermediate"),
        small_multiples(
            rows,
            choice,
            layers,
            [{"calculate": "log(1 + datum.s) / LN2", "as": "x"}],
            panels=distinct(row["k"] for row in rows),
            columns=len({curve.arm.targets for curve in curves}),
        ),
    )


def retention_over_scale(study: Study) -> View | None:
    """R(T) of every training against parameters, one panel a head and target; English."""
    defined = [curve for curve in study.curves if curve.language == ENGLISH and not curve.undefined]
    curves = _in_order(study, (curve for curve in defined if not curve.same_task))
    if len({curve.arm.non_embedding_parameters for curve in curves}) < 2:
        return None
    names = distinct(curve.subject for curve in curves)
    rows: Rows = [
        {
            "k": f"→ {'+'.join(curve.arm.targets)} · {curve.head}",
            "i": curve.subject,
            "x": round(curve.arm.non_embedding_parameters * _beside(names.index(curve.subject), len(names))),
            "scale": curve.arm.scale,
            "p": curve.arm.non_embedding_parameters,
            "f": f"{curve.arm.layer_norm}-LN",
            **interval(curve.final),
        }
        for curve in curves
    ]
    sizes = sorted({row["p"] for row in rows})
    x = field(
        "x",
        "non-embedding parameters",
        scale={"type": "log", "domain": [sizes[0] / 1.5, sizes[-1] * 1.5], "nice": False},
        axis={"format": ".3~s", "values": sizes},
    )
    limits = retention_range(row[end] for row in rows for end in "vlu" if row[end] is not None)
    y = field("v", "final retention R(T)", scale={"domain": limits, "nice": False}, axis={"tickCount": 6})
    shown = {"i": "intermediate", "scale": "scale", "v": "R(T)", "l": "low", "u": "high", "f": "LayerNorm"}
    common = {"x": x, "color": colour_of_name(rows), "detail": {"field": "i"}}
    shape = {"field": "f", "type": "nominal", "title": "LayerNorm"}
    placed = len({row["f"] for row in rows}) > 1
    layers: list[Spec] = [
        rule("y", 0),
        rule("y", 1),
        {"params": [LIT], "mark": {"type": "line", "clip": True}, "encoding": {**common, "y": y, **lit(0.6)}},
        {
            "mark": {"type": "rule", "clip": True},
            "encoding": {**common, "y": {**y, "field": "l"}, "y2": {"field": "u"}, **lit(0.5)},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "clip": True},
            "encoding": {
                **common,
                "y": y,
                **lit(0.9),
                **({"shape": shape} if placed else {}),
                "tooltip": tooltip(shown),
            },
        },
    ]
    return View(
        "retention-by-scale",
        "Retention at the end of target training against the encoder’s size, one line an intermediate. Bars are 95 % "
        "intervals. "
        + "Marks tell LayerNorm placement, which changes with scale: compare within a mark first. "
        * placed
        + "Trainings whose target is the intermediate’s own task are left out, and so is what is undefined. "
        f"{ALONE}",
        small_multiples(
            rows,
            [],
            layers,
            panels=distinct(row["k"] for row in rows),
            columns=len({curve.arm.targets for curve in curves}),
        ),
    )


def _beside(place: int, of: int) -> float:
    """A factor on a logarithmic axis, so that the bars of one size stand side by side."""
    return float(ASIDE ** (2 * place / (of - 1) - 1)) if of > 1 else 1.0


def _in_order(study: Study, curves: Iterable[Curve]) -> list[Curve]:
    """By head, then target as the heat map has them, then intermediate."""
    targets = {name: place for place, name in enumerate(axes_of(study)[1])}
    subjects = distinct(curve.subject for curve in study.curves)

    def order(curve: Curve) -> tuple:
        return HEADS.index(curve.head), [targets[name] for name in curve.arm.targets], subjects.index(curve.subject)

    return sorted(curves, key=order)


def _panels(curves: Sequence[Curve]) -> Iterable[tuple[tuple[str, str], list[Curve]]]:
    """Those of all scales together, by head and path."""
    return ((name, list(own)) for name, own in groupby(curves, key=lambda curve: (curve.head, curve.path)))
