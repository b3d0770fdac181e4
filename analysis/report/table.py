"""What a table is: a frame of numbers and names, and how each column is shown to people; formats are made last.

table = table_of([label("scale"), estimate("gain", sign=True)], [("base", Estimate(0.1, 0.0, 0.2))])
table.rows              # [("base", "+0.100 [+0.000, +0.200]")]
table.frame             # scale, gain, gain low, gain high
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import polars as pl

from analysis.inference.statistics import Estimate
from analysis.report.findings import DASH, interval_text, number_text


class Shown(NamedTuple):
    """A cell as people read it."""

    value: str
    interval: str = ""

    @property
    def text(self) -> str:
        return " ".join(filter(None, self))


@dataclass(frozen=True)
class Column:
    """One column of a table for people, and the columns of the frame that it is made from."""

    name: str
    show: Callable[..., Shown]
    """What these columns hold in a row → the cell."""
    endings: tuple[str, ...] = ("",)
    """Endings of these columns' names; what a program reads has the same ones."""
    unwritten: tuple[str, ...] = ()
    """Endings of further ones, which only `show` needs."""
    is_name: bool = False
    """Words by which a row is known, not a result."""
    digits: int | None = None
    """In a column in which the highest is the best: to so many digits what is equal is equally good."""

    @property
    def fields(self) -> list[str]:
        return [self.name + ending for ending in (*self.endings, *self.unwritten)]


def label(name: str) -> Column:
    """A name of the row, or a part of it."""
    return Column(name, lambda text: Shown(DASH if text is None else text), is_name=True)


def words(name: str) -> Column:
    """A result in words; None where there is none."""
    return Column(name, lambda text: Shown(DASH if text is None else text))


def estimate(name: str, sign: bool = False, ranked: bool = False) -> Column:
    """An `Estimate` to three digits, its interval beside it."""
    show = partial(show_estimate, sign=sign)
    return Column(name, show, ("", " low", " high"), digits=3 if ranked else None)


def number(name: str, form: str, ranked: bool = False) -> Column:
    """A number as `form` writes it, NaN where there is none."""
    return Column(name, lambda value: Shown(number_text(value, form)), digits=3 if ranked else None)


def count(name: str) -> Column:
    """A whole number, of which people see a dash where it is 0."""
    return Column(name, lambda of: Shown(str(of) if of else DASH))


def show_estimate(value: float, low: float, high: float, sign: bool = False, digits: int = 3) -> Shown:
    form = f"{'+' if sign else ''}.{digits}f"
    return Shown(number_text(value, form), interval_text(Estimate(value, low, high), form))


@dataclass(frozen=True)
class Table:
    """Results in rows; the columns that are names come first."""

    layout: tuple[Column, ...]
    frame: pl.DataFrame
    """The fields of all columns; NaN where a number is undefined."""
    among: tuple[str, ...] = ()
    """The best is the highest of the rows that are alike in these columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.layout)

    @property
    def names(self) -> int:
        """How many columns are names."""
        return sum(column.is_name for column in self.layout)

    @cached_property
    def cells(self) -> list[tuple[Shown, ...]]:
        """By row and column."""
        columns = [
            [column.show(*values) for values in self.frame.select(column.fields).iter_rows()] for column in self.layout
        ]
        return list(zip(*columns, strict=True))

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The texts of all cells."""
        return [tuple(cell.text for cell in row) for row in self.cells]

    @cached_property
    def best(self) -> set[tuple[int, int]]:
        """Row and column of every best number: none where a group has but one, all that are shown alike."""
        places = set()
        for place, column in enumerate(self.layout):
            if column.digits is not None:
                rounded = [_rounded(value, column.digits) for value in self.frame[column.name]]
                value = pl.Series("value", rounded, dtype=pl.Float64)
                highest = pl.col("value") == pl.col("value").max().over(self.among)
                compared = pl.col("value").count().over(self.among) > 1
                marked = self.frame.select(self.among).with_columns(value).select(best=highest & compared)
                places |= {(row, place) for row, best in enumerate(marked["best"]) if best}
        return places


def table_of(layout: Sequence[Column], rows: Iterable[Sequence[Any]], among: Sequence[str] = ()) -> Table:
    """
    Args:
        rows: one value for each column; of a column with several fields an `Estimate`, or a tuple of as many.
    """
    fields = [field for column in layout for field in column.fields]
    flat = [[value for cell in row for value in _fields(cell)] for row in rows]
    columns = {name: [row[place] for row in flat] for place, name in enumerate(fields)}
    return Table(tuple(layout), pl.DataFrame(columns, strict=False), tuple(among))


def _fields(cell: Any) -> tuple:
    if isinstance(cell, Estimate):
        return float(cell.value), float(cell.low), float(cell.high)
    return cell if isinstance(cell, tuple) else (cell,)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or math.isnan(value) else round(value, digits)
