"""A figure before it is drawn: small multiples, which the page filters by menus and paper splits into sheets."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.report.figures.vegalite import GREY, Rows, Spec, distinct

PANEL_WIDTH, PANEL_HEIGHT = 220, 200
"""The least width of a panel, in pixels, and its height."""
CHARACTER = 7
"""Pixels of a panel's title for each of its characters."""
AXIS_WIDTH = 50
"""Pixels beside a panel for the labels of its axis."""
LEAST_WIDTH = 480
"""Pixels of a sheet, so that its title has room."""
LEGEND_ENTRY, LEGEND_MARK = 6, 30
"""Pixels of a legend's entry for each character, and for its mark."""
CONFIG: Spec = {
    "view": {"stroke": None},
    "axis": {"gridColor": "#eee", "labelLimit": 240},
    "legend": {"orient": "top", "titleOrient": "left", "columns": 8, "offset": 8, "labelLimit": 0, "symbolOpacity": 1},
    "header": {"title": None, "labelAnchor": "start", "labelFontSize": 10, "labelFontWeight": "bold", "labelLimit": 0},
}
PAGE_TITLE = {"anchor": "start", "fontSize": 11, "fontWeight": "normal", "color": GREY, "offset": 12}
PAPER_TITLE = {
    "anchor": "start",
    "fontSize": 13,
    "subtitleFontSize": 10,
    "subtitleColor": GREY,
    "subtitlePadding": 5,
    "offset": 12,
}
TITLE_CHARACTER, SUBTITLE_CHARACTER = 7.5, 5.6
"""Pixels of a character in a sheet's title, and below it."""


@dataclass(frozen=True)
class View:
    """One figure: the same data and layers for the page and for paper."""

    name: str
    subject: str
    """What it shows, the title of a sheet: `{}` is the sheet's own name."""
    caption: str
    rows: Rows
    layers: Sequence[Spec]
    panels: Sequence[str]
    """The values of `k`, in their order."""
    columns: int
    """How many panels stand in a row where there is room."""
    menus: Sequence[Spec] = ()
    hints: str = ""
    """What the page adds to the caption: how to use menus and legend."""
    transform: Sequence[Spec] = ()
    panel_width: int = PANEL_WIDTH
    """The least number of pixels in which a panel can be read."""
    height: Any = PANEL_HEIGHT
    independent: Spec = field(default_factory=dict)
    """Scales that the panels do not share: channel → `independent`."""
    sheet: Callable[[dict[str, Any]], str] = lambda row: ""
    """Row → its sheet's name; "" where the figure has but one sheet."""
    sheet_panels: str = "k"
    """The field whose values are the panels of a sheet."""

    def on_page(self, origin: str) -> Spec:
        """The interactive figure.

        Args:
            origin: sweep, seeds and fingerprint.
        """
        chosen = [{"filter": f"datum.{menu['name'].removeprefix('only_')} === {menu['name']}"} for menu in self.menus]
        spec = self._spec(self.rows, self.panels, "k", self.columns)
        title = {"text": origin, **PAGE_TITLE}
        return {**spec, "params": list(self.menus), "transform": [*chosen, *self.transform], "title": title}

    def sheets(self, sweep: str, origin: str) -> Iterator[tuple[str, Spec]]:
        """For paper: the name of each sheet's file, and the figure without menus.

        Args:
            origin: seeds and fingerprint.
        """
        for sheet in distinct(map(self.sheet, self.rows)):
            rows = [row for row in self.rows if self.sheet(row) == sheet]
            here = distinct(row[self.sheet_panels] for row in rows)
            panels = [panel for panel in self.panels if panel in here] if self.sheet_panels == "k" else here
            columns = min(self.columns if self.sheet_panels == "k" else len(panels), len(panels))
            spec = self._spec(rows, panels, self.sheet_panels, columns)
            width = max(columns * (spec["spec"]["width"] + AXIS_WIDTH), LEAST_WIDTH)
            title = textwrap.wrap(f"{sweep}: {self.subject.replace('{}', sheet)}", int(width / TITLE_CHARACTER))
            subtitle = textwrap.wrap(origin, int(width / SUBTITLE_CHARACTER))
            spec |= {"title": {"text": title, "subtitle": subtitle, **PAPER_TITLE}, "transform": list(self.transform)}
            spec["config"] = {**CONFIG, "legend": {**CONFIG["legend"], "columns": _legend_columns(self.layers, width)}}
            ending = sheet.replace(" − ", "-minus-").replace(" · ", "-")
            yield f"{self.name}-{ending}" if sheet else self.name, spec

    def _spec(self, rows: Rows, panels: Sequence[str], by: str, columns: int) -> Spec:
        width = max(self.panel_width, CHARACTER * max(map(len, panels)))
        return {
            "data": {"values": rows},
            "config": CONFIG,
            "facet": {"field": by, "type": "nominal", "sort": list(panels)},
            "columns": columns,
            "spec": {"width": width, "height": self.height, "layer": list(self.layers)},
            "resolve": {"axis": {"x": "independent"}, "scale": self.independent},
            "usermeta": {"panel": width},
        }


def _legend_columns(layers: Sequence[Spec], width: float) -> int:
    """How many entries of the widest legend stand side by side."""
    scales = [channel.get("scale") or {} for layer in layers for channel in layer["encoding"].values()
              if isinstance(channel, dict)]  # fmt: skip
    names = [str(name) for scale in scales for name in scale.get("domain", ()) if isinstance(name, str)]
    return max(1, int(width / (LEGEND_MARK + LEGEND_ENTRY * max(map(len, names), default=1))))
