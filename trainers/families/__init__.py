"""How tasks are read, encoded and scored: a module for each family of tasks.

Pairs, choices, spans (`span`), tags, retrieval, `mining`, and the masked language model (`mlm`).

In come rows and predictions; out go `TokenisedSet`s and scores.  Each has `kinds` (the columns that it reads), `encode`
(rows → tokens), `chance` and `score` (predictions → scores) and `flaws` (what `retain check` tells); what has classes
or choices has `commonest`, the constant answer that training rows suggest.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from trainers.tasks import Task


def family(task: Task) -> ModuleType:
    """The module that reads, encodes and scores `task`; imported when it is asked for, as a plan reads no rows."""
    return importlib.import_module(f"{__name__}.{task.family}")
