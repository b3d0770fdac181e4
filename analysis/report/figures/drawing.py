"""Figures as files, for papers: equal figures give equal files, and nothing is fetched from anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analysis.report.figures.vegalite import Spec
from analysis.report.figures.views import View
from analysis.report.findings import origin
from analysis.study import Study
from trainers.stage import digest
from trainers.store.files import writing

LONGEST_NAME = 100
PIXELS = 2.0
"""Of a PNG for each of the figure's: about 200 to an inch of a paper's width."""

COUNTED = re.compile(r'(?:(?<=id=")|(?<=url\(#))(clip|gradient_)(\d+)')
"""Names whose numbers Vega counts on from one figure of the process to the next: each file counts its own."""


@dataclass(frozen=True)
class Drawing:
    """A sheet: the name of its file, what to read from it, and its specification."""

    name: str
    caption: str
    spec: Spec

    @cached_property
    def svg(self) -> str:
        import vl_convert  # the planning commands need none

        names: dict[str, str] = {}
        drawn = vl_convert.vegalite_to_svg(self.spec, allowed_base_urls=[])
        return COUNTED.sub(lambda name: names.setdefault(name[0], f"{name[1]}{len(names)}"), drawn)

    @property
    def png(self) -> bytes:
        import vl_convert

        return vl_convert.svg_to_png(self.svg, scale=PIXELS)

    def save(self, folder: Path) -> None:
        """Write `<name>.png` and `<name>.svg`.

        What is no letter or digit in the name (an intermediate's may come from anywhere) becomes `_`.  A name too long
        for a file is cut, and a digest keeps it distinct from others that begin alike.

        Raises:
            StoreError: the folder cannot be written.
        """
        name = self.name
        if len(name) > LONGEST_NAME:
            name = f"{name[:LONGEST_NAME]}-{digest(name, 8)}"
        name = re.sub(r"[^\w+-]", "_", name)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.svg").write_text(self.svg, encoding="utf-8")
            (folder / f"{name}.png").write_bytes(self.png)


def drawings(view: View | None, study: Study, sweep: str) -> Iterator[Drawing]:
    """The sheets of a figure; none of one that has nothing to show."""
    if view is not None:
        for name, spec in view.sheets(sweep, origin(study)):
            yield Drawing(name, view.caption, spec)
