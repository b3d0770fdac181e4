"""Tables of XTREME scores: the study's own leaderboard, and its scores beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from analysis.benchmark.published import BEST, Points, Run, published_runs
from analysis.benchmark.verify import covered, in_points
from analysis.benchmark.xtreme import NAMES, NINE, Score, means
from analysis.report.findings import DASH
from analysis.report.table import Column, Shown, Table, label, number, table_of, words
from trainers.tasks.intermediates import NONE

ARM = (label("scale"), label("intermediate"))
MEAN = "mean"


def leaderboard(scores: Sequence[Score]) -> Table:
    """XTREME's row of each scale and intermediate: one column a task, in points; the mean where `means` has one."""
    arms: dict[tuple[str, str], dict[str, Points]] = {}
    for score in [*scores, *(replace(mean, task=MEAN) for mean in means(scores))]:
        arms.setdefault((score.scale, score.intermediate), {})[score.task] = score.points
    tasks = [MEAN, *(task for task in NINE if any(task in by_task for by_task in arms.values()))]
    metrics = {task: max((len(by_task.get(task, ())) for by_task in arms.values()), default=0) for task in tasks}
    layout = (*ARM, *(points(task, metrics[task], ranked=True) for task in tasks))
    rows = [(*arm, *(_both(by_task.get(task, ())) for task in tasks)) for arm, by_task in arms.items()]
    return table_of(layout, rows, among=("scale",))


def beside_published(scores: Sequence[Score]) -> Table:
    """One row per score and published number of the same scale and task; no rows for scales that nobody published."""
    ours = {(score.scale, score.intermediate, score.task): score for score in [*scores, *means(scores)]}
    best = list(_best(scores).values())
    ours |= {(score.scale, BEST, score.task): score for score in best}
    ours |= {
        (score.scale, BEST, score.task): score for score in means([replace(one, intermediate=BEST) for one in best])
    }
    rows = [
        _row(ours[scale, run.intermediate, task], run, task)
        for scale in dict.fromkeys(score.scale for score in scores)
        for run in published_runs(scale)
        for task in run.scores
        if (scale, run.intermediate, task) in ours
    ]
    layout = (
        *ARM,
        label("task"),
        points("ours"),
        Column("published", _show_published, BOTH, unwritten=(" recalled",)),
        number("difference", "+.1f"),
        *map(words, ("covered", "setting", "source")),
    )
    return table_of(layout, rows)


def _best(scores: Iterable[Score]) -> dict[tuple[str, str], Score]:
    """By scale and task: the intermediate with the highest score."""
    found: dict[tuple[str, str], Score] = {}
    for score in scores:
        if score.intermediate != NONE and score.points:
            place = score.scale, score.task
            found[place] = max(found.get(place, score), score, key=lambda one: one.overall)
    return found


def _row(score: Score, run: Run, task: str) -> tuple:
    theirs, name = run.scores[task], score.intermediate
    return (
        score.scale,
        f"{BEST}: {name}" if run.intermediate == BEST and name != BEST else name,
        NAMES.get(task, task),
        _both(score.points),
        (*_both(theirs), task in run.recalled),
        score.points[0] - theirs[0] if score.points and run.zero_shot else math.nan,
        covered(score) or "all",
        run.setting,
        run.source,
    )


BOTH = ("", " exact match")
"""The one metric of a task, or F1 and exact match of question answering."""


def points(name: str, metrics: int = 2, ranked: bool = False) -> Column:
    """Scores in points of 100.

    Args:
        metrics: how many there are: what a program reads has a column for each.
    """
    written = max(metrics, 1)
    return Column(name, _show_points, BOTH[:written], BOTH[written:], digits=1 if ranked else None)


def _both(values: Points) -> tuple[float, float]:
    first, second, *_ = (*values, math.nan, math.nan)
    return first, second


def _show_points(*values: float) -> Shown:
    return Shown(in_points(tuple(value for value in values if not math.isnan(value))) or DASH)


def _show_published(first: float, second: float, recalled: bool) -> Shown:
    return Shown(_show_points(first, second).value + " (recalled)" * recalled)
