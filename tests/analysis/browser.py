"""Opens a report in headless Chromium, does to it what a person would, and gives the page as it then is."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from analysis.report.figures.drawing import Drawing

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")
WIDTH, HEIGHT = 1250, 7000
WAIT = "const wait = then => Promise.all([...figures].map(draw)).then(then);"
"""Draws all figures, as printing does, seen or not."""


BOXES = """
  const boxes = figure => [...figure.querySelectorAll("text")].filter(one => one.textContent.trim()).map(one => {
    const {x, y, width, height} = one.getBoundingClientRect();
    return [one.textContent, x, y, width, height];
  });
  document.title = JSON.stringify([...document.querySelectorAll("svg")].map(boxes));
"""
SLACK = 3.0
"""Pixels: the box of a text has room above and below its letters."""


def texts_that_overlap(drawings: Iterable[Drawing], folder: Path) -> list[tuple[str, str, str]]:
    """Figure and texts of every pair of texts that cover one another; each figure must have more than ten texts."""
    known = list(drawings)
    page = folder / "drawings.html"
    figures = "\n".join(f"<div>{drawing.svg}</div>" for drawing in known)
    page.write_text(f"<title></title><body>{figures}<script>{BOXES}</script></body>", encoding="utf-8")
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=6000,6000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(html.unescape(re.findall(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[0]))
    overlaps = []
    for drawing, boxes in zip(known, found, strict=True):
        assert len(boxes) > 10, drawing.name
        for place, (text, x, y, width, height) in enumerate(boxes):
            overlaps += [
                (drawing.name, text, other)
                for other, left, top, wide, high in boxes[place + 1 :]
                if min(x + width, left + wide) - max(x, left) > SLACK
                and min(y + height, top + high) - max(y, top) > SLACK
            ]
    return overlaps


def opened(page: Path, actions: str = "", screenshot: Path | None = None, width: int = WIDTH) -> str:
    """The page's HTML after `actions`, a script that runs when all figures are drawn.

    Scripts cannot reach the network: the browser knows no host.
    """
    copy = page.with_name("opened.html")
    text = page.read_text(encoding="utf-8")
    waiting = f"<script>{WAIT} wait(() => {{ {actions} }});</script>"
    body, end, rest = text.rpartition("</body>")  # the last: Vega's own code has others
    copy.write_text(body + waiting + end + rest, encoding="utf-8")
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},{HEIGHT}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=9000", "--enable-logging=stderr"]
    command += [f"--screenshot={screenshot}"] if screenshot else ["--dump-dom"]
    done = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    problems = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not problems, problems
    return done.stdout
