"""The report's tables: every cell, retention in numbers, slopes, what did not complete, what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from analysis.claims import ALL_SCALES, Judged
from analysis.curves import HEADS
from analysis.findings import shown
from analysis.frame import settings
from analysis.measurements import path
from analysis.plotting import compact
from analysis.search import last_attempts, numbers, training
from analysis.statistics import UNDEFINED, Estimate
from analysis.study import Study
from analysis.transfer import Cell
from trainers.tasks.languages import ENGLISH

DASH = "–"
OUTCOME_COUNTS = [
    (pl.col("outcome") == outcome).sum().alias(outcome) for outcome in ("completed", "diverged", "running", "missing")
]
RETRIED = {"completed": "counted", "diverged": "diverged, too"}
"""What became of the last attempt."""
SEED_COLUMNS = ("seeds", "diverged", "not done")


@dataclass(frozen=True)
class Table:
    """Plain text in rows; the first `names` columns are words, the rest numbers."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    names: int


def cell_table(study: Study) -> Table:
    """Every planned or begun cell; diverged and unfinished stages are counted and never averaged in."""
    computed = {(cell.arm.scale, cell.arm.intermediate, cell.target): cell for cell in study.cells}
    order = {scale: place for place, scale in enumerate(study.scales)}
    groups = (
        study.compared.filter(pl.col("kind") == "target")
        .explode("targets")
        .drop_nulls("targets")
        .group_by("scale", "intermediate", "targets")
        .agg(*OUTCOME_COUNTS)
        .sort(
            pl.col("scale").replace_strict(order, return_dtype=pl.Int64),
            pl.col("intermediate") != "none",
            "intermediate",
            "targets",
        )
    )
    rows = []
    for scale, intermediate, target, completed, *counts in groups.iter_rows():
        cell = computed.get((scale, intermediate, target))
        rows.append(
            (
                scale,
                intermediate,
                target,
                *_seeds(len(cell.seeds) if cell else 0, completed, *counts),
                *_scores(cell),
                *(shown(study.finals.get((cell.arm, head), UNDEFINED)) if cell else DASH for head in HEADS),
            )
        )
    return Table(
        (
            "scale",
            "intermediate",
            "target",
            *SEED_COLUMNS,
            "English",
            "others",
            "English gain",
            "others’ gain",
            "R(T) stored",
            "R(T) refit",
        ),
        rows,
        names=3,
    )


def search_table(study: Study) -> Table:
    """Every point of a search, those of one training together, the best by development score marked."""
    computed = {(*training(point), point.arm.variant): point for point in study.points}
    groups = (
        last_attempts(study.stages)
        .filter(pl.col("kind") != "retrieval")
        .group_by("scale", "intermediate", "targets", "variant")
        .agg(*OUTCOME_COUNTS)
    )
    rows = []
    for scale, intermediate, targets, variant, completed, *counts in sorted(
        groups.iter_rows(), key=_by_training(study)
    ):
        point = computed.get((scale, intermediate, tuple(targets), variant))
        seeds = len(point.arm.seeds) if point else 0
        rows.append(
            (
                scale,
                path(intermediate, targets) if targets else intermediate,
                ", ".join(f"{axis} {value}" for axis, value in settings(variant).items()) or DASH,
                "best" if point and point.best else "",
                *_seeds(seeds, completed, *counts),
                *(shown(one) for one in ((point.development, point.zero_shot, point.retention) if point else ())),
                *([] if point else [DASH] * 3),
            )
        )
    columns = ("scale", "training", "point", "", *SEED_COLUMNS, "English development", "zero-shot mean", "R(T) stored")
    return Table(columns, rows, names=4)


def _by_training(study: Study) -> Callable[[tuple], tuple]:
    """Order of rows that begin with scale, intermediate, targets and variant."""

    def order(row: tuple) -> tuple:
        scale, intermediate, targets, variant = row[:4]
        values = list(settings(variant).values())
        return study.scales.index(scale), intermediate != "none", intermediate, targets, numbers(values), values

    return order


def transfer_table(study: Study) -> Table:
    """Across languages, for every cell with a score."""
    rows = [
        (
            cell.arm.scale,
            cell.arm.intermediate,
            cell.target,
            str(len(cell.seeds)),
            str(len(cell.paired_seeds)) if cell.paired_seeds else DASH,
            DASH if math.isnan(cell.others_iqm) else f"{cell.others_iqm:.3f}",
            shown(cell.gap, sign=True),
            shown(cell.gap_change, sign=True),
            shown(cell.gain_retention),
        )
        for cell in study.cells
    ]
    return Table(
        ("scale", "intermediate", "target", "seeds", "paired seeds", "others IQM", "gap", "gap change", "gain kept"),
        rows,
        names=3,
    )


def replication_table(study: Study) -> Table:
    """What each intermediate does over all targets, and in how many of them it replicates."""
    rows = [
        (
            one.scale,
            one.intermediate,
            str(one.seeds),
            shown(one.gain, sign=True),
            DASH if math.isnan(one.gain_iqm) else f"{one.gain_iqm:+.3f}".replace("-", "−"),
            shown(one.improvement),
            f"{one.raised} of {one.targets}",
            f"{one.lowered} of {one.targets}",
        )
        for one in study.replicated
    ]
    columns = ("scale", "intermediate", "seeds", "mean gain", "IQM gain", "P(improvement)", "raised", "lowered")
    return Table(columns, rows, names=2)


def retention_table(study: Study) -> Table:
    """Every English curve, with why it is undefined where it is."""
    rows = [
        (
            curve.arm.scale,
            curve.path,
            curve.head,
            str(len(curve.seeds)),
            shown(curve.final),
            shown(curve.area),
            _half_life(curve.half_life, curve.steps[-1]),
            shown(curve.backward_transfer, sign=True),
            shown(curve.forgetting),
            curve.undefined or DASH,
        )
        for curve in study.curves
        if curve.language == ENGLISH
    ]
    return Table(
        (
            "scale",
            "training",
            "head",
            "seeds",
            "R(T)",
            "area under R",
            "half-life (steps)",
            "backward transfer",
            "forgetting",
            "why undefined",
        ),
        rows,
        names=3,
    )


def shape_table(study: Study) -> Table:
    """The form that each defined English curve has, what it loses, and what stays."""
    rows = [
        (
            curve.arm.scale,
            curve.path,
            curve.head,
            str(len(curve.seeds)),
            curve.fit.form or curve.fit.undefined,
            DASH if math.isnan(curve.fit.error) else f"{curve.fit.error:.3f}",
            _steps(curve.fit.half_life, curve.steps[-1]),
            shown(curve.fit.asymptote),
        )
        for curve in study.curves
        if curve.language == ENGLISH and not curve.undefined
    ]
    columns = ("scale", "training", "head", "seeds", "form", "error left out", "half-life (steps)", "asymptote")
    return Table(columns, rows, names=3)


def trend_table(study: Study) -> Table:
    """Slopes of R(T) on scale, overall and within each LayerNorm family."""
    families = sorted({family for trend in study.trends for family in trend.within})
    rows = [
        (
            trend.smallest.path,
            trend.smallest.head,
            ", ".join(trend.scales),
            str(trend.seeds),
            shown(trend.overall, sign=True),
            shown(trend.adjusted, sign=True),
            *(shown(trend.within[family], sign=True) if family in trend.within else DASH for family in families),
        )
        for trend in study.trends
    ]
    return Table(
        (
            "training",
            "head",
            "scales",
            "fewest seeds",
            "slope per tenfold parameters",
            "at equal placement",
            *(f"within {family}-LN" for family in families),
        ),
        rows,
        names=3,
    )


def claim_table(found: Sequence[Judged]) -> Table:
    """Each claim at each scale, gains in points of 100."""
    rows = [
        (
            one.text,
            one.published,
            one.source,
            one.scale,
            one.word + (f": {one.reason}" if one.reason else ""),
            shown(one.estimate, sign=True) if one.scale == ALL_SCALES else _points(one.estimate),
        )
        for one in found
    ]
    return Table(("claim", "published", "source", "scale", "verdict", "here"), rows, names=5)


def _points(estimate: Estimate) -> str:
    in_points = Estimate(100 * estimate.value, 100 * estimate.low, 100 * estimate.high)
    return shown(in_points, sign=True, digits=1)


def trouble_table(study: Study) -> Table:
    """Stages that did not complete, with the evidence that they left."""
    words = {"running": "unfinished: begun, no result yet", "missing": "not begun"}
    last = {row["first_attempt"]: row for row in study.stages.sort("retry").iter_rows(named=True)}
    rows = []
    for row in study.stages.filter(pl.col("outcome") != "completed").iter_rows(named=True):
        outcome, final = words.get(row["outcome"], row["outcome"]), last[row["first_attempt"]]
        if final["retry"] > row["retry"]:
            outcome += f", retried, attempt {final['retry'] + 1} {RETRIED.get(final['outcome'], 'is not done')}"
        rows.append((row["label"], outcome, row["evidence"] or DASH, row["key"]))
    return Table(("stage", "outcome", "evidence", "key"), rows, names=4)


def cost_table(study: Study) -> Table:
    """What the finished stages of each scale and kind took."""
    finished = study.stages.filter(pl.col("seconds").is_not_null())
    order = {scale: place for place, scale in enumerate(study.scales)}
    groups = (
        finished.group_by("scale", "kind")
        .agg(
            pl.len(),
            pl.sum("seconds"),
            pl.sum("tokens"),
            pl.median("tokens_per_s"),
            (pl.col("probe_share") * pl.col("seconds")).sum().alias("probing"),
        )
        .sort(pl.col("scale").replace_strict(order, return_dtype=pl.Int64), "kind")
    )
    rows = [
        (
            row["scale"],
            row["kind"],
            str(row["len"]),
            duration(row["seconds"]),
            compact(row["tokens"]),
            compact(row["tokens_per_s"]),
            f"{row['probing'] / max(row['seconds'], 1e-9):.1%}",
        )
        for row in groups.iter_rows(named=True)
    ]
    return Table(("scale", "kind", "stages", "time", "tokens", "median tokens/s", "probing"), rows, names=2)


def duration(seconds: float) -> str:
    """`12 s`, `3 min 20 s` or `5 h 03 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _scores(cell: Cell | None) -> tuple[str, ...]:
    if cell is None:
        return (DASH,) * 4
    return (
        shown(cell.scores.get(ENGLISH, UNDEFINED)),
        shown(cell.others),
        shown(cell.english_gain, sign=True),
        shown(cell.others_gain, sign=True),
    )


def _seeds(averaged: int, completed: int, diverged: int, running: int, missing: int) -> tuple[str, str, str]:
    """Seeds that are averaged, that diverged (or whose intermediate did), and that are not done."""
    return _count(averaged), _count(diverged + completed - averaged), _count(running + missing)


def _steps(estimate: Estimate, last: float) -> str:
    """As `shown`, in whole steps; what lies beyond the last probed step is said to."""
    if not math.isfinite(estimate.value):
        return _half_life(estimate.value, last)
    high = f"> {last:.0f}" if math.isinf(estimate.high) else f"{estimate.high:.0f}"
    return f"{estimate.value:.0f}" + (f" [{estimate.low:.0f}, {high}]" if not math.isnan(estimate.low) else "")


def _half_life(steps: float, last: float) -> str:
    if math.isnan(steps):
        return DASH
    return f"> {last:.0f}" if math.isinf(steps) else f"{steps:.0f}"


def _count(number: int) -> str:
    return str(number) if number else DASH
