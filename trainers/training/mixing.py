"""What each step of a stage trains on: a pure function of seed and step.

Several tasks share the steps: one is drawn per optimizer step, with its own recipe's batch (jiant's way, but seeded,
and exact on resuming).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from trainers.families import mlm
from trainers.stage import Mixing, Recipe, Stage
from trainers.stage.random import seed_for
from trainers.tasks.intermediates import MLM
from trainers.tokens.sets import TokenisedSet
from trainers.training.batches import batch


class Drawn(NamedTuple):
    """The whole batch of one step."""

    task: str
    recipe: Recipe
    examples: TokenisedSet


class StepBatches:
    """The batches of a stage's training, by step."""

    def __init__(self, stage: Stage, examples: Mapping[str, TokenisedSet], vocabulary: mlm.MaskVocabulary) -> None:
        """
        Args:
            examples: training examples of each task of the stage.
            vocabulary: what language modelling masks with.
        """
        self.stage, self.examples, self.vocabulary = stage, examples, vocabulary
        self.counts = tuple(len(examples[task]) for task in stage.trained)

    @cached_property
    def total_steps(self) -> int:
        """T: the sum of the tasks' own steps, language modelling's share on top; at most the mixture's `max_steps`."""
        steps = sum(
            training.recipe.total_steps(count)
            for training, count in zip(self.stage.train, self.counts, strict=True)
            if training.task != MLM
        )
        mixing = self.stage.mixing
        if mixing is None:
            return steps
        if MLM in self.stage.trained:
            steps = round(steps / (1 - mixing.mlm_share))
        return min(steps, mixing.max_steps or steps)

    @cached_property
    def schedule(self) -> tuple[np.ndarray, np.ndarray]:
        """[T] number of each step's task, and [T] how many steps of that task came before it."""
        mixing, total = self.stage.mixing, self.total_steps
        if mixing is None:
            return np.zeros(total, np.int64), np.arange(total)
        seed = seed_for(self.stage, "+".join(self.stage.trained), "mixing")
        draws = np.random.Generator(np.random.Philox(key=seed)).random(total)
        edges = np.cumsum(probabilities(mixing, self.stage.trained, self.counts))
        tasks = np.searchsorted(edges[:-1], draws, side="right")
        before = np.zeros(total, np.int64)
        for number in range(len(self.counts)):
            steps = tasks == number
            before[steps] = np.arange(steps.sum())
        return tasks, before

    def draw(self, step: int) -> Drawn:
        """The batch of optimizer step `step`, counted from 0."""
        tasks, before = self.schedule
        task, recipe = self.stage.train[tasks[step]].task, self.stage.train[tasks[step]].recipe
        examples = self.examples[task]
        order = seed_for(self.stage, task, "order")
        drawn = examples.take(batch(order, int(before[step]), len(examples), recipe.batch_size))
        if task == MLM:
            drawn = mlm.mask(drawn, (seed_for(self.stage, task, "masking"), step), self.vocabulary)
        return Drawn(task, recipe, drawn)


def probabilities(mixing: Mixing, tasks: tuple[str, ...], counts: tuple[int, ...]) -> np.ndarray:
    """[tasks] probability that a step is each task's."""
    sizes = np.array(counts, np.float64)
    match mixing.sampling:
        case "uniform":
            weights = np.ones(len(sizes))
        case "proportional":
            weights = sizes
        case "temperature":
            weights = np.minimum(sizes, mixing.cap) ** (1 / mixing.temperature)
    modelling = np.array([task == MLM for task in tasks])
    weights[modelling] = 0
    shares = weights / weights.sum()
    if modelling.any():
        shares *= 1 - mixing.mlm_share
        shares[modelling] = mixing.mlm_share
    return shares
