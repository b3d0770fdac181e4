"""The report's tables: every cell, what replicates, the claims, what did not complete, what it cost."""

from __future__ import annotations

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
from analysis.report.findings import DASH, compact, counted
from analysis.report.table import (
    Column,
    Shown,
    Table,
    count,
    estimate,
    label,
    number,
    show_estimate,
    table_of,
    words,
)
from analysis.study import Study
from trainers.stage.languages import ENGLISH

OUTCOME_COUNTS = [
    (pl.col("outcome") == outcome).sum().alias(outcome) for outcome in ("completed", "diverged", "running", "missing")
]
RETRIED = {"completed": "counted", "diverged": "diverged, too"}
"""What became of the last attempt."""
SEED_COLUMNS = ("seeds", "diverged", "not done")
ARM = (label("scale"), label("intermediate"))
LACKING = "lacking"


def cell_table(study: Study) -> Table:
    """Every planned or begun cell; diverged and unfinished stages are counted and never averaged in."""
    layout = (
        *ARM,
        label("target"),
        *map(count, SEED_COLUMNS),
        estimate("English", ranked=True),
        estimate("others", ranked=True),
        estimate("English gain", sign=True, ranked=True),
        estimate("others’ gain", sign=True, ranked=True),
        estimate("R(T) stored"),
        estimate("R(T) refit"),
    )
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
                *(study.finals.get((cell.arm, head), UNDEFINED) if cell else UNDEFINED for head in HEADS),
            )
        )
    return table_of(layout, rows, among=("scale", "target"))


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
                ", ".join(f"{axis} {value}" for axis, value in settings(variant).items()) or None,
                "best" if point and point.best else "",
                *_seeds(seeds, completed, *counts),
                *((point.development, point.zero_shot, point.retention) if point else (UNDEFINED,) * 3),
            )
        )
    layout = (
        *map(label, ("scale", "training", "point", "")),
        *map(count, SEED_COLUMNS),
        *map(estimate, ("English development", "zero-shot mean", "R(T) stored")),
    )
    return table_of(layout, rows)


def _by_training(study: Study) -> Callable[[tuple], tuple]:
    """Order of rows that begin with scale, intermediate, targets and variant."""

    def order(row: tuple) -> tuple:
        scale, intermediate, targets, variant = row[:4]
        values = list(settings(variant).values())
        return study.scales.index(scale), intermediate != "none", intermediate, targets, numbers(values), values

    return order


def transfer_table(study: Study) -> Table:
    """Across languages, for every cell with a score."""
    layout = (
        *ARM,
        label("target"),
        count("seeds"),
        count("paired seeds"),
        number("others IQM", ".3f", ranked=True),
        estimate("gap", sign=True),
        estimate("gap change", sign=True),
        estimate("gain kept"),
    )
    rows = [
        (
            cell.arm.scale,
            cell.arm.intermediate,
            cell.target,
            len(cell.seeds),
            len(cell.paired_seeds),
            cell.others_iqm,
            cell.gap,
            cell.gap_change,
            cell.gain_retention,
        )
        for cell in study.cells
    ]
    return table_of(layout, rows, among=("scale", "target"))


def replication_table(study: Study) -> Table:
    """What each intermediate does over all targets, and in how many of them it replicates; no mean over only some."""
    layout = (
        *ARM,
        count("seeds"),
        estimate("mean gain", sign=True, ranked=True),
        number("IQM gain", "+.3f", ranked=True),
        estimate("P(improvement)", ranked=True),
        Column("raised", _show_share, ("", " of")),
        Column("lowered", _show_share, ("", " of")),
        words(LACKING),
    )
    rows = [
        (
            arm.scale,
            arm.intermediate,
            arm.seeds,
            arm.gain,
            arm.gain_iqm,
            arm.improvement,
            (arm.raised, len(arm.targets)),
            (arm.lowered, len(arm.targets)),
            ", ".join(arm.lacking) or None,
        )
        for arm in study.replicated
    ]
    return table_of(layout, rows, among=("scale",))


def claim_table(claims: Sequence[Judged]) -> Table:
    """Each claim that the sweep can speak to, at each scale; gains in points of 100."""
    layout = (
        *map(label, ("claim", "published", "source", "scale", "verdict")),
        Column("here", _show_effect, ("", " low", " high"), unwritten=(" in points",)),
    )
    return table_of(layout, [_claim_row(claim) for claim in claims if not claim.needs])


def _claim_row(claim: Judged) -> tuple:
    verdict = claim.word + (f": {claim.reason}" if claim.reason else "")
    in_points, effect = claim.scale != ALL_SCALES, claim.estimate
    here = [float(100 * end if in_points else end) for end in (effect.value, effect.low, effect.high)]
    return claim.text, claim.published, claim.source, claim.scale, verdict, (*here, in_points)


def _show_effect(value: float, low: float, high: float, points: bool) -> Shown:
    return show_estimate(value, low, high, sign=True, digits=1 if points else 3)


def claims_left_out(claims: Sequence[Judged]) -> str:
    """A sentence that names the claims that are not in the table, and what each would take; empty without any."""
    needs = {re.sub(r" \(.*?\)", "", claim.text): claim.needs for claim in claims if claim.needs}
    if not needs:
        return ""
    named = "; ".join(f"“{text}” needs {what}" for text, what in needs.items())
    return f"This sweep cannot speak to {counted(len(needs), 'more published claim')}: {named}."


def trouble_table(study: Study) -> Table:
    """Stages that did not complete, with the evidence that they left."""
    words = {"running": "unfinished: begun, no result yet", "missing": "not begun"}
    last = {row["first_attempt"]: row for row in study.stages.sort("retry").iter_rows(named=True)}
    rows = []
    for row in study.stages.filter(pl.col("outcome") != "completed").iter_rows(named=True):
        outcome, final = words.get(row["outcome"], row["outcome"]), last[row["first_attempt"]]
        if final["retry"] > row["retry"]:
            outcome += f", retried, attempt {final['retry'] + 1} {RETRIED.get(final['outcome'], 'is not done')}"
        rows.append((row["label"], outcome, row["evidence"] or None, row["key"]))
    return table_of([label(name) for name in ("stage", "outcome", "evidence", "key")], rows)


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
    layout = (
        label("scale"),
        label("kind"),
        count("stages"),
        Column("time", lambda seconds: Shown(duration(seconds)), (" (s)",)),
        Column("tokens", lambda tokens: Shown(compact(tokens))),
        Column("median tokens/s", lambda tokens: Shown(compact(tokens))),
        number("probing", ".1%"),
    )
    rows = [
        (
            row["scale"],
            row["kind"],
            row["len"],
            row["seconds"],
            row["tokens"],
            row["tokens_per_s"],
            row["probing"] / max(row["seconds"], 1e-9),
        )
        for row in groups.iter_rows(named=True)
    ]
    return table_of(layout, rows)


def duration(seconds: float) -> str:
    """`12 s`, `3 min 20 s` or `5 h 03 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _scores(cell: Cell | None) -> tuple[Estimate, ...]:
    if cell is None:
        return (UNDEFINED,) * 4
    return cell.scores.get(ENGLISH, UNDEFINED), cell.others, cell.english_gain, cell.others_gain


def _seeds(averaged: int, completed: int, diverged: int, running: int, missing: int) -> tuple[int, int, int]:
    """Seeds that are averaged, that diverged (or whose intermediate did), and that are not done."""
    return averaged, diverged + completed - averaged, running + missing


def _show_share(targets: int | None, of: int) -> Shown:
    """A dash where nothing could be tested."""
    return Shown(DASH if targets is None else f"{targets} of {of}")
