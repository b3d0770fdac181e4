"""Ours beside the published numbers, and the verdict of `retain verify`: does the baseline fall where others' did?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from analysis.benchmark.published import Band, Points, band
from analysis.benchmark.xtreme import NAMES, Score, scores
from analysis.inference.statistics import FEW_SEEDS
from analysis.measures.search import compared
from analysis.records.frame import stage_table, tidy, with_planned
from analysis.records.gather import store_records
from trainers.stage import Stage
from trainers.tasks.intermediates import NONE

if TYPE_CHECKING:
    import rich.table

Word = Literal["inside", "outside", "not covered", "missing", "diverged"]
DASH = "–"
COLOURS: dict[Word, str] = {
    "inside": "green",
    "outside": "bold red",
    "not covered": "dim",
    "missing": "yellow",
    "diverged": "red",
}


@dataclass(frozen=True)
class Verdict:
    """What a baseline's score is, beside its band."""

    score: Score
    band: Band | None
    word: Word
    why: str
    """Why it could not be judged, or what to mind about it."""


def verify(store_root: Path, planned: Sequence[Stage], retrieval_depth: float) -> list[Verdict]:
    """Judge a sweep's baselines (`none → target`), one verdict each; other arms have nothing to be judged by.

    Args:
        planned: the sweep's stages.
        retrieval_depth: share of the layers at which retrieval is compared.

    Raises:
        ValueError: a stage.json is no stage of this version.
    """
    records = with_planned(store_records(store_root, {stage.key for stage in planned}), planned)
    frame = tidy(records)
    found = scores(compared(stage_table(records), frame), frame, retrieval_depth)
    return [judge(score, band(score.scale, score.task)) for score in found if score.intermediate == NONE]


def judge(score: Score, expected: Band | None) -> Verdict:
    """Only the mean of completed seeds over the whole official test can be inside or outside its band."""
    coverage = covered(score)
    if not score.points:
        return Verdict(score, expected, "diverged" if score.diverged else "missing", coverage)
    if expected is None:
        return Verdict(score, None, "not covered", "no sanity band is published")
    if score.gaps:
        return Verdict(score, expected, "not covered", coverage)
    if expected.layer not in (None, score.layer):
        why = f"the band is for layer {expected.layer}, retrieval was compared at layer {score.layer}"
        return Verdict(score, expected, "not covered", why)
    return Verdict(score, expected, "inside" if expected.holds(score.points[0]) else "outside", coverage)


def covered(score: Score) -> str:
    """In words, what a score rests on: seeds, and what of the official test is left out."""
    trouble = [
        f"{count} {word}" for count, word in ((score.diverged, "diverged"), (score.unfinished, "unfinished")) if count
    ]
    fixed = score.layer is not None and score.intermediate == NONE  # nothing is random in the pretrained encoder
    few = score.seeds < FEW_SEEDS and not fixed
    seeds = [f"{score.seeds} seed{'s' * (score.seeds != 1)}"] if score.points and (few or trouble) else []
    layer = [f"layer {score.layer}"] if score.layer is not None else []
    return ", ".join([*layer, *seeds, *trouble, *(score.gaps if score.points else ())])


def verdict_table(verdicts: Sequence[Verdict], sweep_name: str) -> rich.table.Table:
    """For the terminal, one row a verdict."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    table = RichTable(
        "scale", "task", "ours", "band", "verdict", "covered", "band from", title=f"{escape(sweep_name)}: baselines"
    )
    before = ""
    for verdict in verdicts:
        score, expected = verdict.score, verdict.band
        if score.scale != before and before:
            table.add_section()
        before = score.scale
        table.add_row(
            escape(score.scale),
            NAMES.get(score.task, score.task),
            in_points(score.points) or DASH,
            f"{expected.low:.1f} to {expected.high:.1f}" if expected else DASH,
            f"[{COLOURS[verdict.word]}]{verdict.word}[/]",
            escape(verdict.why),
            escape(expected.source) if expected else DASH,
        )
    return table


def summary(verdicts: Sequence[Verdict]) -> str:
    """`3 inside, 1 outside, 2 not covered`, or what there is to do where nothing could be judged."""
    words = [verdict.word for verdict in verdicts]
    if not words:
        return "nothing to judge: the sweep has no baseline (intermediate `none`)"
    counted = ", ".join(f"{words.count(word)} {word}" for word in COLOURS if word in words)
    return counted if {"inside", "outside"} & set(words) else f"nothing could be judged: {counted}"


def in_points(values: Points) -> str:
    """`79.2`, of question answering `76.6 / 60.8` (F1 / exact match); empty where there are none."""
    return " / ".join(f"{value:.1f}" for value in values)
