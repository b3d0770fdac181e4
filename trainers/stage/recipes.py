"""Recipes are data: batch, epochs, learning rate, warm-up and lengths of each task, by book.

The keys of a book go from general to specific: `*`, `<phase>.*`, `<task>`, `<phase>.<task>`; later ones win.
A task may be trained differently as an intermediate and as a target (MNLI itself, and MNLI for XNLI).

`xstilts` is Phang et al. 2020.  Its target phase is from jiant's XTREME scripts (read); its intermediate phase has
batches and epochs from memory of the paper's appendix (unverified).  `xtreme` is Hu et al. 2020, from the
`scripts/train_*.sh` for XLM-R Large.  `sandbox` is for the miniature encoders on a laptop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from trainers.stage import Recipe

Phase = Literal["intermediate", "target"]
PHASES: tuple[Phase, ...] = ("intermediate", "target")
Book = Mapping[str, Mapping[str, Any]]

_XSTILTS: Book = {
    "*": {"learning_rate": 1e-5, "warmup": 0.1, "weight_decay": 0.01, "max_length": 256, "epochs": 2, "batch_size": 32},
    "intermediate.*": {"batch_size": 24},
    "intermediate.qqp": {"epochs": 3},
    "intermediate.squad": {"batch_size": 8, "epochs": 3},
    "intermediate.squad_v2": {"batch_size": 8, "epochs": 3},
    "intermediate.hellaswag": {"epochs": 7},
    "intermediate.cosmos_qa": {"batch_size": 4, "epochs": 15},
    "intermediate.commonsense_qa": {"batch_size": 4, "epochs": 10},
    "intermediate.ccg": {"epochs": 15},
    "intermediate.mlm": {"batch_size": 8},
    "squad": {"max_length": 384},
    "squad_v2": {"max_length": 384},
    "target.squad": {"batch_size": 16},
    "target.tydiqa": {"batch_size": 16, "max_length": 384},
    "target.pawsx": {"epochs": 5},
    "target.udpos": {"epochs": 10},
    "target.panx": {"epochs": 10},
    "target.tatoeba": {"max_length": 512},
    "target.bucc": {"max_length": 512},
    "target.bucc_dev": {"max_length": 512},
    "target.bucc_pairs": {"max_length": 512},
}

_XTREME: Book = {
    "*": {"learning_rate": 2e-5, "warmup": 0.0, "weight_decay": 0.0, "max_length": 128, "epochs": 5, "batch_size": 32},
    "mnli": {"learning_rate": 3e-5},
    "squad": {"learning_rate": 3e-5, "warmup": 500, "epochs": 3, "max_length": 384, "weight_decay": 1e-4},
    "tydiqa": {"learning_rate": 3e-5, "warmup": 500, "epochs": 3, "max_length": 384, "weight_decay": 1e-4},
    "udpos": {"epochs": 10},
    "panx": {"epochs": 10},
    "tatoeba": {"max_length": 512},
    "bucc": {"max_length": 512},
    "bucc_dev": {"max_length": 512},
    "bucc_pairs": {"max_length": 512},
}

_SANDBOX: Book = {
    "*": {"learning_rate": 1.5e-3, "warmup": 0.1, "max_length": 128, "doc_stride": 32, "epochs": 10, "batch_size": 16},
    # What was hardly learned cannot be retained.
    "intermediate.*": {"max_steps": 80},
    "target.*": {"max_steps": 64},
    # Span and tagging heads begin at the majority class and leave it late.
    "squad": {"learning_rate": 2e-3},
    "target.squad": {"max_steps": 80},
    "target.panx": {"learning_rate": 2e-3},
}

BOOKS: dict[str, Book] = {"xstilts": _XSTILTS, "xtreme": _XTREME, "sandbox": _SANDBOX}


def keys_for(phase: Phase, task: str) -> Iterator[str]:
    """The keys of a book that speak of `task` in `phase`, from the general to the particular."""
    yield from ("*", f"{phase}.*", task, f"{phase}.{task}")


def recipe_for(book: str, phase: Phase, task: str, *changes: Book) -> Recipe:
    """The whole recipe of a task in a phase: the book's, then each book of changes in the same order of keys.

    Args:
        book: a key of `BOOKS`.
        task: the task that is trained on (for retrieval: evaluated on).
        changes: the fields that a sweep changes, under a book's keys; later ones win.

    Raises:
        pydantic.ValidationError: a changed field is unknown or out of range.
    """
    fields: dict[str, Any] = {}
    for source in (BOOKS[book], *changes):
        for key in keys_for(phase, task):
            fields.update(source.get(key, {}))
    return Recipe(**fields)
