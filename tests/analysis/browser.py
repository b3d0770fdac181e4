"""Opens a report in headless Chromium, does to it what a person would, and gives the page as it then is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")
WIDTH, HEIGHT = 1250, 7000
WAIT = "const wait = then => Promise.all([...figures].map(draw)).then(then);"
"""Draws all figures, as printing does, seen or not."""


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
