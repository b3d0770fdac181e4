"""Does what an intermediate adds replicate from target to target, and how probably does it help at all?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.inference.improvement import improvement_interval
from analysis.inference.statistics import (
    SIGNIFICANT,
    UNDEFINED,
    Bootstrap,
    Estimate,
    Floats,
    interquartile_mean,
    p_value,
    replicability,
)
from analysis.measures.transfer import Cell, lacking


@dataclass(frozen=True)
class Replicated:
    """One intermediate at one scale, over all targets that are scored with it and without."""

    scale: str
    intermediate: str
    seeds: int
    """In common with `none`, of the target that has fewest."""
    targets: tuple[str, ...]
    """In which it has gains."""
    lacking: tuple[str, ...]
    """Those that others have gains in: where there are any, means over targets are undefined."""
    gain: Estimate
    """Mean over targets, each the mean over its languages."""
    gain_iqm: float
    """Interquartile mean over targets, languages and seeds."""
    improvement: Estimate
    """Probability that a run through the intermediate scores more in a target than a run without."""
    raised: int | None
    lowered: int | None
    """In how many targets the mean gain replicates, at SIGNIFICANT / 2 in each direction; None where untestable."""


def replicated(cells: Sequence[Cell], bootstrap: Bootstrap) -> list[Replicated]:
    """One per scale and intermediate that has gains."""
    groups: dict[tuple[str, str], list[tuple[Cell, Floats, Floats]]] = {}
    for cell in cells:
        if cell.gains_by_seed is not None and cell.gain_samples is not None:
            name = cell.arm.scale, cell.arm.intermediate
            groups.setdefault(name, []).append((cell, cell.gains_by_seed, cell.gain_samples))
    absent = lacking(cell for members in groups.values() for cell, _, _ in members)
    return [_replicated(*name, members, absent[name], bootstrap) for name, members in groups.items()]


def _replicated(
    scale: str,
    intermediate: str,
    members: Sequence[tuple[Cell, Floats, Floats]],
    absent: tuple[str, ...],
    bootstrap: Bootstrap,
) -> Replicated:
    values = [by_seed.mean() for _, by_seed, _ in members]
    samples = [drawn.mean(axis=1) for _, _, drawn in members]
    counts = [len(cell.paired_seeds) for cell, _, _ in members]
    tests = list(zip(values, samples, counts, strict=True))
    gain, gain_iqm, improvement = UNDEFINED, math.nan, UNDEFINED
    if not absent:
        seeds = set.intersection(*(set(cell.paired_seeds) for cell, _, _ in members))
        gain = bootstrap.estimate(np.mean(values), np.mean(samples, axis=0), min(counts))
        gain_iqm = interquartile_mean(np.concatenate([by_seed.ravel() for _, by_seed, _ in members]))
        improvement = _improvement([cell for cell, _, _ in members], sorted(seeds))
    return Replicated(
        scale,
        intermediate,
        min(counts),
        tuple(sorted(cell.target for cell, _, _ in members)),
        absent,
        gain,
        gain_iqm,
        improvement,
        raised=_replicates(tests, sign=1),
        lowered=_replicates(tests, sign=-1),
    )


def _replicates(tests: Sequence[tuple[float, Floats, int]], sign: int) -> int | None:
    p = [_one_sided(*test, sign=sign) for test in tests]
    return None if np.isnan(p).all() else replicability(p, SIGNIFICANT / 2)


def _improvement(cells: Sequence[Cell], seeds: Sequence[int]) -> Estimate:
    """On the seeds that all targets have."""
    if not seeds:
        return UNDEFINED
    rows = [[cell.paired_seeds.index(seed) for seed in seeds] for cell in cells]
    via, without = (
        np.stack([runs[own] for runs, own in zip(found, rows, strict=True)], axis=-1)
        for found in zip(*(cell.paired_scores for cell in cells), strict=True)
    )
    return improvement_interval(via, without)


def _one_sided(value: float, samples: Floats, seeds: int, sign: int) -> float:
    """p that an effect is not in this direction; NaN where untestable."""
    p = p_value(value, samples, seeds)
    return p if math.isnan(p) else p / 2 if sign * value > 0 else 1 - p / 2
