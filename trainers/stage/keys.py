"""Immutable models, and the hash by which they are known.

The key of a stage is `digest` of the fields that decide its result.  What a person reads but nothing depends on is
`Cosmetic`; a field that came after stages had keys is `Later`, and leaves the keys of those that do not use it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

KEY_DIGITS = 16

_COSMETIC = "cosmetic"
_LATER = "later"


def Cosmetic(**kwargs: Any) -> Any:
    """A field that a person reads but that does not decide the result, and so stays out of the key."""
    return Field(json_schema_extra={_COSMETIC: True}, **kwargs)


def Later(default: Any, **kwargs: Any) -> Any:
    """A field that came when stages had keys: at its default, which is what was done before, it stays out of them."""
    return Field(default=default, json_schema_extra={_LATER: True}, **kwargs)


class Frozen(BaseModel):
    """The base of all models here: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @cached_property
    def deciding(self) -> dict[str, Any]:
        """The fields that decide the result, by name; not to be changed."""
        always, later = _deciding(type(self))
        changed = {name: value for name, default in later.items() if (value := getattr(self, name)) != default}
        return {name: getattr(self, name) for name in always} | changed

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that decide the result, nested models included, as plain JSON values."""
        return json.loads(canonical_json(self))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A changed copy; it does not inherit what was computed for this one."""
        copy = super().model_copy(update=update, deep=deep)
        for computed in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[computed]
        return copy


@cache
def _deciding(model: type[Frozen]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Names of the fields that decide the result, and of those that came later with the values at which they do not."""
    fields = model.model_fields
    said = {name: extra if isinstance(extra := fields[name].json_schema_extra, dict) else {} for name in fields}
    later = {name: fields[name].default for name in said if _LATER in said[name]}
    return tuple(name for name in said if name not in later and _COSMETIC not in said[name]), later


_encode = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    default=attrgetter("deciding"),
).encode


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text (1e-5 and 0.00001 are one float).  Of models it
    has the fields that decide the result."""
    return _encode(value)


def digest(value: Any, digits: int = KEY_DIGITS) -> str:
    """The first `digits` hex digits of the sha256 of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]
