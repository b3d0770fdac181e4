"""The report's tables: every cell, what replicates, the claims, what did not complete, what it cost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import polars as pl

from analysis.benchmark.claims import ALL_SCALES, Judged
from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.measures.curves import HEADS
from analysis.measures.search import last_attempts, numbers, training
from analysis.measures.transfer import Cell
from analysis.records.frame import settings
from analysis.records.measurements import path
from analysis.report.findings import compact
from analysis.report.findings import number as number_of
from analysis.report.tabular import DASH, Number, Table, count, estimated, number
from analysis.study import Study
from trainers.stage.languages import ENGLISH

OUTCOME_COUNTS = [
    (pl.col("outcome") == outcome).sum().alias(outcome) for outcome in ("completed", "diverged", "running", "missing")
]
RETRIED = {"completed": "counted", "diverged": "diverged, too"}
"""What became of the last attempt."""
SEED_COLUMNS = ("seeds", "diverged", "not done")
SCORE_COLUMNS = ("English", "others", "English gain", "others’ gain")
LACKING = "lacking"


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
                *(estimated(study.finals.get((cell.arm, head), UNDEFINED) if cell else UNDEFINED) for head in HEADS),
            )
        )
    return Table(
        (
            "scale",
            "intermediate",
            "target",
            *SEED_COLUMNS,
            *SCORE_COLUMNS,
            "R(T) stored",
            "R(T) refit",
        ),
        rows,
        names=3,
        ranked=SCORE_COLUMNS,
        among=("scale", "target"),
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
                *map(estimated, (point.development, point.zero_shot, point.retention) if point else (UNDEFINED,) * 3),
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
            count(len(cell.seeds)),
            count(len(cell.paired_seeds)),
            number(cell.others_iqm, ".3f"),
            estimated(cell.gap, sign=True),
            estimated(cell.gap_change, sign=True),
            estimated(cell.gain_retention),
        )
        for cell in study.cells
    ]
    return Table(
        ("scale", "intermediate", "target", "seeds", "paired seeds", "others IQM", "gap", "gap change", "gain kept"),
        rows,
        names=3,
        ranked=("others IQM",),
        among=("scale", "target"),
    )


def replication_table(study: Study) -> Table:
    """What each intermediate does over all targets, and in how many of them it replicates; no mean over only some."""
    rows = [
        (
            one.scale,
            one.intermediate,
            count(one.seeds),
            estimated(one.gain, sign=True),
            number(one.gain_iqm, "+.3f"),
            estimated(one.improvement),
            *(_share(of, len(one.targets)) for of in (one.raised, one.lowered)),
            ", ".join(one.lacking) or DASH,
        )
        for one in study.replicated
    ]
    means = ("mean gain", "IQM gain", "P(improvement)")
    columns = ("scale", "intermediate", "seeds", *means, "raised", "lowered", LACKING)
    return Table(columns, rows, names=2, ranked=means, among=("scale",))


def claim_table(found: Sequence[Judged]) -> Table:
    """Each claim that the sweep can speak to, at each scale; gains in points of 100."""
    rows = [
        (
            one.text,
            one.published,
            one.source,
            one.scale,
            one.word + (f": {one.reason}" if one.reason else ""),
            estimated(one.estimate, sign=True) if one.scale == ALL_SCALES else _points(one.estimate),
        )
        for one in found
        if not one.needs
    ]
    return Table(("claim", "published", "source", "scale", "verdict", "here"), rows, names=5)


def claims_left_out(found: Sequence[Judged]) -> str:
    """A sentence that names the claims that are not in the table, and what each would take; empty without any."""
    needs = {re.sub(r" \(.*?\)", "", one.text): one.needs for one in found if one.needs}
    if not needs:
        return ""
    named = "; ".join(f"“{text}” needs {what}" for text, what in needs.items())
    return f"This sweep cannot speak to {number_of(len(needs), 'more published claim')}: {named}."


def _points(estimate: Estimate) -> Number:
    in_points = Estimate(100 * estimate.value, 100 * estimate.low, 100 * estimate.high)
    return estimated(in_points, sign=True, digits=1)


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
            count(row["len"]),
            Number(duration(row["seconds"]), {" (s)": row["seconds"]}),
            Number(compact(row["tokens"]), {"": row["tokens"]}),
            Number(compact(row["tokens_per_s"]), {"": row["tokens_per_s"]}),
            number(row["probing"] / max(row["seconds"], 1e-9), ".1%"),
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


def _scores(cell: Cell | None) -> tuple[Number, ...]:
    if cell is None:
        return (estimated(UNDEFINED),) * len(SCORE_COLUMNS)
    return (
        estimated(cell.scores.get(ENGLISH, UNDEFINED)),
        estimated(cell.others),
        estimated(cell.english_gain, sign=True),
        estimated(cell.others_gain, sign=True),
    )


def _seeds(averaged: int, completed: int, diverged: int, running: int, missing: int) -> tuple[Number, Number, Number]:
    """Seeds that are averaged, that diverged (or whose intermediate did), and that are not done."""
    return count(averaged), count(diverged + completed - averaged), count(running + missing)


def _share(targets: int | None, of: int) -> Number:
    """A dash where nothing could be tested."""
    told = DASH if targets is None else f"{targets} of {of}"
    return Number(told, {"": math.nan if targets is None else targets, " of": of})
