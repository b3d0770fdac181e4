"""The parts of the page: tables, interactive figures and lists, every text escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from functools import cache
from itertools import groupby, takewhile
from operator import itemgetter

from analysis.interactive import Figure, View
from analysis.tables import DASH, SEED_COLUMNS, Table

LONG_TEXT = 40
"""Cells of so many characters may wrap."""
LONG_TABLE = 60
"""More rows than these are folded away, if a group of them has …"""
SMALL_GROUP = 8
"""… at least so many on average."""
TITLE = {"anchor": "start", "fontSize": 11, "fontWeight": "normal", "color": "#5b6670", "offset": 12}
START = """
const draw = figure => {
  if (figure.dataset.drawn) return;
  figure.dataset.drawn = "yes";
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const [menus, plot] = figure.querySelectorAll("div");
  vegaEmbed(plot, spec, {bind: menus, renderer: "svg", actions: {export: true, source: false,
    compiled: false, editor: false}, downloadFileName: figure.id});
};
const figures = document.querySelectorAll("figure.view");
const seen = new IntersectionObserver(entries => entries.forEach(one => one.isIntersecting && draw(one.target)),
  {rootMargin: "300px"});
figures.forEach(figure => seen.observe(figure));
const folded = document.querySelectorAll("details");
window.addEventListener("beforeprint", () => {figures.forEach(draw); folded.forEach(one => one.open = true);});
"""
"""A figure is drawn when it comes near to what is seen: a page of a full study opens at once."""


@cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(None)  # type: ignore[arg-type]  # its stub demands what it has a default for
    assert "</script" not in bundle
    return bundle


def script() -> str:
    """What draws the figures."""
    return f"<script>{vega()}</script>\n<script>{START}</script>"


def figure_section(figure: Figure, view: View | None, origin: str) -> str:
    """
    Args:
        origin: sweep, seeds and fingerprint, which stand on the figure wherever it goes.
    """
    heading = f"<h2>{html.escape(figure.heading)}</h2>"
    if view is None:
        return f'{heading}\n<p class="note">{html.escape(figure.missing)}</p>'
    titled = {**view.spec, "title": {"text": origin, **TITLE}}
    data = json.dumps(titled, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        f'{heading}\n<figure class="view" id="{html.escape(view.name)}"><div class="menus"></div>'
        '<div class="plot"></div>'
        f'<script type="application/json">{data}</script>'
        f"<figcaption>{html.escape(view.caption)}</figcaption></figure>"
    )


def table(content: Table, missing: str) -> str:
    """As HTML; a long one opens group by group (of its first column) on a click."""
    if not content.rows:
        return f'<p class="note">{html.escape(missing)}</p>'
    content = _where_something_happened(content)
    groups = [list(rows) for _, rows in groupby(content.rows, key=itemgetter(0))]
    if len(content.rows) <= LONG_TABLE or len(groups) * SMALL_GROUP > len(content.rows):
        return _rows(content, groups)
    return "\n".join(
        f"<details><summary>{html.escape(rows[0][0])} <small>{len(rows)} rows</small></summary>\n"
        f"{_rows(content, [rows])}</details>"
        for rows in groups
    )


def _where_something_happened(content: Table) -> Table:
    """Without the counts of what went wrong, where nothing did: the numbers get their room."""
    idle = {
        place
        for place, name in enumerate(content.columns)
        if name in SEED_COLUMNS and all(row[place] == DASH for row in content.rows)
    }

    def without(row: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for place, text in enumerate(row) if place not in idle)

    return Table(without(content.columns), [without(row) for row in content.rows], content.names)


def _rows(content: Table, groups: list[list[tuple[str, ...]]]) -> str:
    head = "".join(_cell("th", text, place < content.names) for place, text in enumerate(content.columns))
    lines = ['<div class="scroll"><table>', f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for number, rows in enumerate(groups):
        for place in range(len(rows)):
            opening = '<tr class="group">' if number and not place else "<tr>"
            lines.append(f"{opening}{_named_once(rows, place, content.names)}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _named_once(rows: list[tuple[str, ...]], number: int, names: int) -> str:
    """The cells of a row; a name that the rows below share, and all names before it, stands once for them all."""
    row, above = rows[number], rows[number - 1] if number else ()
    cells = []
    for place, text in enumerate(row):
        until = place + 1
        is_name, is_last_name = place < names, place >= names - 1
        if is_last_name:
            cells.append(_cell("td", text, is_name))
        elif above[:until] != row[:until]:
            shared = list(takewhile(lambda other: other[:until] == row[:until], rows[number:]))  # noqa: B023
            cells.append(_cell("td", text, is_name, len(shared)))
    return "".join(cells)


def _cell(tag: str, text: str, is_name: bool, rows: int = 1) -> str:
    """A name stands left, a number right with its interval below it; a sentence may wrap."""
    spanning = f' rowspan="{rows}"' if rows > 1 else ""
    if len(text) > LONG_TEXT:
        return f'<{tag} class="name long"{spanning}>{html.escape(text)}</{tag}>'
    if is_name:
        return f'<{tag} class="name"{spanning}>{html.escape(text)}</{tag}>'
    value, bracket, interval = text.partition(" [")
    small = f"<small>[{html.escape(interval)}</small>" if bracket else ""
    return f"<{tag}>{html.escape(value)}{small}</{tag}>"


def items(texts: Iterable[str]) -> str:
    return "\n".join(f"<li>{html.escape(text)}</li>" for text in texts)


def folded(summary: str, texts: Iterable[str]) -> str:
    """A list that opens on a click."""
    return f"<details><summary>{html.escape(summary)}</summary>\n<ul>\n{items(texts)}\n</ul></details>"


def paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{html.escape(text)}</p>" for text in texts)
