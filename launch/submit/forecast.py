"""`retain plan --cluster`: per scale, how it is sharded and why, what it takes, and when SLURM would start it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from launch.estimate.costs import Prediction, predict
from launch.estimate.overview import bytes_of, duration
from launch.estimate.placement import Placed, place, speed_of
from launch.study.plan import Plan
from launch.submit.arrays import Array, make_arrays
from launch.submit.reconcile import Submitter
from launch.submit.snapshot import NO_CHECKOUT
from slurm.commands import SlurmError, start_estimate
from slurm.profile import Placement, Profile
from slurm.script import ArrayExecutor
from slurm.sizing.machine import EXPORT_BYTES
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store

CHECKPOINT_BYTES = 12
"""Per parameter: fp32 weights and two Adam states."""


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


def on_one_gpu(plan: Plan, store: Store, mirror: Mirror, profile: Profile) -> Prediction:
    """Times on one of the cluster's GPUs."""
    return predict(plan, store, mirror, speed_of(profile))


def forecast(plan: Plan, mirror: Mirror, profile: Profile) -> list[Forecast]:
    """What each scale will take.

    Raises:
        ProfileError: something cannot fit, naming the limit.
    """
    store = Store(plan.sweep.store)
    placed = place(plan, profile)
    prediction = predict(plan, store, mirror, speed_of(profile), {name: one.placement for name, one in placed.items()})
    found = []
    for name, one in placed.items():
        stages = [stage for stage in plan.stages if stage.scale.name == name]
        todo = {stage.key: prediction.seconds[stage.key] for stage in stages if stage.key in prediction.seconds}
        hours = [
            sum(prediction.intervals_s[key][place] for key in todo) * one.placement.ranks / 3600 for place in range(3)
        ]
        arrays = tuple(make_arrays(plan, todo, {}, profile.job_min * 60.0, profile.max_array_size - 1))
        found.append(
            Forecast(
                scale=name,
                placed=one,
                gpu_hours=(hours[0], hours[1], hours[2]),
                disk_bytes=_disk(plan, name, stages, arrays),
                arrays=arrays,
                longest_s=_longest(arrays, todo),
            )
        )
    return found


def _disk(plan: Plan, scale: str, stages: list[Stage], arrays: tuple[Array, ...]) -> int:
    parameters = plan.scales[scale].shape.parameters
    kept = sum(stage.kind == "intermediate" for stage in stages)
    return parameters * (EXPORT_BYTES * kept + CHECKPOINT_BYTES * sum(len(array.bundles) for array in arrays))


def _longest(arrays: tuple[Array, ...], seconds: dict[str, float]) -> float:
    """The longest chain of jobs, if nothing ever waits for a GPU."""

    def of(array: Array, index: int) -> float:
        own = sum(seconds[stage.key] for stage in array.bundles[index])
        return own + (of(array.after, index) if isinstance(array.after, Array) else 0.0)

    return max((of(array, index) for array in arrays for index in range(len(array.bundles))), default=0.0)


def show(plan: Plan, mirror: Mirror, profile: Profile, console: Console) -> None:
    """Print the forecast and SLURM's own start estimate.

    Raises:
        ProfileError: something cannot fit, naming the limit.
    """
    found = forecast(plan, mirror, profile)
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
    for one in found:
        low, middle, high = one.gpu_hours
        peak = bytes_of(one.placed.peak_bytes) if one.placed.peak_bytes else "not known"
        table.add_row(
            one.scale,
            _placed(one.placed.placement),
            peak,
            f"{_hours(middle)}\n{_hours(low)}–{_hours(high)}",
            bytes_of(one.disk_bytes),
            str(one.jobs),
            duration(one.longest_s),
            _start(one, plan, mirror, profile, refusals),
        )
    console.print(table)
    console.print(
        "memory: peak of one GPU; GPU-h: hours of what is to do, with their range; disk: encoders and checkpoints; "
        "longest: the longest chain of jobs; start: SLURM's estimate"
    )
    for reason, scale in refusals.items():
        console.print(f"{scale}  {reason}", soft_wrap=True, style="yellow", markup=False)
    for one in found:
        console.print(f"{one.scale}  {one.placed.placement.why}", soft_wrap=True, markup=False)
        for reason in one.placed.why:
            console.print(f"    rejected: {reason}", soft_wrap=True, style="dim", markup=False)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}"


def _placed(placement: Placement) -> str:
    nodes = f"{placement.nodes} × " if placement.nodes > 1 else ""
    extras = ", offload" * placement.offload + ", checkpointing" * placement.activation_checkpointing
    return f"{nodes}{placement.ranks_per_node} GPU, ZeRO-{placement.zero_stage}{extras}"


def _start(one: Forecast, plan: Plan, mirror: Mirror, profile: Profile, refusals: dict[str, str]) -> str:
    """When SLURM would start the first of the jobs that wait for nothing; its refusals are kept for below the table."""
    free = next((array for array in one.arrays if array.after is None), None)
    if free is None:
        return "all done"
    submitter = Submitter(plan, mirror, profile, {one.scale: one.placed.placement}, NO_CHECKOUT)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.sh"
        script.write_text(ArrayExecutor(submitter.job(free, Path(folder), {}), profile).text(), encoding="utf-8")
        try:
            return start_estimate(script) or "not said"
        except SlurmError as error:
            refusals.setdefault(str(error).replace(str(script), "script"), one.scale)
            return "see below"
