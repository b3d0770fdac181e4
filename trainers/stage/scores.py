"""One measured value, as the store, W&B and analysis know it."""

from __future__ import annotations

from typing import NamedTuple


class Score(NamedTuple):
    """What was measured, on what, and what a constant answer would have got."""

    measure: str
    """untouched, stored, refit (probes; also `without_fold`), development, zero_shot, retrieval or retrieval_normed."""
    task: str
    language: str
    metric: str
    value: float
    """In [0, 1]."""
    examples: int
    chance: float

    @property
    def curve(self) -> str:
        """W&B's name of the curve that this is a point of."""
        return f"{self.measure}/{self.task}/{self.language}/{self.metric}"


FOLDS = 5
"""Parts of the refit examples, each of which a further refit head goes without."""


def without_fold(measure: str, fold: int) -> str:
    """The measure of a refit head that was fitted without one fold: what other refit examples would change of P."""
    return f"{measure}_without_{fold + 1}"
