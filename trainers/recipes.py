"""Recipes are data: batch, epochs, learning rate, warm-up and lengths of each task, by book.

`xstilts` is Phang et al. 2020: the target phase as in jiant's XTREME scripts (read), the intermediate phase's
batches and epochs as recalled from the paper's appendix (unverified).  `xtreme` is Hu et al. 2020, the
`scripts/train_*.sh` for XLM-R Large.  `sandbox` fits the miniature encoders on a laptop.
"""

from __future__ import annotations

from typing import Any

from trainers.stage import Recipe

Book = dict[str, dict[str, Any]]

_XSTILTS: Book = {
    "*": {"learning_rate": 1e-5, "warmup": 0.1, "weight_decay": 0.01, "max_length": 256, "epochs": 2, "batch_size": 32},
    "mnli": {"batch_size": 32, "epochs": 2},
    "anli_plus": {"batch_size": 24, "epochs": 2},
    "qqp": {"batch_size": 24, "epochs": 3},
    "squad": {"batch_size": 16, "epochs": 2, "max_length": 384},
    "squad_v2": {"batch_size": 8, "epochs": 3, "max_length": 384},
    "hellaswag": {"batch_size": 24, "epochs": 7},
    "cosmos_qa": {"batch_size": 4, "epochs": 15},
    "commonsense_qa": {"batch_size": 4, "epochs": 10},
    "ccg": {"batch_size": 24, "epochs": 15},
    "pawsx": {"epochs": 5},
    "udpos": {"epochs": 10},
    "panx": {"epochs": 10},
    "tydiqa": {"batch_size": 16, "epochs": 2, "max_length": 384},
    "mlqa": {"max_length": 384},
    "xquad": {"max_length": 384},
    "tatoeba": {"max_length": 512},
    "bucc": {"max_length": 512},
}

_XTREME: Book = {
    "*": {"learning_rate": 2e-5, "warmup": 0.0, "weight_decay": 0.0, "max_length": 128, "epochs": 5, "batch_size": 32},
    "mnli": {"learning_rate": 3e-5},
    "squad": {"learning_rate": 3e-5, "epochs": 3, "max_length": 384, "weight_decay": 1e-4},
    "tydiqa": {"learning_rate": 3e-5, "epochs": 3, "max_length": 384, "weight_decay": 1e-4},
    "mlqa": {"max_length": 384},
    "xquad": {"max_length": 384},
    "udpos": {"epochs": 10},
    "panx": {"epochs": 10},
    "tatoeba": {"max_length": 512},
    "bucc": {"max_length": 512},
}

_SANDBOX: Book = {
    "*": {"learning_rate": 1e-3, "warmup": 0.1, "max_length": 128, "doc_stride": 32, "epochs": 10, "batch_size": 32,
          "max_steps": 128},
}

BOOKS: dict[str, Book] = {"xstilts": _XSTILTS, "xtreme": _XTREME, "sandbox": _SANDBOX}


def recipe_for(book: str, task: str, overrides: dict[str, dict[str, Any]] | None = None) -> Recipe:
    """The whole recipe of `task`: the book's common entry, the book's own for the task, then the sweep's overrides.

    Args:
        book: a key of `BOOKS`.
        task: a task's name.
        overrides: per task (or `*` for all) the fields that a sweep changes.

    Raises:
        pydantic.ValidationError: an override is unknown or out of range.
    """
    fields: dict[str, Any] = {}
    for source in (BOOKS[book], overrides or {}):
        for name in ("*", task):
            fields.update(source.get(name, {}))
    return Recipe(**fields)
