"""What the store's finished stages teach about time and memory."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from launch.estimate.sizes import model_size
from launch.study.plan import Plan
from slurm.sizing.calibration import Calibration, calibrate
from slurm.sizing.memory import MemoryParts, Sharding, peak
from slurm.sizing.timing import Clock, Finished, Speed, Work, expected_s
from trainers.stage.scales import Shape
from trainers.store import StageEntry, Store
from trainers.tasks.intermediates import MLM


def learn_time(plan: Plan, store: Store, works: Mapping[str, Work], speed: Speed) -> Clock:
    """Learn from the plan's finished stages; alike are stages of one scale and kind."""
    finished = []
    for stage in plan.stages:
        result = store.entry(stage.key).result
        if result is None or not _ran_on(speed.device, result):
            continue
        world_size, execution = _carried_out(store, stage.key)
        how = (bool(execution.get(name)) for name in ("activation_checkpointing", "offload"))
        expected = expected_s(works[stage.key], speed, world_size, *how)
        finished.append(Finished(group_of(stage), expected, max(sum(result["seconds"].values()), 0.01)))
    return Clock.learn(finished)


def group_of(stage: Any) -> str:
    """Which stages are alike in time."""
    return f"{stage.scale.name} {stage.kind}"


def training_left_s(entry: StageEntry, steps: int) -> float | None:
    """Seconds that the training of a stage still takes, at the pace of its last steps; None where none is saved.

    Args:
        steps: of the whole training.
    """
    if not (done := entry.saved_step):
        return None
    paces = [event["seconds"] for event in entry.last_events() if event["event"] == "step"]
    return max(0, steps - done) * statistics.median(paces) if paces else None


def learn_memory(plan: Plan, store: Store, device: str | None = None) -> Calibration:
    """Compare the memory model with every measured peak of the plan's trainings (older results have none).

    Args:
        device: only of those that ran on such a one.
    """
    pairs = []
    for stage in plan.stages:
        result = store.entry(stage.key).result
        if result is None or not stage.train or "peak_memory_bytes" not in result or not _ran_on(device, result):
            continue
        shape = plan.scales[stage.scale.name].shape
        parts, on_gpu = predicted_memory(shape, result, *_carried_out(store, stage.key), MLM in stage.trained)
        pairs.append((parts.allocated if on_gpu else parts.states, float(result["peak_memory_bytes"])))
    return calibrate(pairs)


def predicted_memory(
    shape: Shape, result: Mapping[str, Any], world_size: int, execution: Mapping[str, Any], language_model: bool
) -> tuple[MemoryParts, bool]:
    """What the model says of a finished stage; and whether a GPU measured it, or its tensors were added up."""
    precision, on_gpu = result["precision"], result["device"] == "cuda"
    sharding = Sharding(
        world_size=world_size,
        gpus_per_node=world_size,
        zero_stage=execution["zero_stage"],
        offload=bool(execution.get("offload")) and on_gpu,  # on a CPU all memory is the host's
        activation_checkpointing=execution["activation_checkpointing"],
        micro_batch_tokens=max(1, result["micro_batch_tokens"]),
        precision=precision,
        graphs=bool(execution.get("graphs")) and on_gpu,
    )
    return peak(model_size(shape, result["vocabulary"], language_model), sharding), on_gpu


def _ran_on(device: str | None, result: Mapping[str, Any]) -> bool:
    return device in (None, result.get("device"))


def _carried_out(store: Store, key: str) -> tuple[int, Mapping[str, Any]]:
    """World size and execution of the last attempt at a stage."""
    attempt = store.entry(key).events("attempt")[-1]
    return attempt["world_size"], attempt["execution"]
