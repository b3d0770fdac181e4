"""The figures of retention: over the steps of target training, and over scale."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import numpy as np

from analysis.measures.curves import HEADS, Curve
from analysis.report.figures.gains import axes_of
from analysis.report.figures.vegalite import (
    ALONE,
    DIGITS,
    LIT,
    SHAPES,
    Rows,
    Spec,
    bars,
    best_known,
    colour_of_name,
    colour_of_scale,
    distinct,
    field,
    interval,
    lit,
    menus,
    named,
    note,
    opening,
    rounded,
    rule,
    tooltip,
)
from analysis.report.figures.views import View
from analysis.study import Study
from trainers.stage.languages import ENGLISH

ASIDE = 1.04
"""A factor on the axis of sizes: so far from an encoder's size its outermost points stand."""
RETENTION_LIMITS = (-0.5, 1.6)
"""Where the axis of R is cut at the most: ratios with a small denominator shoot off."""
CUT = "The axis is cut where ratios with a small denominator leave it."


def retention_over_steps(study: Study) -> View | None:
    """R(τ) in English: a panel for each intermediate, head and target, all scales in it."""
    curves = _in_order(study, (curve for curve in study.curves if curve.language == ENGLISH))
    if all(curve.undefined for curve in curves):
        return None
    rows = _step_rows(curves, lambda curve: f"{curve.path} · {curve.head}")
    choice = menus(rows, best_known, i="intermediate")
    sheets = _sheets(curves)
    return View(
        "retention",
        "what is left of the intermediate task (English)",
        _step_caption(curves, "in English"),
        rows,
        _step_layers(study, curves),
        panels=distinct(row["k"] for row in rows),
        columns=len({curve.arm.targets for curve in curves}),
        menus=choice,
        hints=opening(choice, "intermediate"),
        transform=STEP_AXIS,
        sheet=lambda row: sheets[row["i"]],
    )


def retention_over_languages(study: Study) -> View | None:
    """R(τ) in other languages than English, a sheet for each probed task: where it is defined at any scale."""
    curves = _in_order(study, (curve for curve in study.curves if curve.language != ENGLISH))

    def row_of(curve: Curve) -> str:
        return f"{curve.subject} in {curve.language} ({curve.head} head)"

    defined = {row_of(curve) for curve in curves if not curve.undefined}
    drawn = [curve for curve in curves if row_of(curve) in defined]
    if not drawn:
        return None
    rows = _step_rows(drawn, lambda curve: f"{curve.language} · {curve.path} · {curve.head}")
    nowhere = distinct(row_of(curve) for curve in curves if row_of(curve) not in defined)
    return View(
        "retention-by-language",
        "what is left of {} in other languages (zero-shot)",
        _step_caption(drawn, "in languages never trained on")
        + (f" Not defined at any scale: {', '.join(nowhere)}." if nowhere else ""),
        rows,
        _step_layers(study, drawn),
        panels=distinct(row["k"] for row in rows),
        columns=len({curve.arm.targets for curve in drawn}),
        transform=STEP_AXIS,
        sheet=lambda row: row["i"],
    )


STEP_AXIS: Sequence[Spec] = ({"calculate": "log(1 + datum.s) / LN2", "as": "x"},)


def _step_rows(curves: Sequence[Curve], panel: Callable[[Curve], str]) -> Rows:
    """A row for each probed step of each curve, and a note where curves of a panel are undefined."""
    rows: Rows = []
    for name, several in groupby(curves, panel):
        in_panel = list(several)
        common = {"k": name, "i": in_panel[0].subject}
        missing = [curve.arm.scale for curve in in_panel if curve.undefined]
        if missing:
            rows.append({**common, "seeds": [], "n": f"undefined: {', '.join(missing)}"})
        for curve in in_panel:
            for place, step in enumerate(curve.steps.tolist() if not curve.undefined else ()):
                seeds = [rounded(value) for value in curve.by_seed[:, place].tolist()]
                ends = {"v": curve.value[place], "l": curve.low[place], "u": curve.high[place]}
                estimate = {name: rounded(end) for name, end in ends.items()}
                rows.append({**common, "scale": curve.arm.scale, "s": step, "seeds": seeds, **estimate})
    return rows


def _step_layers(study: Study, curves: Sequence[Curve]) -> list[Spec]:
    defined = [curve for curve in curves if not curve.undefined]
    ticks = np.log2(1 + np.array(step_ticks(max(curve.steps[-1] for curve in defined)))).round(DIGITS).tolist()
    x = field("x", "target step τ", axis={"labelExpr": "format(pow(2, datum.value) - 1, ',.0f')", "values": ticks})
    limits = retention_range(end for curve in defined for line in (curve.value, curve.low, curve.high) for end in line)
    y = field("v", "retention R(τ)", scale={"domain": limits, "nice": False}, axis={"tickCount": 6})
    colour = colour_of_scale(study)
    names = tooltip({"scale": "scale", "s": "step", "v": "R(τ)", "l": "low", "u": "high"})
    return [
        rule("y", 0),
        rule("y", 1),
        {
            "transform": [
                {"flatten": ["seeds"], "as": ["seed"]},
                {"window": [{"op": "row_number", "as": "n"}], "groupby": ["k", "scale", "s"]},
            ],
            "mark": {"type": "line", "strokeWidth": 0.6, "strokeOpacity": 0.45, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": "seed"}, "color": colour, "detail": {"field": "n"}},
        },
        bars(x, y, {"color": colour}, type="area", fillOpacity=0.15, clip=True),
        {
            "mark": {"type": "line", "point": {"size": 30}, "clip": True},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": names},
        },
        note(),
    ]


def _step_caption(curves: Sequence[Curve], where: str) -> str:
    return (
        f"What is left of the intermediate task at each probed step of target training, {where}: 1 is all of it, 0 "
        "is chance (stored head) or the untouched encoder (refit head). Thick: mean over seeds; shaded: 95 % interval "
        "over seeds and examples; faint: single seeds. Same task: the target trains on the intermediate’s own data. "
        + CUT
        + " Undefined: intermediate training left nothing above 0 that could be retained."
        * any(curve.undefined for curve in curves)
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
        for curve in sorted(curves, key=lambda curve: _place(study, curve))
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
    families = distinct(row["f"] for row in rows)
    shape = {"shape": named("f", "LayerNorm", families, SHAPES)} if len(families) > 1 else {}
    common = {"color": colour_of_name(rows), "detail": {"field": "i"}}
    shown = {"i": "intermediate", "scale": "scale", "v": "R(T)", "l": "low", "u": "high", "f": "LayerNorm"}
    mark = {"type": "point", "filled": True, "size": 60, "clip": True}
    line = {"x": x, "y": y, **common, **lit(0.6)}
    layers: list[Spec] = [
        rule("y", 0),
        rule("y", 1),
        {"params": [LIT], "mark": {"type": "line", "clip": True}, "encoding": line},
        bars(x, y, {**common, **lit(0.5)}, clip=True),
        {"mark": mark, "encoding": {"x": x, "y": y, **common, **lit(0.9), **shape, "tooltip": tooltip(shown)}},
    ]
    sheets = _sheets(curves)
    return View(
        "retention-by-scale",
        "final retention against scale (English)",
        "Retention at the end of target training against the encoder’s size, one line an intermediate. Bars are 95 % "
        "intervals. "
        + "Marks tell LayerNorm placement, which changes with scale: compare within a mark first. " * bool(shape)
        + "Trainings whose target is the intermediate’s own task are left out, and so is what is undefined. "
        + CUT,
        rows,
        layers,
        panels=distinct(row["k"] for row in rows),
        columns=len({curve.arm.targets for curve in curves}),
        hints=f" {ALONE}",
        sheet=lambda row: sheets[row["i"]],
    )


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


def _beside(place: int, of: int) -> float:
    """A factor on a logarithmic axis, so that the bars of one size stand side by side."""
    return float(ASIDE ** (2 * place / (of - 1) - 1)) if of > 1 else 1.0


def _sheets(curves: Sequence[Curve]) -> dict[str, str]:
    """Subject → sheet: intermediates of one task stand together, each of several tasks has a sheet of its own."""
    return {curve.subject: curve.arm.intermediate if len(curve.arm.probed) > 1 else "" for curve in curves}


def _in_order(study: Study, curves: Iterable[Curve]) -> list[Curve]:
    """By subject and language, then head, then target in the heat map's order."""
    subjects = distinct(curve.subject for curve in study.curves)
    languages = distinct(curve.language for curve in study.curves)

    def order(curve: Curve) -> tuple:
        return subjects.index(curve.subject), languages.index(curve.language), *_place(study, curve)

    return sorted(curves, key=order)


def _place(study: Study, curve: Curve) -> tuple:
    targets = axes_of(study)[1]
    return HEADS.index(curve.head), [targets.index(name) for name in curve.arm.targets]
