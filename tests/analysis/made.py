"""Arms and measurements made in memory, a few numbers each, for tests that work out by hand what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from analysis.inference.statistics import UNDEFINED, Bootstrap, Estimate
from analysis.measures import decay
from analysis.measures.curves import Curve
from analysis.records.examples import NOTHING
from analysis.records.frame import SCHEMA
from analysis.records.measurements import Arm, Measurements, Point
from trainers.tasks import TASKS

CHANCE = 0.4
SIZES = {"small": 10**6, "medium": 10**7, "large": 10**8}
Scores = Mapping[Point, float | Sequence[float]]
"""(Key, measure, task, language, at) → the score, or the scores of single examples."""


def bootstrap(resamples: int = 300) -> Bootstrap:
    return Bootstrap(np.random.default_rng(5), resamples)


def arm(
    intermediate: str = "mnli",
    scale: str = "small",
    seeds: Sequence[int] = (0, 1, 2),
    target: str = "pawsx",
    *,
    size: int = 10**6,
    layer_norm: str = "post",
    trained: str = "pawsx",
) -> Arm:
    """Keys tell whose they are: `small/mnli/pawsx/0`; the intermediate's is `small/mnli/0`."""
    probed = () if intermediate == "none" else tuple(intermediate.split("+"))
    keys = {seed: f"{scale}/{intermediate}/{target}/{seed}" for seed in seeds}
    parents = {seed: f"{scale}/{intermediate}/{seed}" if probed else None for seed in seeds}
    return Arm(scale, size, layer_norm, intermediate, "", trained, (target,), probed, keys, parents)


def measurements(scores: Scores, chance: float = CHANCE) -> Measurements:
    """Of these scores, and with these examples where several are given."""
    examples = {point: np.array(one, dtype=np.float64) for point, one in scores.items() if isinstance(one, Sequence)}
    rows = [
        {
            **dict.fromkeys(SCHEMA, None),
            "key": key,
            "measure": measure,
            "task": task,
            "language": language,
            "metric": TASKS[task].metric,
            "at": at,
            "value": float(np.mean(one)),
            "examples": np.size(one),
            "chance": chance,
        }
        for (key, measure, task, language, at), one in scores.items()
    ]

    def source(*point: str | int) -> np.ndarray:
        found = examples.get(point)  # type: ignore[call-overload]
        return NOTHING if found is None else np.stack([found, np.ones_like(found)])

    return Measurements(pl.DataFrame(rows, schema=SCHEMA, orient="row"), source)


def zero_shot(arms: Mapping[Arm, Sequence[Mapping[str, float | Sequence[float]]]]) -> Scores:
    """Arm → language → score of each seed."""
    return {
        (key, "zero_shot", target, language, 100): score
        for one, by_seed in arms.items()
        for key, scores in zip(one.ordered_keys, by_seed, strict=True)
        for target in one.targets
        for language, score in scores.items()
    }


def curve(
    final: float,
    scale: str = "small",
    head: str = "stored",
    *,
    intermediate: str = "mnli",
    task: str = "mnli",
    target: str = "pawsx",
    trained: str = "pawsx",
    size: int = 0,
    undefined: str = "",
) -> Curve:
    """With this R(T), and resamples that scatter about it."""
    owner = arm(intermediate, scale, target=target, trained=trained, size=size or SIZES[scale])
    one = np.array([1.0, final])
    scatter = np.random.default_rng(round(1e6 * final) % 1000).normal(0, 0.01, 300)
    return Curve(
        owner, head, task, "en", (0, 1, 2), np.array([0.0, 1]), np.tile(one, (3, 1)), one, one, one, undefined,
        Estimate(final), UNDEFINED, math.inf, decay.NO_FIT, UNDEFINED, UNDEFINED, final + scatter,
    )  # fmt: skip
