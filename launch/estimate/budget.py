"""`retain plan --budget`: which arm to run next, so that an interrupted study is still a study.

A *cell* is one paired observation: a target through an intermediate, at one scale, with one seed.  It takes up to three
stages (the intermediate, the target through it, the target without), which other cells may share.

Each intermediate and target is taken for a line over scale, y = α + β · x + noise with x = log10(non-embedding
parameters) from the middle of the sweep's, of which normal priors are all that is known at first.  β is what the study
asks for, and a cell tells

    ½ log2(Var β before / Var β after)  bits

about it (Lindley 1956, Annals of Mathematical Statistics 27).  So a line's first cell at another scale tells more than
its second seed at one, and scales at the ends more than those between.  Greedily, the next cell is the one with most
bits per hour, counting only stages that are not done, and of those only what the budget can still pay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launch.study.plan import Plan
from trainers.stage import Stage
from trainers.tasks.intermediates import NONE

LEVEL, SLOPE, NOISE = 0.10, 0.10, 0.02
"""Standard deviations: of α and β (per tenfold parameters) before anything is known, and of a cell over seeds, in
scores from 0 to 1.  Only their ratios matter."""

FIRST_CELLS = 20
"""So many of the order are shown."""


@dataclass(frozen=True)
class Cell:
    """One paired observation, and the stages that it takes."""

    scale: str
    intermediate: str
    targets: tuple[str, ...]
    seed: int
    stages: tuple[str, ...]
    """Keys."""

    @property
    def line(self) -> tuple[str, tuple[str, ...]]:
        """What is told of: the same at all scales and seeds."""
        return self.intermediate, self.targets

    @property
    def label(self) -> str:
        return f"{self.scale} · {self.intermediate} → {'+'.join(self.targets)} · seed {self.seed}"


@dataclass(frozen=True)
class Chosen:
    """A cell in its turn."""

    cell: Cell
    bits: float
    hours: float
    """Of its stages that no earlier cell has brought."""
    total_hours: float
    """Up to and with this cell."""


def cells(plan: Plan) -> list[Cell]:
    """Every cell of a plan, in the plan's order.

    Raises:
        ValueError: the sweep searches.
    """
    if plan.sweep.search:
        raise ValueError(
            "The points of a search are chosen among by their scores, not by what they tell of scale: "
            "take `search:` out of the sweep, or leave out --budget."
        )
    measured = [stage for stage in plan.stages if stage.kind != "intermediate"]
    without = {_pair(stage): stage.key for stage in measured if stage.intermediate == NONE}
    paired = []
    for stage in measured:
        plain = without.get(_pair(stage))
        if stage.intermediate != NONE and plain is not None:
            needs = tuple(key for key in (stage.parent, plain, stage.key) if key)
            targets = tuple(evaluation.task for evaluation in stage.evaluate)
            paired.append(Cell(stage.scale.name, stage.intermediate, targets, stage.seed, needs))
    return paired


def _pair(stage: Stage) -> tuple:
    """What a stage and its counterpart without an intermediate share; retrieval without one has no seed of its own."""
    targets = tuple(evaluation.task for evaluation in stage.evaluate)
    return stage.scale.name, targets, None if stage.kind == "retrieval" else stage.seed


def in_order(
    all_cells: Sequence[Cell], sizes: Mapping[str, int], hours: Mapping[str, float], budget: float = math.inf
) -> list[Chosen]:
    """The missing cells, the one that is worth most first, as far as the budget goes.

    Args:
        sizes: scale → non-embedding parameters.
        hours: of each stage that is not done, by key; stages that are done are not in it.
        budget: hours that may be spent.

    Returns:
        Cells that are done tell what they tell before the first choice, and are not listed.

    Raises:
        ValueError: the budget is not above 0.
    """
    if not budget > 0:
        raise ValueError(f"A budget of {budget:g} hours buys nothing: it has to be above 0.")
    knowledge = _Knowledge(all_cells, sizes)
    cost = _Cost(all_cells, hours)
    missing = np.zeros(len(all_cells), dtype=bool)
    for place, cell in enumerate(all_cells):
        missing[place] = any(key in hours for key in cell.stages)
        if not missing[place]:
            knowledge.learn(place)
    chosen: list[Chosen] = []
    spent = 0.0
    while (open_ := np.flatnonzero(missing & (cost.of_cell <= budget - spent))).size:
        bits = knowledge.bits()
        # What costs nothing more, as its stages are there for other cells, comes at once.
        best = open_[np.argmax(bits[open_] / np.maximum(cost.of_cell[open_], 1e-9))]
        price = float(cost.of_cell[best])
        spent += price
        chosen.append(Chosen(all_cells[best], float(bits[best]), price, spent))
        cost.pay(all_cells[best])
        knowledge.learn(int(best))
        missing[best] = False
    return chosen


class _Knowledge:
    """The covariance of each line's (α, β), as it stands."""

    def __init__(self, all_cells: Sequence[Cell], sizes: Mapping[str, int]) -> None:
        lines = {line: place for place, line in enumerate(dict.fromkeys(cell.line for cell in all_cells))}
        x = np.log10([sizes[cell.scale] for cell in all_cells])
        x -= (x.min() + x.max()) / 2 if len(x) else 0.0
        self._features = np.stack([np.ones(len(all_cells)), x], axis=1)
        self._asked = 1 if x.any() else 0  # at one scale there is no slope, only a level
        self._line = np.array([lines[cell.line] for cell in all_cells], dtype=int)
        self._covariance = np.tile(np.diag([LEVEL**2, SLOPE**2]), (len(lines), 1, 1))

    def bits(self) -> np.ndarray:
        """[cells] what one more seed of each would tell."""
        covariance = self._covariance[self._line]
        gain = np.einsum("cij,cj->ci", covariance, self._features)
        explained = (self._features * gain).sum(axis=1)
        before = covariance[:, self._asked, self._asked]
        return 0.5 * np.log2(before / (before - gain[:, self._asked] ** 2 / (NOISE**2 + explained)))

    def learn(self, place: int) -> None:
        """Condition the cell's line on its observation."""
        line, feature = self._line[place], self._features[place]
        gain = self._covariance[line] @ feature
        self._covariance[line] -= np.outer(gain, gain) / (NOISE**2 + feature @ gain)


class _Cost:
    """Hours that each cell still takes."""

    def __init__(self, all_cells: Sequence[Cell], hours: Mapping[str, float]) -> None:
        self._hours = dict(hours)
        self._users: dict[str, list[int]] = {}
        for place, cell in enumerate(all_cells):
            for key in cell.stages:
                self._users.setdefault(key, []).append(place)
        self.of_cell = np.array([sum(hours.get(key, 0.0) for key in cell.stages) for cell in all_cells])

    def pay(self, cell: Cell) -> None:
        """Its stages are there for all."""
        for key in cell.stages:
            self.of_cell[self._users[key]] -= self._hours.pop(key, 0.0)
        self.of_cell = np.maximum(self.of_cell, 0)  # what rounding leaves


def show(
    cells: Sequence[Cell],
    bought: Sequence[Chosen],
    hours: Mapping[str, float],
    console: Console,
    budget: float,
    unit: str,
    everything: bool,
) -> None:
    """What the hours buy at each scale, and the cells in their order; the first few only, unless all are asked for."""
    table = Table(title=f"what {budget:g} {unit}-hours buy", title_justify="left", title_style="bold")
    for column in ("scale", "cells", "done", "bought", "left", f"{unit}-hours"):
        table.add_column(column, justify="left" if column == "scale" else "right", overflow="fold")
    for scale in dict.fromkeys(cell.scale for cell in cells):
        of_scale = [cell for cell in cells if cell.scale == scale]
        done = sum(not any(key in hours for key in cell.stages) for cell in of_scale)
        ours = [choice for choice in bought if choice.cell.scale == scale]
        left = len(of_scale) - done - len(ours)
        spent = f"{sum(choice.hours for choice in ours):,.1f}"
        table.add_row(scale, str(len(of_scale)), str(done), str(len(ours)), str(left), spent)
    console.print(table)
    shown = bought if everything else bought[:FIRST_CELLS]
    order = Table(title="in this order", title_justify="left", title_style="bold")
    for column in ("", "cell", "bits", f"{unit}-hours", "so far"):
        order.add_column(column, justify="left" if column == "cell" else "right", overflow="fold")
    for place, choice in enumerate(shown, start=1):
        label = escape(choice.cell.label)
        order.add_row(str(place), label, f"{choice.bits:.2f}", f"{choice.hours:.2f}", f"{choice.total_hours:,.2f}")
    if shown:
        console.print(order)
    if len(shown) < len(bought):
        console.print(
            f"… and {len(bought) - len(shown)} more: --stages lists all, --json also the keys of their stages"
        )
    if not bought:
        console.print("nothing: every cell is done, or even the cheapest takes longer")
