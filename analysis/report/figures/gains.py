"""The figures of gains: the study's grid of intermediates and targets at one look, and each language by itself."""

from __future__ import annotations

from analysis.inference.statistics import SIGNIFICANT
from analysis.report.figures.vegalite import (
    Rows,
    Spec,
    bars,
    best_known,
    colour_of_scale,
    distinct,
    field,
    filled,
    first,
    interval,
    menus,
    opening,
    rounded,
    rule,
    tooltip,
)
from analysis.report.figures.views import View
from analysis.study import Study
from trainers.tasks import TASKS
from trainers.tasks.intermediates import NONE

SHOWN = 0.1
"""Points of 100: what is less reads 0.0 and has no colour."""
EACH, BETWEEN = "each scale", "differences between scales"
OTHERS = "others"
CC100_GIB = {
    "af": 1.3, "ar": 28.0, "bg": 57.5, "bn": 8.4, "de": 66.6, "el": 46.9, "en": 300.8, "es": 53.3, "et": 6.1,
    "eu": 2.0, "fa": 111.6, "fi": 54.3, "fr": 56.8, "he": 31.6, "hi": 20.2, "hu": 58.4, "id": 148.3, "it": 30.2,
    "ja": 69.3, "jv": 0.2, "ka": 9.1, "kk": 6.4, "ko": 54.2, "ml": 7.6, "mr": 2.8, "nl": 29.3, "pt": 49.1,
    "ru": 278.0, "sw": 1.6, "ta": 12.2, "te": 4.7, "th": 71.7, "tl": 3.1, "tr": 20.9, "ur": 5.7, "vi": 137.3,
    "zh": 63.5,
}  # fmt: skip
"""GiB of CC-100, XLM-R's text (Conneau et al. 2020, table 6); Chinese is the sum of both scripts.  Yoruba has none."""


def gain_heat_map(study: Study) -> View | None:
    """Intermediate × target: on the page one panel a scale, or a difference between scales; on paper one sheet each."""
    rows: Rows = [
        {
            "k": gain.where,
            "d": EACH if gain.where in study.scales else BETWEEN,
            "side": gain.side,
            "i": gain.intermediate,
            "t": gain.target,
            "sure": gain.gain.differs_from_zero,
        }
        | {name: None if value is None else rounded(100 * value) for name, value in interval(gain.gain).items()}
        for gain in study.grids
    ]
    if not rows:
        return None
    largest = max(SHOWN, *(abs(row["v"]) for row in rows if row["v"] is not None))
    intermediates, targets = axes_of(study)
    x: Spec = {"field": "t", "type": "nominal", "title": "target", "scale": {"domain": targets}}
    x["axis"] = {"title": None, "labelAngle": -40}
    y: Spec = {"field": "i", "type": "nominal", "title": "intermediate", "scale": {"domain": intermediates}}
    y["axis"] = {"title": None}
    fill = field(
        "v",
        "points",
        # Reversed: from orange to purple, which differ with every common colour blindness.
        scale={"scheme": "purpleorange", "reverse": True, "domain": [-largest, largest], "domainMid": 0},
        legend={"gradientLength": 200, "titleOrient": "left"},
    )
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
    return View(
        "gain-heat-map",
        "what each intermediate adds to each target, {}",
        "Score through the intermediate (row) minus score without it, on each target (column), in points of 100, on "
        "common seeds; a difference between scales is the larger scale’s gain minus the smaller one’s. Dark numbers "
        "differ from 0 in their 95 % interval, pale ones do not. Retrieval is compared at the layer that the sweep "
        "names and has no English side. White: not measured, or diverged.",
        rows,
        layers,
        panels=distinct(row["k"] for row in rows),
        columns=len(study.scales),
        menus=[*side, *menus(rows, first, d="show")],
        hints=opening(side, "languages"),
        panel_width=90 + 36 * len(targets),
        height={"step": 26},
        sheet=lambda row: row["k"],
        sheet_panels="side",
    )


def axes_of(study: Study) -> tuple[list[str], list[str]]:
    """Intermediates and targets of the sweep, in the order of the table of tasks; several tasks at once come last.

    Those of which everything diverged are among them: an empty row or column tells it, a missing one would hide it.
    """
    intermediates = set(study.stages["intermediate"]) - {NONE}
    targets = {target for names in study.stages["targets"] for target in names}
    order = {name: place for place, name in enumerate(TASKS)}
    placed = [sorted(names, key=lambda name: (order.get(name, len(order)), name)) for names in (intermediates, targets)]
    return placed[0], placed[1]


def gain_by_language(study: Study) -> View | None:
    """G(l) of one intermediate, one panel a target; languages sorted by what the encoder was pretrained on."""
    targets = axes_of(study)[1]
    rows: Rows = []
    for cell in sorted(study.cells, key=lambda cell: targets.index(cell.target)):
        gains = [(gain.language, gain.gain, gain.p_holm < SIGNIFICANT) for gain in cell.gains]
        if gains:
            gains.append((OTHERS, cell.others_gain, cell.others_gain.differs_from_zero))
        arm = {"k": f"{cell.arm.intermediate} → {cell.target}", "i": cell.arm.intermediate, "scale": cell.arm.scale}
        rows += [
            {**arm, "g": language, "gib": CC100_GIB.get(language, 0.0), "sure": sure, **interval(gain)}
            for language, gain, sure in gains
        ]
    if not rows:
        return None
    languages = [*by_resource({row["g"] for row in rows} - {OTHERS}), OTHERS]
    y: Spec = {"field": "g", "type": "nominal", "title": "language", "sort": languages}
    y["axis"] = {"title": None, "labelOverlap": False}
    x = field("v", "gain in zero-shot score", axis={"tickCount": 5})
    colour, offset = colour_of_scale(study), {"yOffset": {"field": "scale", "sort": study.scales}}
    names = {"g": "language", "scale": "scale", "v": "gain", "l": "low", "u": "high", "gib": "GiB of CC-100"}
    point = {"x": x, "y": y, **offset, "color": colour, "stroke": colour, "tooltip": tooltip(names)}
    layers: list[Spec] = [
        rule("x", 0),
        bars(y, x, {"color": colour, **offset}, axis="x"),
        {
            "mark": {"type": "point", "filled": True, "size": 45, "strokeWidth": 1.5},
            "encoding": {**point, **filled("datum.sure")},
        },
    ]
    choice = menus(rows, best_known, i="intermediate")
    return View(
        "gain-by-language",
        "what {} adds to each language",
        "Score through the intermediate minus score without it, on the same seeds and examples, with 95 % intervals. "
        f"Filled: different from 0 at p < {SIGNIFICANT} after Holm’s correction over the languages and targets of a "
        "scale. Languages from much pretraining text to little (GiB of CC-100, Conneau et al. 2020); “others” is the "
        "mean of those other than English, filled where its interval does not hold 0 (not corrected).",
        rows,
        layers,
        panels=distinct(row["k"] for row in rows),
        columns=len({cell.target for cell in study.cells}),
        menus=choice,
        hints=opening(choice, "intermediate"),
        height=(max(len(cell.gains) for cell in study.cells) + 1) * max(26, 10 * len(study.scales)),
        independent={"y": "independent", "yOffset": "independent"},
        sheet=lambda row: row["i"],
    )


def by_resource(languages: set[str]) -> list[str]:
    """From much text to little; those of which there is none last, by name."""
    return sorted(languages, key=lambda language: (-CC100_GIB.get(language, 0.0), language))
