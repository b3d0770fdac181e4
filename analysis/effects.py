"""What each intermediate adds to each target, as effects that claims and the answer compare and average."""

from __future__ import annotations

import numpy as np

from analysis.inference.effect import CannotTell, Effect, mean
from analysis.inference.statistics import FEWEST_SEEDS, Bootstrap, Floats
from analysis.measures.transfer import lacking
from analysis.study import Study
from trainers.tasks import ALL_NINE
from trainers.tasks.intermediates import NONE

MANY = 3
"""From so many intermediates on, a mean over them is about intermediates."""


class NotInSweep(CannotTell):
    """What the claim speaks of is not in the sweep: no result of it could judge the claim."""


class Gains:
    """What each intermediate adds to each target at one scale: the mean over languages, English included."""

    def __init__(self, study: Study, scale: str, bootstrap: Bootstrap) -> None:
        self.bootstrap = bootstrap
        # Of all scales: what is compared between them are the same means.
        self.intermediates = sorted(set(study.compared["intermediate"]) - {NONE})
        self.targets = sorted({target for targets in study.compared["targets"] for target in targets})
        self._found: dict[tuple[str, str], Effect] = {}
        absent = lacking(study.cells)
        for cell in study.cells:
            arm = cell.arm
            if arm.scale != scale or cell.target in absent[arm.scale, arm.intermediate]:
                continue
            if cell.gain_samples is not None and cell.gains_by_seed is not None:
                by_seed = cell.gains_by_seed.mean(axis=1)
                self._add(
                    cell.arm.intermediate, cell.target, cell.gain_samples.mean(axis=1), by_seed, cell.paired_seeds
                )
        for curve in study.layers:
            if curve.arm.scale == scale and curve.change_samples is not None and curve.change_by_seed is not None:
                seeds = tuple(curve.arm.seeds)
                self._add(curve.arm.intermediate, curve.task, curve.change_samples, curve.change_by_seed, seeds)

    def _add(self, intermediate: str, target: str, samples: Floats, by_seed: Floats, seeds: tuple[int, ...]) -> None:
        self._found[intermediate, target] = Effect(float(by_seed.mean()), samples, seeds, by_seed)

    def of(self, intermediate: str, target: str) -> Effect:
        """
        Raises:
            NotInSweep: it is not planned.
            CannotTell: it was not measured, or on too few seeds.
        """
        if intermediate not in self.intermediates or target not in self.targets:
            raise NotInSweep(f"{intermediate} → {target} is not in this sweep")
        effect = self._found.get((intermediate, target))
        if effect is None or not np.isfinite(effect.value):
            raise CannotTell(
                f"{intermediate} → {target} has no gain: not finished, diverged, or not in the languages of other arms"
            )
        if len(effect.seeds) < FEWEST_SEEDS:
            raise CannotTell(f"{intermediate} → {target} has fewer than {FEWEST_SEEDS} seeds in common with none")
        return effect

    def average(self, intermediate: str) -> Effect:
        """Over all targets of the sweep, each counting once."""
        if intermediate not in self.intermediates:
            raise NotInSweep(f"{intermediate} is not in this sweep")
        return mean([self.of(intermediate, target) for target in self.targets])

    @property
    def singles(self) -> list[str]:
        """The single English tasks of the published study.

        Raises:
            NotInSweep: they are too few to be spoken of as intermediates in general.
        """
        found = [name for name in self.intermediates if name in ALL_NINE]
        if len(found) < MANY:
            raise NotInSweep(f"of the published single intermediates the sweep has {len(found)}, fewer than {MANY}")
        return found

    def over_singles(self, target: str) -> Effect:
        """The mean over the single intermediates."""
        return mean([self.of(intermediate, target) for intermediate in self.singles])
