"""Measured values as arrays, aligned by seed, example and step: what the bootstrap eats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from analysis.inference.statistics import Examples, Floats
from analysis.records.examples import NOTHING, ExampleSource, no_examples
from analysis.records.frame import primary
from trainers.stage.languages import ENGLISH

MEAN_TOLERANCE = 1e-6

Point = tuple[str, str, str, str, int]
"""Stage key, measure, task, language, at."""


@dataclass(frozen=True)
class Arm:
    """The stages that differ in their seed only.  `trained` is empty where retrieval was evaluated."""

    scale: str
    non_embedding_parameters: int
    layer_norm: str
    intermediate: str
    variant: str
    """The point of a search; "" without one."""
    trained: str
    targets: tuple[str, ...]
    probed: tuple[str, ...]
    """The tasks of the intermediate whose retention is measured."""
    keys: dict[int, str] = field(default_factory=dict, compare=False)
    """Seed → stage key, of the stages that completed."""
    parents: dict[int, str | None] = field(default_factory=dict, compare=False)
    """Seed → key of the intermediate's stage."""

    @property
    def seeds(self) -> list[int]:
        return sorted(self.keys)

    @property
    def ordered_keys(self) -> list[str]:
        """Stage keys in the order of `seeds`: the first axis of every array of scores."""
        return [self.keys[seed] for seed in self.seeds]

    @property
    def path(self) -> str:
        """What a person calls the training, e.g. `mnli → pawsx`."""
        return path(self.intermediate, self.targets)


def path(intermediate: str, targets: Sequence[str]) -> str:
    return f"{intermediate} → {'+'.join(targets)}"


def usable(stages: pl.DataFrame) -> pl.DataFrame:
    """The stages that may be averaged: completed, and from an intermediate that did not diverge."""
    diverged = stages.filter(pl.col("outcome") == "diverged")["key"]
    return stages.filter(pl.col("outcome") == "completed", ~pl.col("parent").is_in(diverged.implode()).fill_null(False))


def arms(stages: pl.DataFrame, kind: str) -> list[Arm]:
    """The usable stages of one kind, grouped; scales from small to large, intermediates and targets by name.

    Raises:
        ValueError: two stages differ in nothing that an arm knows: the stages are of more than one sweep.
    """
    columns = ["scale", "non_embedding_parameters", "layer_norm", "intermediate", "variant", "trained"]
    found: dict[tuple, Arm] = {}
    for row in usable(stages).filter(pl.col("kind") == kind).iter_rows(named=True):
        name = {column: row[column] for column in columns}
        arm = found.setdefault(
            (*name.values(), *row["targets"]), Arm(**name, targets=tuple(row["targets"]), probed=tuple(row["probed"]))
        )
        if row["seed"] in arm.keys:
            raise ValueError(
                f"stages {arm.keys[row['seed']]} and {row['key']} are both {row['label']}: "
                "they belong to different sweeps; name the keys of one"
            )
        arm.keys[row["seed"]] = row["key"]
        arm.parents[row["seed"]] = row["parent"]
    return sorted(
        found.values(),
        key=lambda arm: (
            arm.non_embedding_parameters,
            arm.scale,
            arm.intermediate != "none",
            arm.intermediate,
            arm.targets,
            arm.variant,
        ),
    )


class Measurements:
    """Looks up primary-metric values, and single examples where the store has them."""

    def __init__(self, frame: pl.DataFrame, examples: ExampleSource = no_examples) -> None:
        """
        Args:
            frame: `analysis.records.frame.SCHEMA`.
            examples: looks up the scores of single examples.
        """
        self._values: dict[Point, float] = {}
        self._chances: dict[tuple[str, str, str, str], float] = {}
        self._steps: dict[tuple[str, str, str, str], list[int]] = {}
        self._pairs: dict[tuple[str, str], set[tuple[str, str]]] = {}
        columns = ["key", "measure", "task", "language", "at", "value", "chance"]
        for key, measure, task, language, at, value, chance in primary(frame).select(columns).iter_rows():
            self._pairs.setdefault((key, measure), set()).add((task, language))
            self._steps.setdefault((key, measure, task, language), []).append(at)
            self._values[key, measure, task, language, at] = value
            self._chances[key, measure, task, language] = chance
        self._source = examples
        self.has_examples = False
        """Whether any examples were found so far."""

    def steps(self, keys: Sequence[str], measure: str, task: str, language: str) -> list[int]:
        """Where all of these stages measured it, rising."""
        sets = [set(self._steps.get((key, measure, task, language), ())) for key in keys]
        return sorted(set.intersection(*sets)) if sets else []

    def pairs(self, keys: Sequence[str], measure: str) -> list[tuple[str, str]]:
        """The pairs of task and language in which all of these stages have the measure, sorted, English first."""
        sets = [self._pairs.get((key, measure), set()) for key in keys]
        common = set.intersection(*sets) if sets else set()
        return sorted(common, key=lambda pair: (pair[0], pair[1] != ENGLISH, pair[1]))

    def chance(self, key: str, measure: str, task: str, language: str) -> float:
        return self._chances[key, measure, task, language]

    def values(self, keys: Sequence[str], measure: str, task: str, language: str, steps: Sequence[int]) -> Floats:
        """[seeds, steps] as measured."""
        return np.array([[self._values[key, measure, task, language, at] for at in steps] for key in keys])

    def examples(self, keys: Sequence[str], measure: str, task: str, language: str, steps: Sequence[int]) -> Examples:
        """[seeds, examples, steps]; where examples are missing or not the same ones, their mean as the only one."""
        points = [[(key, measure, task, language, at) for at in steps] for key in keys]
        found = [[self._found(point) for point in row] for row in points]
        counts = {one.shape[1] for row in found for one in row}
        if len(counts) == 1 and counts != {0}:
            return Examples(*np.array(found).transpose(2, 0, 3, 1))  # from [seeds, steps, 2, examples]
        return Examples.alike(self.values(keys, measure, task, language, steps)[:, None])

    def _found(self, point: Point) -> Floats:
        """[2, examples] of a point.

        Only of a weighted mean over examples can examples be resampled (not of mining's F1, nor of a torn write).
        """
        found = self._source(*point)
        if not found.size:
            return NOTHING
        scores, weights = found
        value = scores @ weights / (weights.sum() or 1.0)  # as Examples.by_seed, for a hundred thousand points
        if abs(value - self._values[point]) >= MEAN_TOLERANCE:
            return NOTHING
        self.has_examples = True
        return found
