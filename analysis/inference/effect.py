"""An effect with its resamples: effects that one bootstrap drew can be subtracted and averaged before the interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.inference.statistics import Bootstrap, Estimate, Floats


class CannotTell(Exception):
    """Why the data cannot judge something, in words."""


@dataclass(frozen=True)
class Effect:
    """A difference of scores, in [-1, 1]."""

    value: float
    samples: Floats
    """[B]"""
    seeds: tuple[int, ...]
    by_seed: Floats = field(default_factory=lambda: np.empty(0))
    """[seeds], or empty where nobody asks for it."""

    def __sub__(self, other: Effect) -> Effect:
        same_seeds([self, other])
        return Effect(self.value - other.value, self.samples - other.samples, self.seeds, self.by_seed - other.by_seed)

    def estimate(self, bootstrap: Bootstrap) -> Estimate:
        """
        Args:
            bootstrap: that which drew the samples.
        """
        return bootstrap.estimate(self.value, self.samples, len(self.seeds))


def mean(effects: Sequence[Effect]) -> Effect:
    """Each counts once.

    Raises:
        CannotTell: they rest on different seeds, so that they cannot be paired.
    """
    same_seeds(effects)
    value = float(np.mean([effect.value for effect in effects]))
    samples, by_seed = (np.mean([getattr(one, name) for one in effects], axis=0) for name in ("samples", "by_seed"))
    return Effect(value, samples, effects[0].seeds, by_seed)


def same_seeds(effects: Sequence[Effect]) -> None:
    """
    Raises:
        CannotTell: they rest on different seeds.
    """
    if len({effect.seeds for effect in effects}) > 1:
        raise CannotTell("the arms that are compared rest on different seeds")
