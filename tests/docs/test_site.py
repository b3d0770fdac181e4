"""The documentation builds as a site without a warning, asks no other host, and no link in it or beside it is dead."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
BESIDE = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"]
PAGES = [*BESIDE, *sorted(str(page.relative_to(CHECKOUT)) for page in (CHECKOUT / "docs").rglob("*.md"))]


def build(checkout: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # Material's word on its successor
    return subprocess.run(command, cwd=checkout, env=quiet, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(CHECKOUT, folder)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_every_page_is_built(site):
    assert len(list(site.rglob("*.html"))) >= len(PAGES) - len(BESIDE)
    assert not list(site.rglob("*.py"))
    assert "Retention" in (site / "index.html").read_text(encoding="utf-8")


def test_reading_it_asks_no_other_host(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=\"?([^\" >]+)", text)
        assert len(loaded) > 3
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], page
    for picture in (CHECKOUT / "docs").rglob("*.svg"):
        assert not re.search(r"(url\(\"?|href=\")https?:", picture.read_text(encoding="utf-8")), picture


def test_a_dead_link_and_a_page_without_a_place_are_found(tmp_path):
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    shutil.copy(CHECKOUT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write("\n[one](nowhere.md), [two](slurm.md#nowhere), [three](/slurm.md)\n")
    (tmp_path / "docs" / "lost.md").write_text("# Lost\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    warned = built.stderr[built.stderr.index("WARNING") :]
    for found in ("'nowhere.md'", "'slurm.md#nowhere'", "'/slurm.md'", "- lost.md"):
        assert found in warned


@pytest.mark.parametrize("page", PAGES)
def test_what_is_linked_is_there(page):
    """As GitHub reads it: relative to the page."""
    source = CHECKOUT / page
    links = re.findall(r"\]\(([^)\s]+)\)", source.read_text(encoding="utf-8"))
    relative = [link.partition("#")[0] for link in links if not re.match(r"https?:|mailto:|#", link)]
    assert [link for link in relative if not (source.parent / link).exists()] == []
