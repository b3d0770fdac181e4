"""Names of intermediates: what phase 2 trains on, written as a researcher says it.

none                nothing: the baseline
mnli                one English task
mnli+squad          several at once, one head each on one encoder
all9                the nine of Phang et al. 2020
mnli+mlm            with multilingual masked-language-model steps in between
mnli@de-ru-sw       its machine translation into German, Russian and Swahili
mnli@en-de-ru-sw    the original and its translations
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.stage.languages import ENGLISH, ISO639_3
from trainers.tasks import ALL_NINE, TASKS

NONE, MLM = "none", "mlm"


def names() -> tuple[str, ...]:
    """What the parts of an intermediate's name may be."""
    return (NONE, *(name for name, task in TASKS.items() if task.role == "intermediate"), "all9", MLM)


@dataclass(frozen=True)
class Intermediate:
    """What phase 2 trains on; without tasks it is the baseline."""

    name: str
    tasks: dict[str, tuple[str, ...]]
    """Task → languages of its training rows, in the order of the table."""
    mlm: bool = False

    @property
    def probed(self) -> tuple[str, ...]:
        """The tasks whose retention is measured: each, in English also where it was trained on in translation."""
        return tuple(self.tasks)


class UnknownName(ValueError):
    """A part of an intermediate's name that is none of `names`."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


def parse_intermediate(name: str) -> Intermediate:
    """What `name` stands for.

    Raises:
        UnknownName: a part is no task.
        ValueError: a language is unknown, or the parts do not go together.
    """
    tasks: dict[str, tuple[str, ...]] = {}
    mlm = False
    parts = name.split("+")
    for part in parts:
        task, _, languages = part.partition("@")
        if task not in names():
            raise UnknownName(part)
        if languages or "@" in part:
            spoken = tuple(languages.split("-"))
            unknown = [language for language in spoken if language not in ISO639_3]
            if unknown or task not in TASKS or task == MLM:
                raise ValueError(
                    f"{part!r}: after @ come the languages of a translated task, e.g. mnli@de-ru-sw"
                    + (f"; {', '.join(map(repr, unknown))} is none" if unknown else "")
                )
        else:
            spoken = (ENGLISH,)
        if task == NONE and len(parts) > 1:
            raise ValueError(f"{name!r}: none is the baseline and cannot be joined with anything")
        mlm = mlm or task == MLM
        for single in ALL_NINE if task == "all9" else (task,):
            if single in tasks or spoken != tuple(dict.fromkeys(spoken)):
                raise ValueError(f"{name!r} names {single} or one of its languages more than once")
            if single not in (NONE, MLM):
                tasks[single] = spoken
    if mlm and not tasks:
        raise ValueError(f"{name!r}: mlm needs an intermediate task, e.g. mnli+mlm")
    return Intermediate(name, {task: tasks[task] for task in TASKS if task in tasks}, mlm)
