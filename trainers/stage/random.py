"""Where every random number of a stage comes from: one seed for each purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainers.stage.keys import digest

if TYPE_CHECKING:
    from trainers.stage.stage import Stage

Purpose = Literal["head", "order", "masking", "dropout", "mixing"]
"""The new head's weights; the order of the training examples; which tokens are masked; dropout; which task has which
step."""


def seed_for(stage: Stage, task: str, purpose: Purpose) -> int:
    """The seed of what is drawn for one task and purpose: 60 bits of a hash of (seed, retry, kind, task, purpose).

    The kind is in it, so that a target does not start from the head that its intermediate started from, nor see
    MNLI's examples in the order in which the intermediate saw them.  Scale, parent and recipe are not: the same target
    at the same seed has the same head and the same order of examples whatever the intermediate was, so that gains
    through an intermediate are differences of pairs.

    Args:
        task: the task that is trained on; for `mixing` the names of all, joined by `+`.
    """
    return int(digest([stage.seed, stage.retry, stage.kind, task, purpose], 15), 16)
