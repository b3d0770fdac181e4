"""The points of a sweep's `search:`: a grid over fields of recipes.

    search:
      intermediate.learning_rate: [5.0e-6, 1.0e-5, 2.0e-5]
      target.learning_rate: [1.0e-5, 3.0e-5]

An axis is a field of the recipe under the place where it holds: everywhere (`learning_rate`), in a phase
(`target.learning_rate`), for a task (`mnli.epochs`), for a task in a phase (`intermediate.mnli.epochs`).  As in a book
of recipes the more particular wins, and what is searched wins over `overrides:`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from trainers.stage import Recipe, Setting
from trainers.stage.recipes import PHASES, Phase, keys_for, recipe_for
from trainers.tasks import TASKS

Point = dict[str, Setting]
"""Axis → value."""

LARGEST_GRID = 256
"""Points.  A grid of more is a slip, or asks for another kind of search."""
PLACES: dict[str, str] = {
    key.removesuffix("*").removesuffix("."): key for phase in PHASES for task in TASKS for key in keys_for(phase, task)
}
"""Where an axis may hold → the key of a book of recipes that means it, e.g. `target` → `target.*`."""


def parts(axis: str) -> tuple[str, str]:
    """The place and the field of an axis."""
    place, _, field = axis.rpartition(".")
    return place, field


def sound_values(axis: str, values: Iterable[Any]) -> tuple[Setting, ...]:
    """The values as a recipe holds them (YAML reads `1e-5` as text).

    Raises:
        pydantic.ValidationError: the field is unknown, or a value is no value of it.
    """
    _, field = parts(axis)
    return tuple(getattr(recipe_for("sandbox", "target", "mnli", {"*": {field: value}}), field) for value in values)


def points(search: Mapping[str, tuple[Setting, ...]]) -> Iterator[Point]:
    """Every combination of values, the last axis fastest; one empty point where nothing is searched."""
    for values in itertools.product(*search.values()):
        yield dict(zip(search, values, strict=True))


def book_of(point: Point) -> dict[str, dict[str, Setting]]:
    """A point as a book of recipes."""
    book: dict[str, dict[str, Setting]] = {}
    for axis, value in point.items():
        place, field = parts(axis)
        book.setdefault(PLACES[place], {})[field] = value
    return book


def deciding(point: Point, phase: Phase, task: str, fields: Collection[str] = Recipe.model_fields) -> set[str]:
    """The axes that decide these fields of one recipe: of several that set a field, the most particular."""
    by_key = {(PLACES[place], field): axis for axis in point for place, field in [parts(axis)]}
    chosen = {field: by_key[key, field] for key in keys_for(phase, task) for field in fields if (key, field) in by_key}
    return set(chosen.values())
