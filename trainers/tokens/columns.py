"""What may stand in a task's columns: the arrow types that a family can read, and a value in every row.

A column of another type is refused with both types told; read all the same, it would be taken for something else, or
stop a job hours later.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import types


def is_blank(text: str) -> bool:
    """Whether nothing of a text is seen: all of it is white space, control or format characters (zero-width ones)."""
    return all(unicodedata.category(character) in _UNSEEN for character in text)


_UNSEEN = {"Zs", "Zl", "Zp", "Cc", "Cf"}


@dataclass(frozen=True)
class Kind:
    """A column's type, of which arrow has several."""

    words: str
    holds: Callable[[pa.DataType], bool]


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_label(kind: pa.DataType) -> bool:
    return is_text(kind) or types.is_integer(kind)


def _list_of(holds: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    """Of these; a list that is empty in every row has elements of no type."""
    return lambda kind: (
        (types.is_list(kind) or types.is_large_list(kind))
        and (types.is_null(kind.value_type) or holds(kind.value_type))
    )


def _is_answers(kind: pa.DataType) -> bool:
    if not types.is_struct(kind):
        return False
    inside = {field.name: field.type for field in kind}
    wanted = {"text": _list_of(is_text), "answer_start": _list_of(types.is_integer)}
    return all(name in inside and holds(inside[name]) for name, holds in wanted.items())


def _is_texts_at_any_depth(kind: pa.DataType) -> bool:
    if types.is_struct(kind):
        return all(_is_texts_at_any_depth(field.type) for field in kind)
    return is_text(kind) or _list_of(is_text)(kind)


TEXT = Kind("text", is_text)
LABEL = Kind("the name or the number of a class", _is_label)
TEXTS = Kind("a list of texts", _list_of(is_text))
LABELS = Kind("a list of names or numbers of classes", _list_of(_is_label))
TEXT_OR_TEXTS = Kind("text, or lists of texts", _is_texts_at_any_depth)
ANSWERS = Kind("{text: [...], answer_start: [...]}", _is_answers)


def refuse_others(table: pa.Table, columns: Sequence[str], kinds: Sequence[Kind]) -> None:
    """Accept a table whose columns are of these kinds, with a value in every row.

    Args:
        kinds: one a column.

    Raises:
        ValueError: a column is of another type, or a row has nothing in it, or in one of its parts.
    """
    for column, kind in zip(columns, kinds, strict=True):
        stored = table.schema.field(column).type
        if not (kind.holds(stored) or types.is_null(stored)):
            raise ValueError(f"column {column!r} holds {stored}; expected {kind.words}")
    for column in columns:
        if any(map(_nulls, table[column].chunks)):
            row = next(row for row, value in enumerate(table[column].to_pylist()) if _lacks_something(value))
            raise ValueError(f"row {row} has nothing in column {column!r}, or in a part of it")


def _nulls(array: pa.Array) -> int:
    """How many values are missing, at any depth."""
    if types.is_struct(array.type):
        return array.null_count + sum(map(_nulls, array.flatten()))
    if types.is_list(array.type) or types.is_large_list(array.type):
        return array.null_count + _nulls(array.flatten())
    return array.null_count


def _lacks_something(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_lacks_something, value.values()))
    return any(map(_lacks_something, value)) if isinstance(value, list) else value is None
