"""Predicted time and disk of a plan: computed at first, then corrected by the store's finished stages."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from launch.study.plan import Plan
from launch.study.published_rows import expected_rows
from slurm.sizing.memory import MemoryParts, ModelSize, Placement, peak
from slurm.sizing.timing import CPU_CORE, Calibration, Clock, Finished, Speed, Work, calibrate, expected_s
from trainers.data.mirror import Mirror
from trainers.data.stagedata import training_files
from trainers.families.mlm import CHOSEN
from trainers.stage import Stage
from trainers.stage.scales import Shape
from trainers.store import StageEntry, Store
from trainers.tasks import TASKS, Files
from trainers.tasks.intermediates import MLM

TYPICAL_TOKENS = {"pair": 40, "span": 160, "choice": 300, "tagging": 30, "retrieval": 25, "mining": 35}
"""Real tokens per example where nothing is known yet (XNLI, SQuAD, HellaSwag, UDPOS, Tatoeba, BUCC with XLM-R's
vocabulary)."""

EXPORT_BYTES = 4
"""Per parameter: an exported encoder is fp32."""


@dataclass(frozen=True)
class Prediction:
    """What is still to do."""

    intervals_s: dict[str, tuple[float, float, float]]
    """Low, middle and high seconds of each unfinished stage."""
    disk_bytes: int
    """Exports of all intermediates of the plan."""
    steps: dict[str, int] = field(default_factory=dict)
    """Optimizer steps of each stage, finished ones too."""
    clock: Clock = field(default_factory=Clock)
    """What the finished stages taught about time."""
    memory: Calibration = field(default_factory=Calibration)
    """What they taught about memory."""
    probe_share: float = 0.0
    """Of the operations of the unfinished stages, those of their probes."""

    @property
    def seconds(self) -> dict[str, float]:
        """The middle of each unfinished stage's interval."""
        return {key: middle for key, (_, middle, _) in self.intervals_s.items()}


def predict(
    plan: Plan,
    store: Store,
    mirror: Mirror,
    speed: Speed = CPU_CORE,
    placements: Mapping[str, Placement] | None = None,
) -> Prediction:
    """Time that each unfinished stage still takes, and disk of all.

    Args:
        speed: of one rank.
        placements: of each scale; one rank where they say nothing.
    """
    works = {stage.key: work_of(stage, plan, mirror) for stage in plan.stages}
    clock = learn_time(plan, store, works, speed)

    def interval(stage: Stage) -> tuple[float, float, float]:
        work, placement = works[stage.key], (placements or {}).get(stage.scale.name, Placement())
        left_s = training_left_s(store.entry(stage.key), work.steps)
        if left_s is not None:  # its own pace tells more than that of others
            work = replace(work, training_tokens=0, steps=0)
        expected = expected_s(work, speed, placement.ranks, placement.activation_checkpointing, placement.offload)
        low, middle, high = clock.interval_s(group_of(stage), expected)
        return low + (left_s or 0), middle + (left_s or 0), high + (left_s or 0)

    intervals = {stage.key: interval(stage) for stage in plan.stages if not store.entry(stage.key).done}
    disk = sum(
        EXPORT_BYTES * plan.scales[stage.scale.name].shape.parameters
        for stage in plan.stages
        if stage.kind == "intermediate"
    )
    steps = {key: work.steps for key, work in works.items()}
    left = [works[key] for key in intervals]
    flops = sum(work.training_flops + work.forward_flops for work in left)
    probe_share = sum(work.probe_flops for work in left) / flops if flops else 0.0
    memory = learn_memory(plan, store, speed.device)
    return Prediction(intervals, disk, steps, clock, memory, probe_share)


def work_of(stage: Stage, plan: Plan, mirror: Mirror) -> Work:
    """Tokens and parameters of one stage."""
    shape = plan.scales[stage.scale.name].shape
    training = probing = forward = steps = 0

    def rows(files: Files | None, language: str, limit: int | None) -> int:
        count = expected_rows(mirror, files, language) if files else 0
        return min(count, limit) if limit else count

    lengths = []

    def tokens(task_name: str, max_length: int) -> int:
        lengths.append(min(TYPICAL_TOKENS.get(TASKS[task_name].family, 40), max_length))
        return lengths[-1]

    if stage.train:
        for trained in stage.train:
            if trained.task == MLM:
                continue
            task, recipe = TASKS[trained.task], trained.recipe
            examples = sum(
                rows(files, language, recipe.max_examples)
                for files, languages in training_files(task, trained.languages)
                for language in languages
            )
            task_steps = recipe.total_steps(examples) if examples else 0
            steps += task_steps
            training += task_steps * recipe.batch_size * tokens(task.name, recipe.max_length)
        if stage.mixing is not None and steps:
            whole = steps / (1 - stage.mixing.mlm_share * (MLM in stage.trained))
            capped = min(whole, stage.mixing.max_steps or whole)
            training, steps = int(training * capped / steps), int(capped)
        probings = steps.bit_length() * stage.probings_per_doubling + 2 if stage.kind == "target" else 2
        for probe in stage.probes:
            elsewhere = len(probe.languages) * probe.examples_other / 2  # every other probing goes beyond English
            probing += int(
                probings * (probe.examples + probe.refit_examples + elsewhere) * tokens(probe.task, probe.max_length)
            )
    for evaluation in stage.evaluate:
        task = TASKS[evaluation.task]
        examples = sum(rows(task.test, language, evaluation.max_examples) for language in evaluation.languages)
        sides = 2 if task.family == "retrieval" else 1
        forward += sides * examples * tokens(task.name, evaluation.max_length)
    return Work(
        parameters=shape.parameters,
        body_parameters=shape.non_embedding_parameters,
        layers=shape.layers,
        hidden=shape.hidden,
        training_tokens=training,
        forward_tokens=forward + probing,
        probe_tokens=probing,
        steps=steps,
        sequence_tokens=max(lengths, default=0),
    )


DROPOUTS = {"post": 2, "pre": 1}
"""Masks a layer keeps, by LayerNorm placement: XLM-R-XL has no dropout after its feed-forward."""


def model_size(shape: Shape, vocabulary: int | None = None, language_model: bool = False) -> ModelSize:
    """Counts of an encoder with one head.

    Args:
        vocabulary: embedding rows that a stage keeps of it; None keeps all.
        language_model: whether masked tokens are predicted, which no vocabulary is trimmed for.
    """
    rows = shape.vocabulary if vocabulary is None or language_model else vocabulary
    head = shape.hidden * (shape.hidden + 1)  # the dense layer; the projection to a few classes is nothing beside it
    return ModelSize(
        body_parameters=shape.non_embedding_parameters + head + (rows if language_model else 0),
        embedding_rows=rows + shape.positions + 1,
        layers=shape.layers,
        hidden=shape.hidden,
        feed_forward=shape.feed_forward,
        heads=shape.heads,
        dropouts=DROPOUTS[shape.layer_norm],
        logits_per_token=CHOSEN * rows if language_model else 0.0,
    )


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
    on_gpu = result["device"] == "cuda"
    placement = Placement(
        ranks_per_node=world_size,
        zero_stage=execution["zero_stage"],
        offload=bool(execution.get("offload")) and on_gpu,  # on a CPU all memory is the host's
        activation_checkpointing=execution["activation_checkpointing"],
        graphs=bool(execution.get("graphs")) and on_gpu,
        micro_batch_tokens=max(1, result["micro_batch_tokens"]),
    )
    return peak(model_size(shape, result["vocabulary"], language_model), placement, result["precision"]), on_gpu


def _ran_on(device: str | None, result: Mapping[str, Any]) -> bool:
    return device in (None, result.get("device"))


def _carried_out(store: Store, key: str) -> tuple[int, Mapping[str, Any]]:
    """World size and execution of the last attempt at a stage."""
    attempt = store.entry(key).events("attempt")[-1]
    return attempt["world_size"], attempt["execution"]
