"""`retain plan` as a person reads it: what is done and to do, and how long it takes.

With a cluster file also how each scale is sharded there and why, what it takes, and when SLURM would start it.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from launch.estimate.costs import EXPORT_BYTES, Prediction, predict
from launch.estimate.placement import Placed, place, speed_of
from launch.study.plan import Plan
from launch.submit.arrays import Array, make_arrays
from launch.submit.reconcile import Submitter
from launch.submit.snapshot import NO_CHECKOUT
from slurm.commands import SlurmError, start_estimate
from slurm.profile import Profile
from slurm.sizing.memory import Placement
from slurm.sizing.timing import Calibration, Clock
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store

CHECKPOINT_BYTES = 12
"""Per parameter: fp32 weights and two Adam states."""


KINDS = ("intermediate", "target", "retrieval")


def show_plan(
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


@dataclass(frozen=True)
class Forecast:
    """One scale of a plan on one cluster."""

    scale: str
    placed: Placed
    gpu_hours: tuple[float, float, float]
    """Low, middle and high, of what is still to do."""
    disk_bytes: int
    """Encoders that are kept, and checkpoints while all jobs run."""
    arrays: tuple[Array, ...]
    longest_s: float
    """Of any chain: an intermediate and the longest of the bundles that wait for it."""

    @property
    def jobs(self) -> int:
        return sum(len(array.bundles) for array in self.arrays)

    @property
    def facts(self) -> dict[str, Any]:
        """For a program."""
        return {
            "scale": self.scale,
            "placement": self.placed.placement.model_dump(),
            "why": self.placed.why,
            "peak_bytes": self.placed.peak_bytes,
            "gpu_hours": self.gpu_hours,
            "disk_bytes": self.disk_bytes,
            "jobs": self.jobs,
            "longest_s": self.longest_s,
        }


def forecast(plan: Plan, mirror: Mirror, profile: Profile) -> list[Forecast]:
    """What each scale will take.

    Raises:
        ProfileError: something cannot fit, naming the limit.
    """
    store = Store(plan.sweep.store)
    placed = place(plan, profile)
    prediction = predict(
        plan, store, mirror, speed_of(profile), {name: where.placement for name, where in placed.items()}
    )
    forecasts = []
    for name, where in placed.items():
        stages = [stage for stage in plan.stages if stage.scale.name == name]
        todo = {stage.key: prediction.seconds[stage.key] for stage in stages if stage.key in prediction.seconds}
        hours = [
            sum(prediction.intervals_s[key][place] for key in todo) * where.placement.ranks / 3600 for place in range(3)
        ]
        arrays = tuple(make_arrays(plan, todo, {}, profile.job_min * 60.0, profile.max_array_size - 1))
        forecasts.append(
            Forecast(
                scale=name,
                placed=where,
                gpu_hours=(hours[0], hours[1], hours[2]),
                disk_bytes=_disk(plan, name, stages, arrays),
                arrays=arrays,
                longest_s=_longest(arrays, todo),
            )
        )
    return forecasts


def _disk(plan: Plan, scale: str, stages: list[Stage], arrays: tuple[Array, ...]) -> int:
    parameters = plan.scales[scale].shape.parameters
    kept = sum(stage.kind == "intermediate" for stage in stages)
    return parameters * (EXPORT_BYTES * kept + CHECKPOINT_BYTES * sum(len(array.bundles) for array in arrays))


def _longest(arrays: tuple[Array, ...], seconds: dict[str, float]) -> float:
    """The longest chain of jobs, if nothing ever waits for a GPU."""

    def of(array: Array, index: int) -> float:
        own_s = sum(seconds[stage.key] for stage in array.bundles[index])
        return own_s + (of(array.after, index) if isinstance(array.after, Array) else 0.0)

    return max((of(array, index) for array in arrays for index in range(len(array.bundles))), default=0.0)


def show_on_cluster(plan: Plan, mirror: Mirror, profile: Profile, console: Console) -> None:
    """Print the forecast and SLURM's own start estimate.

    Raises:
        ProfileError: something cannot fit, naming the limit.
    """
    forecasts = forecast(plan, mirror, profile)
    refusals: dict[str, str] = {}
    table = Table(
        title=f"on {profile.cluster}, partition {profile.partition}", title_justify="left", title_style="bold"
    )
    for column in ("scale", "placed", "memory", "GPU-h", "disk", "jobs", "longest", "start"):
        table.add_column(
            column,
            justify="left" if column in ("scale", "placed") else "right",
            overflow="fold",
            no_wrap=column in ("scale", "GPU-h"),
        )
    for scale_forecast in forecasts:
        low, middle, high = scale_forecast.gpu_hours
        peak = bytes_of(scale_forecast.placed.peak_bytes) if scale_forecast.placed.peak_bytes else "not known"
        table.add_row(
            scale_forecast.scale,
            _placed(scale_forecast.placed.placement),
            peak,
            f"{_hours(middle)}\n{_hours(low)}–{_hours(high)}",
            bytes_of(scale_forecast.disk_bytes),
            str(scale_forecast.jobs),
            duration(scale_forecast.longest_s),
            _start(scale_forecast, plan, mirror, profile, refusals),
        )
    console.print(table)
    console.print(
        "memory: peak of one GPU; GPU-h: hours of what is to do, with their range; disk: encoders and checkpoints; "
        "longest: the longest chain of jobs; start: SLURM's estimate"
    )
    for reason, scale in refusals.items():
        console.print(f"{scale}  {reason}", soft_wrap=True, style="yellow", markup=False)
    for scale_forecast in forecasts:
        console.print(f"{scale_forecast.scale}  {scale_forecast.placed.placement.why}", soft_wrap=True, markup=False)
        for reason in scale_forecast.placed.why:
            console.print(f"    rejected: {reason}", soft_wrap=True, style="dim", markup=False)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}"


def _placed(placement: Placement) -> str:
    nodes = f"{placement.nodes} × " if placement.nodes > 1 else ""
    extras = ", offload" * placement.offload + ", checkpointing" * placement.activation_checkpointing
    return f"{nodes}{placement.ranks_per_node} GPU, ZeRO-{placement.zero_stage}{extras}"


def _start(scale_forecast: Forecast, plan: Plan, mirror: Mirror, profile: Profile, refusals: dict[str, str]) -> str:
    """When SLURM would start the first of the jobs that wait for nothing; its refusals are kept for below the table."""
    free = next((array for array in scale_forecast.arrays if array.after is None), None)
    if free is None:
        return "all done"
    submitter = Submitter(plan, mirror, profile, {scale_forecast.scale: scale_forecast.placed.placement}, NO_CHECKOUT)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.sh"
        script.write_text(submitter.sender.script(submitter.job(free, Path(folder), {})), encoding="utf-8")
        try:
            return start_estimate(script) or "not said"
        except SlurmError as error:
            refusals.setdefault(str(error).replace(str(script), "script"), scale_forecast.scale)
            return "see below"
