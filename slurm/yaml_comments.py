"""A model as YAML that explains itself: each field below its docstring, so that file and code cannot drift apart."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Container, Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

WIDTH = 110


def commented(
    model: type[BaseModel],
    values: Mapping[str, Any],
    notes: Mapping[str, str] | None = None,
    asleep: Container[str] = (),
) -> Iterator[str]:
    """Lines of YAML, an empty one after each field.

    Args:
        values: plain JSON values by field, in the order in which they are written.
        notes: by field, what stands beside its value.
        asleep: fields that are written as comments.
    """
    for name, value in values.items():
        field = model.model_fields[name]
        # A section is told by its own docstring's first line.
        described = field.description or (inspect.getdoc(field.annotation) or "").partition("\n")[0]
        yield from (f"# {line}" for line in textwrap.wrap(" ".join(described.split()), WIDTH))
        note = f"   # {notes[name]}" if notes and name in notes else ""
        yield f"{'# ' if name in asleep else ''}{name}: {in_one_line(value)}{note}"
        yield ""


def in_one_line(value: Any) -> str:
    """A plain JSON value as YAML, as one would write it behind `field:`."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()  # "..." ends a document that is one bare word
