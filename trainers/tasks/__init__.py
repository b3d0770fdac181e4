"""The tasks as a table: where each one's files lie, what its columns and classes are, which languages it has.

The entries are in `trainers.tasks.table`, one small file a kind; a new file there is a new task.  Only a new *family*
(a new way of reading, predicting and scoring: `trainers.families`) needs more.  `intermediates` are names that a
sweep gives to what phase 2 trains on.  Imports no torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from trainers.stage.languages import ENGLISH


@dataclass(frozen=True)
class Files:
    """One split of a data set in the hub's layout: `<dataset>/<config>/<split>.parquet`."""

    dataset: str
    config: str = "default"
    """May hold `{language}` (two letters), `{iso639_3}` or `{english_name}`: one config a language."""
    split: str = "train"
    """May hold the same."""
    language_column: str | None = None
    """The column that tells the language, where one file holds them all."""
    language_prefix: str | None = None
    """The column whose text begins with the language's English name and a hyphen, where one file holds them all."""
    joined: tuple[Files, ...] = ()
    """Further files with the same columns, whose rows follow."""
    gold: Files | None = None
    """The file of the answers, where they are not in the rows (mining)."""

    @property
    def parts(self) -> tuple[Files, ...]:
        """Every file whose rows are read, in order."""
        return (self, *self.joined)

    @property
    def all_files(self) -> tuple[Files, ...]:
        """Every file that is read at all."""
        return self.parts + ((self.gold,) if self.gold else ())


@dataclass(frozen=True)
class Choice:
    """One multiple-choice question, read from a row."""

    prompt: str
    choices: tuple[str, ...]
    label: int
    """Index of the right one; -1 where the row does not tell a valid one."""


@dataclass(frozen=True)
class Task:
    """One intermediate task, target, or evaluation set."""

    name: str
    family: str
    """How it is read, predicted and scored: the module of that name in `trainers.families`."""
    role: Literal["intermediate", "target", "auxiliary"]
    """What a sweep may name it as; an auxiliary task is trained beside intermediates only."""
    languages: tuple[str, ...]
    columns: tuple[str, ...]
    """The hub's names of the columns that the family reads, in the family's order."""
    labels: tuple[str, ...] = ()
    """Class names in the order of their ids; empty where the family has none, or the training rows tell them."""
    train: Files | None = None
    development: Files | None = None
    """Where a training on this task is judged and probed (English unless the task has more)."""
    test: Files | None = None
    """What zero-shot evaluation scores."""
    trained_on: str = ""
    """The task whose training set a target uses: XNLI trains on MNLI, XQuAD on SQuAD.  Empty: its own."""
    multilingual: str = ""
    """The evaluation set that speaks this task in other languages: MNLI's is XNLI, SQuAD's is XQuAD."""
    metric: str = "accuracy"
    """The primary metric."""
    unlabelled: tuple[Any, ...] = ()
    """Values of the last column that mean "no gold label": such rows are dropped before anything is counted."""
    unanswerable: bool = False
    """Whether a question may have no answer (span tasks)."""
    normalisation: str = "squad"
    """How answers are compared (span tasks): `squad` or `mlqa`."""
    read: Callable[[dict[str, Any]], Choice] | None = None
    """How a row becomes a multiple-choice question (choice tasks)."""
    options: int = 0
    """Choices per question (choice tasks)."""
    published: bool = True
    """Whether it is a task of the published study; a variant of ours is not in `all9` nor in XTREME's mean."""

    @property
    def training_task(self) -> str:
        """The task that is trained on before this one is evaluated; empty where there is none (retrieval)."""
        return self.trained_on or (self.name if self.train else "")

    @property
    def translated(self) -> Files:
        """Machine-translated training rows in one language, row by row the training set's columns."""
        return Files(f"translated/{self.name}", "{language}", "train")


def english(dataset: str, config: str, train: str, development: str) -> dict[str, Any]:
    """Languages and files of a task that exists in English, for its entry."""
    return {
        "languages": (ENGLISH,),
        "train": Files(dataset, config, train),
        "development": Files(dataset, config, development),
    }


TASKS: dict[str, Task] = {}
"""Every task by name, in the order of `trainers.tasks.table`."""


def register(*tasks: Task) -> None:
    """Add tasks to the table.

    Raises:
        ValueError: the name is taken, or is no plain word (`+` and `@` join names of intermediates).
    """
    for task in tasks:
        if task.name in TASKS:
            raise ValueError(f"there is a task {task.name!r} already")
        if not task.name.isidentifier():
            raise ValueError(f"{task.name!r} is no name for a task: letters, digits and _ only")
        TASKS[task.name] = task


def _register_all() -> None:
    from trainers.tasks import table

    for module in sorted(pkgutil.iter_modules(table.__path__), key=lambda module: module.name):
        importlib.import_module(f"{table.__name__}.{module.name}")


_register_all()
TARGETS: tuple[str, ...] = tuple(name for name, task in TASKS.items() if task.role == "target")
ALL_NINE: tuple[str, ...] = tuple(
    name for name, task in TASKS.items() if task.role == "intermediate" and task.published
)
"""The nine English intermediate tasks of Phang et al. 2020."""
