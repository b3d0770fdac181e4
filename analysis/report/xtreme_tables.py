"""Tables of XTREME scores: the study's own leaderboard, and its scores beside the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from analysis.benchmark.published import BEST, Points, Run, published_runs
from analysis.benchmark.verify import covered, in_points
from analysis.benchmark.xtreme import NAMES, NINE, Score, means
from analysis.report.tabular import DASH, Number, Table
from trainers.tasks.intermediates import NONE


def leaderboard(found: Sequence[Score]) -> Table:
    """XTREME's row of each scale and intermediate: one column a task, in points; the mean where `means` has one."""
    arms: dict[tuple[str, str], dict[str, Score]] = {}
    for score in found:
        arms.setdefault((score.scale, score.intermediate), {})[score.task] = score
    overall = {(mean.scale, mean.intermediate): points(mean.points) for mean in means(found)}
    tasks = [task for task in NINE if any(task in scores for scores in arms.values())]
    rows = []
    for arm, scores in arms.items():
        cells = [points(scores[task].points) if task in scores else DASH for task in tasks]
        rows.append((*arm, overall.get(arm, DASH), *cells))
    shown = "mean", *tasks
    return Table(("scale", "intermediate", *shown), rows, 2, ranked=shown, among=("scale",))


def beside_published(found: Sequence[Score]) -> Table:
    """One row per score and published number of the same scale and task; no rows for scales that nobody published."""
    ours = {(score.scale, score.intermediate, score.task): score for score in [*found, *means(found)]}
    best = list(_best(found).values())
    ours |= {(score.scale, BEST, score.task): score for score in best}
    ours |= {
        (score.scale, BEST, score.task): score for score in means([replace(one, intermediate=BEST) for one in best])
    }
    rows = [
        _row(ours[scale, run.intermediate, task], run, task)
        for scale in dict.fromkeys(score.scale for score in found)
        for run in published_runs(scale)
        for task in run.scores
        if (scale, run.intermediate, task) in ours
    ]
    return Table(
        ("scale", "intermediate", "task", "ours", "published", "difference", "covered", "setting", "source"),
        rows,
        names=3,
    )


def _best(scores: Iterable[Score]) -> dict[tuple[str, str], Score]:
    """By scale and task: the intermediate with the highest score."""
    found: dict[tuple[str, str], Score] = {}
    for score in scores:
        if score.intermediate != NONE and score.points:
            place = score.scale, score.task
            found[place] = max(found.get(place, score), score, key=lambda one: one.overall)
    return found


def _row(score: Score, run: Run, task: str) -> tuple[str, ...]:
    theirs = run.scores[task]
    name = score.intermediate
    return (
        score.scale,
        f"{BEST}: {name}" if run.intermediate == BEST and name != BEST else name,
        NAMES.get(task, task),
        points(score.points),
        points(theirs) + " (recalled)" * (task in run.recalled),
        f"{score.points[0] - theirs[0]:+.1f}".replace("-", "−") if score.points and run.zero_shot else DASH,
        covered(score) or "all",
        run.setting,
        run.source,
    )


def points(values: Points) -> Number:
    """`in_points`, with the numbers that it shows."""
    return Number(in_points(values) or DASH, dict(zip(("", " exact match"), values, strict=False)))
