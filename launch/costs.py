"""Predicted time and disk of a plan: analytic at first, then learned from the store's finished stages."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from launch.plan import Plan
from slurm.sizing import EXPORT_BYTES, Work
from trainers.data.mirror import Mirror
from trainers.data.stagedata import training_files
from trainers.stage import Stage
from trainers.store import Store
from trainers.tasks import TASKS, Files
from trainers.tasks.intermediates import MLM

TYPICAL_TOKENS = {"pair": 40, "span": 160, "choice": 300, "tagging": 30, "retrieval": 25, "mining": 35}
"""Real tokens per example where nothing is known yet (XNLI, SQuAD, HellaSwag, UDPOS, Tatoeba, BUCC with XLM-R's
vocabulary)."""
FIRST_GUESS_FLOPS_PER_S = 2e10
"""One CPU core; a first guess that the first finished stage corrects."""
FIXED_S = 1.0
"""A stage's own start and end inside a warm bundle."""


@dataclass(frozen=True)
class Prediction:
    """What is still to do."""

    seconds: dict[str, float]
    """Per unfinished stage, one process."""
    disk_bytes: int
    """Exports of all intermediates of the plan."""
    learned_from: int
    """Number of finished stages behind the rate; 0 is a guess for a CPU core."""


def predict(plan: Plan, store: Store, mirror: Mirror) -> Prediction:
    """Time of each unfinished stage and disk of all."""
    works = {stage.key: work_of(stage, plan, mirror) for stage in plan.stages}
    measured: dict[str, float] = {}
    for stage in plan.stages:
        if result := store.entry(stage.key).result:
            measured[stage.key] = sum(result["seconds"].values())
    rates = [works[key].flops / max(seconds - FIXED_S, 0.1) for key, seconds in measured.items() if works[key].flops]
    rate = statistics.median(rates) if rates else FIRST_GUESS_FLOPS_PER_S
    seconds = {key: FIXED_S + work.flops / rate for key, work in works.items() if key not in measured}
    disk = sum(
        EXPORT_BYTES * plan.scales[stage.scale.name].shape.parameters
        for stage in plan.stages
        if stage.kind == "intermediate"
    )
    return Prediction(seconds, disk, len(rates))


def work_of(stage: Stage, plan: Plan, mirror: Mirror) -> Work:
    """Tokens and parameters of one stage."""
    shape = plan.scales[stage.scale.name].shape
    training = forward = 0

    def rows(files: Files | None, language: str, limit: int | None) -> int:
        count = mirror.count(files, language) if files else 0
        return min(count, limit) if limit else count

    def tokens(task_name: str, max_length: int) -> int:
        return min(TYPICAL_TOKENS.get(TASKS[task_name].family, 40), max_length)

    if stage.train:
        steps = 0
        for one in stage.train:
            if one.task == MLM:
                continue
            task, recipe = TASKS[one.task], one.recipe
            examples = sum(
                rows(files, language, recipe.max_examples)
                for files, languages in training_files(task, one.languages)
                for language in languages
            )
            own = recipe.total_steps(examples) if examples else 0
            steps += own
            training += own * recipe.batch_size * tokens(task.name, recipe.max_length)
        if stage.mixing is not None and steps:
            whole = steps / (1 - stage.mixing.mlm_share * (MLM in stage.trained))
            capped = min(whole, stage.mixing.max_steps or whole)
            training, steps = int(training * capped / steps), int(capped)
        if stage.probe is not None:
            probe, probings = stage.probe, steps.bit_length() + 2 if stage.kind == "target" else 2
            elsewhere = len(probe.languages) * probe.examples_other / 2  # every other probing goes beyond English
            forward += int(
                probings * (probe.examples + probe.refit_examples + elsewhere) * tokens(probe.task, probe.max_length)
            )
    for evaluation in stage.evaluate:
        task = TASKS[evaluation.task]
        examples = sum(rows(task.test, language, evaluation.max_examples) for language in evaluation.languages)
        sides = 2 if task.family == "retrieval" else 1
        forward += sides * examples * tokens(task.name, evaluation.max_length)
    return Work(shape.parameters, shape.non_embedding_parameters, training, forward)
