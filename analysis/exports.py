"""XTREME's leaderboard of the study's own scales and intermediates."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.tabular import DASH, Table
from analysis.verify import points
from analysis.xtreme import NINE, Score, means


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
