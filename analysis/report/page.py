"""The page: `report.html.jinja` and its parts, with every text escaped, and the script that draws the figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.report.figures.views import View
from analysis.report.findings import DASH
from analysis.report.table import Shown, Table
from analysis.report.tables import LACKING, SEED_COLUMNS

LONG_TEXT = 30
"""Cells of so many characters may wrap."""
LONG_TABLE = 60
"""More rows than these are folded away, if a group of them has …"""
SMALL_GROUP = 8
"""… at least so many on average."""
DRAW_SCRIPT = Path(__file__).with_name("draw.js")


def render(**values: Any) -> str:
    """The whole page."""
    return _environment().get_template("report.html.jinja").render(values)


def part(macro: str, *values: Any) -> str:
    """One part of the page: a macro of `parts.html.jinja`."""
    return getattr(_environment().get_template("parts.html.jinja").module, macro)(*values)


@cache
def _environment() -> Environment:
    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"groups": groups, "data": _data, "unbroken": _unbroken}
    return environment


@cache
def script() -> Markup:
    """What draws the figures: Vega, Vega-Lite and vega-embed, and when to call them."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(None)  # type: ignore[arg-type]  # its stub demands what it has a default for
    assert "</script" not in bundle
    return Markup(f"<script>{bundle}</script>\n<script>{DRAW_SCRIPT.read_text(encoding='utf-8')}</script>")


def _data(view: View, origin: str) -> Markup:
    """A figure as JSON, which no text in it can leave."""
    text = json.dumps(view.on_page(origin), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _unbroken(text: str) -> Markup:
    """A number and its percent sign stay in one line."""
    return Markup(escape(text).replace(" %", "\N{NO-BREAK SPACE}%"))


@dataclass(frozen=True)
class Cell:
    """One cell of a table as the page shows it."""

    shown: Shown
    is_name: bool
    best: bool = False
    rows: int = 1
    """How many rows it spans."""

    @property
    def is_long(self) -> bool:
        return len(self.shown.text) > LONG_TEXT


@dataclass(frozen=True)
class Group:
    """Rows with the same first name."""

    name: str
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Layout:
    """A table as the page shows it."""

    head: list[Cell]
    groups: list[Group]
    folded: bool
    """Whether each group opens on a click."""


def groups(table: Table) -> Layout:
    """Rows in groups; a name that the rows below share, and all names before it, stands once for them all."""
    table = _where_something_happened(table)
    by_first = [list(rows) for _, rows in groupby(range(len(table.rows)), lambda row: table.rows[row][0])]
    head = [Cell(Shown(name), place < table.names) for place, name in enumerate(table.columns)]
    many = len(table.rows) > LONG_TABLE and len(by_first) * SMALL_GROUP <= len(table.rows)
    shown = [Group(table.rows[rows[0]][0], [list(_cells(table, rows, row)) for row in rows]) for rows in by_first]
    return Layout(head, shown, many)


def _cells(table: Table, group: list[int], row: int) -> Iterator[Cell]:
    texts = table.rows[row]
    for column, shown in enumerate(table.cells[row]):
        is_name, names = column < table.names, texts[: column + 1]
        if not is_name or column == table.names - 1:
            yield Cell(shown, is_name, best=(row, column) in table.best)
        elif row == group[0] or table.rows[row - 1][: column + 1] != names:
            following = [table.rows[other][: column + 1] == names for other in group if other >= row]
            yield Cell(shown, is_name, rows=[*following, False].index(False))


def _where_something_happened(table: Table) -> Table:
    """Without the counts of what went wrong, where nothing did: the numbers get their room."""
    kept = [
        column
        for place, column in enumerate(table.layout)
        if column.name not in (*SEED_COLUMNS, LACKING) or any(row[place] != DASH for row in table.rows)
    ]
    return replace(table, layout=tuple(kept))
