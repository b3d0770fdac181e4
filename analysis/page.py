"""The parts of the page: tables, interactive figures and lists, every text escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from functools import cache

from analysis.interactive import Figure, View
from analysis.tables import Table

LONG_TEXT = 40
"""Cells of so many characters may wrap."""
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
window.addEventListener("beforeprint", () => figures.forEach(draw));
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
    if not content.rows:
        return f'<p class="note">{html.escape(missing)}</p>'
    head = "".join(_cell("th", text, place < content.names) for place, text in enumerate(content.columns))
    lines = ['<div class="scroll"><table>', f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    group = content.rows[0][0]
    for row in content.rows:
        opening = "<tr>" if row[0] == group else '<tr class="group">'
        cells = "".join(_cell("td", text, place < content.names) for place, text in enumerate(row))
        lines.append(f"{opening}{cells}</tr>")
        group = row[0]
    return "\n".join([*lines, "</tbody></table></div>"])


def _cell(tag: str, text: str, is_name: bool) -> str:
    """A name stands left, a number right with its interval below it; a sentence may wrap."""
    if len(text) > LONG_TEXT:
        return f'<{tag} class="name long">{html.escape(text)}</{tag}>'
    if is_name:
        return f'<{tag} class="name">{html.escape(text)}</{tag}>'
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
