"""The parts of the page: tables, interactive figures and lists, every text escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import groupby, takewhile

from analysis.report.figures.catalogue import Figure
from analysis.report.figures.views import View
from analysis.report.tables import LACKING, SEED_COLUMNS
from analysis.report.tabular import DASH, Table

LONG_TEXT = 30
"""Cells of so many characters may wrap."""
LONG_TABLE = 60
"""More rows than these are folded away, if a group of them has …"""
SMALL_GROUP = 8
"""… at least so many on average."""
START = """
const draw = figure => figure.drawing ??= drawn(figure);
const drawn = async figure => {
  figure.dataset.drawn = "yes";
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const [menus, plot] = figure.querySelectorAll("div");
  const room = () => plot.clientWidth - 24;
  if (spec.facet) {
    const most = Math.max(1, Math.floor(room() / spec.usermeta.panel));
    spec.columns = Math.ceil(spec.columns / Math.ceil(spec.columns / most));
  }
  const {view} = await vegaEmbed(plot, spec, {bind: menus, renderer: "svg", downloadFileName: figure.id,
    actions: {export: true, source: false, compiled: false, editor: false}});
  const width = spec.facet ? "child_width" : "width";
  for (let pass = 0; pass < 2; pass++) {  // again, as wider panels have other labels
    const spare = (room() - plot.querySelector("svg").getAttribute("width")) / (spec.columns || 1);
    await view.signal(width, Math.max(view.signal(width) + Math.floor(spare), 120)).resize().runAsync();
  }
};
const figures = document.querySelectorAll("figure.view");
const seen = new IntersectionObserver(entries => entries.forEach(one => one.isIntersecting && draw(one.target)),
  {rootMargin: "300px"});
figures.forEach(figure => seen.observe(figure));
const folded = document.querySelectorAll("details");
window.addEventListener("beforeprint", () => {figures.forEach(draw); folded.forEach(one => one.open = true);});
"""
"""A figure is drawn when it comes near to what is seen: a page of a full study opens at once.

Small multiples get as many columns as there is room for, in rows as equal as can be; then all is stretched to the page.
"""


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
    return f"{heading}\n{drawn(view, origin) if view else _note(figure.missing)}"


def drawn(view: View, origin: str) -> str:
    """A figure that the browser draws, and its caption."""
    data = json.dumps(view.on_page(origin), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    data = data.replace("<", "\\u003c")
    return (
        f'<figure class="view" id="{html.escape(view.name)}"><div class="menus"></div>'
        '<div class="plot"></div>'
        f'<script type="application/json">{data}</script>'
        f"<figcaption>{html.escape(view.caption + view.hints).replace(' %', '&nbsp;%')}</figcaption></figure>"
    )


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def table(content: Table, missing: str) -> str:
    """As HTML; a long one opens group by group (of its first column) on a click."""
    if not content.rows:
        return f'<p class="note">{html.escape(missing)}</p>'
    content = _where_something_happened(content)
    groups = [list(places) for _, places in groupby(range(len(content.rows)), lambda place: content.rows[place][0])]
    if len(content.rows) <= LONG_TABLE or len(groups) * SMALL_GROUP > len(content.rows):
        return _rows(content, groups)
    return "\n".join(
        f"<details><summary>{html.escape(content.rows[places[0]][0])} <small>{len(places)} rows</small></summary>\n"
        f"{_rows(content, [places])}</details>"
        for places in groups
    )


def _where_something_happened(content: Table) -> Table:
    """Without the counts of what went wrong, where nothing did: the numbers get their room."""
    idle = {
        place
        for place, name in enumerate(content.columns)
        if name in (*SEED_COLUMNS, LACKING) and all(row[place] == DASH for row in content.rows)
    }

    def without(row: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for place, text in enumerate(row) if place not in idle)

    return replace(content, columns=without(content.columns), rows=[without(row) for row in content.rows])


def _rows(content: Table, groups: list[list[int]]) -> str:
    """
    Args:
        groups: the places of their rows in the table.
    """
    head = "".join(_cell("th", text, place < content.names) for place, text in enumerate(content.columns))
    lines = ['<div class="scroll"><table>', f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for number, places in enumerate(groups):
        for place in places:
            opening = '<tr class="group">' if number and place == places[0] else "<tr>"
            lines.append(f"{opening}{_named_once(content, places, place)}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _named_once(content: Table, group: list[int], place: int) -> str:
    """The cells of a row; a name that the rows below share, and all names before it, stands once for them all."""
    row = content.rows[place]
    above = content.rows[place - 1] if place > group[0] else ()
    below = [content.rows[other] for other in group if other >= place]
    cells = []
    for column, text in enumerate(row):
        until = column + 1
        is_name, is_last_name = column < content.names, column >= content.names - 1
        if is_last_name:
            cells.append(_cell("td", text, is_name, best=(place, column) in content.best))
        elif above[:until] != row[:until]:
            shared = list(takewhile(lambda other: other[:until] == row[:until], below))  # noqa: B023
            cells.append(_cell("td", text, is_name, len(shared)))
    return "".join(cells)


def _cell(tag: str, text: str, is_name: bool, rows: int = 1, best: bool = False) -> str:
    """A name stands left, a number right with its interval below it, the best bold; a sentence may wrap."""
    spanning = f' rowspan="{rows}"' if rows > 1 else ""
    if len(text) > LONG_TEXT:
        return f'<{tag} class="name long"{spanning}>{html.escape(text)}</{tag}>'
    if is_name:
        return f'<{tag} class="name"{spanning}>{html.escape(text)}</{tag}>'
    value, bracket, interval = text.partition(" [")
    small = f"<small>[{html.escape(interval)}</small>" if bracket else ""
    shown = f"<b>{html.escape(value)}</b>" if best else html.escape(value)
    return f"<{tag}>{shown}{small}</{tag}>"


def items(texts: Iterable[str]) -> str:
    return "\n".join(f"<li>{html.escape(text)}</li>" for text in texts)


def folded(summary: str, texts: Iterable[str]) -> str:
    """A list that opens on a click."""
    return f"<details><summary>{html.escape(summary)}</summary>\n<ul>\n{items(texts)}\n</ul></details>"


def paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{html.escape(text)}</p>" for text in texts)
