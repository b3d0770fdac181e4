"""What a table is: texts that know their numbers, and which of these are the best of their group."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from analysis.inference.statistics import Estimate
from analysis.report.findings import shown

DASH = "–"
_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")


class Number(str):
    """A number as people read it, which keeps what programs read instead."""

    parts: dict[str, float]
    """Ending of the column's name in a file for programs → number; NaN where there is none."""

    def __new__(cls, text: str, parts: dict[str, float]) -> Number:
        made = super().__new__(cls, text)
        made.parts = parts
        return made


def estimated(estimate: Estimate, sign: bool = False, digits: int = 3) -> Number:
    """`0.600 [0.502, 0.708]`; for programs the value and both ends of its interval."""
    parts = {"": estimate.value, " low": estimate.low, " high": estimate.high}
    return Number(shown(estimate, sign, digits), parts)


def number(value: float, form: str) -> Number:
    """As `form` writes it, a dash where there is none."""
    return Number(DASH if math.isnan(value) else f"{value:{form}}".replace("-", "−"), {"": value})


def count(of: int) -> Number:
    """A dash for people where there are none."""
    return Number(str(of) if of else DASH, {"": of})


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first `names` columns are words, the rest numbers."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    names: int
    ranked: tuple[str, ...] = ()
    """Columns in which the highest number is the best …"""
    among: tuple[str, ...] = ()
    """… of the rows that are alike in these."""

    @cached_property
    def best(self) -> set[tuple[int, int]]:
        """Row and column of every best number: none where a group has but one, all that are shown alike."""
        alike, ranked = ([self.columns.index(name) for name in names] for names in (self.among, self.ranked))
        groups: dict[tuple, dict[int, float]] = {}
        for place, row in enumerate(self.rows):
            for column in ranked:
                if match := _NUMBER.match(row[column]):
                    group = column, *(row[other] for other in alike)
                    groups.setdefault(group, {})[place] = float(match[0].replace("−", "-"))
        return {
            (place, column)
            for (column, *_), values in groups.items()
            for place, value in values.items()
            if len(values) > 1 and value == max(values.values())
        }
