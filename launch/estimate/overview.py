"""`retain plan` as a person reads it: one row a scale, then what it will take; or what a budget buys."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launch.estimate.costs import Prediction
from launch.study.plan import Plan
from slurm.sizing.calibration import Calibration
from slurm.sizing.timing import Clock
from trainers.store import Store

if TYPE_CHECKING:
    from launch.estimate.budget import Cell, Chosen

FIRST_CELLS = 20
"""So many of a budget's order are shown."""
KINDS = ("intermediate", "target", "retrieval")


def show(
    plan: Plan, store: Store, prediction: Prediction, console: Console, every_stage: bool, on: str = "process"
) -> None:
    """Print the plan: counts done and to do per scale and kind, predicted time and disk, notes.

    Args:
        on: of what there is one: that is what the prediction is for.
    """
    done = {stage.key for stage in plan.stages if stage.key not in prediction.seconds}
    table = Table(
        title=f"{plan.sweep.name}: {len(plan.stages)} stages, {plan.trainings} trainings, {len(done)} done",
        title_justify="left",
        title_style="bold",
    )
    for column in ("scale", "parameters", *KINDS, f"to do, one {on}"):
        table.add_column(column, justify="left" if column == "scale" else "right", overflow="fold")
    for name, scale in plan.scales.items():
        stages = [stage for stage in plan.stages if stage.scale.name == name]
        cells = []
        for kind in KINDS:
            keys = [stage.key for stage in stages if stage.kind == kind]
            cells.append(f"{sum(key in done for key in keys)} / {len(keys)}")
        seconds = sum(prediction.seconds.get(stage.key, 0.0) for stage in stages)
        table.add_row(name, _count(scale.shape.parameters), *cells, duration(seconds))
    console.print(table)
    low, total, high = (sum(stage[place] for stage in prediction.intervals_s.values()) for place in range(3))
    between = f", {duration(low)} to {duration(high)}" if total else ""
    console.print(f"time   {duration(total)} on one {on}{between} ({_learned_time(prediction.clock)})", soft_wrap=True)
    if prediction.probe_share:
        console.print(f"probes {prediction.probe_share:.0%} of the operations")
    console.print(f"disk   {bytes_of(prediction.disk_bytes)} for the intermediates' encoders")
    if search := plan.sweep.search:
        axes = " × ".join(f"{axis} {', '.join(map(str, values))}" for axis, values in search.items())
        console.print(f"search {math.prod(map(len, search.values()))} points: {axes}", soft_wrap=True)
    if prediction.memory.pairs:
        console.print(f"memory {_learned_memory(prediction.memory)}")
    for note in plan.notes:
        console.print(f"note   {note}", style="yellow", soft_wrap=True)
    if every_stage:
        for stage in plan.stages:
            console.print(f"{stage.key}  {'done ' if stage.key in done else 'to do'}  {stage.label}", soft_wrap=True)


def _learned_time(clock: Clock) -> str:
    if not clock.pairs:
        return "a first guess; finished stages will correct it"
    error = f"; half of them within ±{clock.error:.0%}" if clock.error is not None else ""
    return f"learned from {clock.pairs} finished {'stage' if clock.pairs == 1 else 'stages'}{error}"


def _learned_memory(memory: Calibration) -> str:
    """Before correction: how far the model itself was off."""
    low, high = (share * memory.factor for share in memory.spread)
    return f"measured over predicted: {memory.factor:.2f} ({low:.2f} to {high:.2f}) in {memory.pairs} trainings"


def duration(seconds: float) -> str:
    """12 s, 3.4 min, 5.6 h or 7.8 days."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if size == 1 else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f}B" if parameters >= 1e9 else f"{parameters / 1e6:.1f}M"


def bytes_of(count: float) -> str:
    """1.5 TiB, 1.5 GiB or 200.0 MiB."""
    for size, unit in ((2**40, "TiB"), (2**30, "GiB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 2**20:.1f} MiB"


def show_budget(
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
        own = [cell for cell in cells if cell.scale == scale]
        done = sum(not any(key in hours for key in cell.stages) for cell in own)
        ours = [one for one in bought if one.cell.scale == scale]
        left = len(own) - done - len(ours)
        spent = f"{sum(one.hours for one in ours):,.1f}"
        table.add_row(scale, str(len(own)), str(done), str(len(ours)), str(left), spent)
    console.print(table)
    shown = bought if everything else bought[:FIRST_CELLS]
    order = Table(title="in this order", title_justify="left", title_style="bold")
    for column in ("", "cell", "bits", f"{unit}-hours", "so far"):
        order.add_column(column, justify="left" if column == "cell" else "right", overflow="fold")
    for place, one in enumerate(shown, start=1):
        label = escape(one.cell.label)
        order.add_row(str(place), label, f"{one.bits:.2f}", f"{one.hours:.2f}", f"{one.total_hours:,.2f}")
    if shown:
        console.print(order)
    if len(shown) < len(bought):
        console.print(
            f"… and {len(bought) - len(shown)} more: --stages lists all, --json also the keys of their stages"
        )
    if not bought:
        console.print("nothing: every cell is done, or even the cheapest takes longer")
