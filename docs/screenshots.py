"""Takes the pictures of terminal and report in docs/figures from the finished main job, e.g. after `make demo`.

    python docs/screenshots.py runs/sandbox [FOLDER]

What a terminal shows is drawn as SVG by rich, the report is opened in headless Chromium.  Nothing in the store changes.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import vl_convert
import yaml
from PIL import Image, ImageChops
from rich.console import Console
from rich.text import Text

CHECKOUT = Path(__file__).resolve().parents[1]
SWEEPS = CHECKOUT / "launch" / "sweeps"
COLUMNS = 122
WINDOW = "1000,1600"
MARGIN = 24
COLOURS = 256
HIDDEN = "#retention ~ *"
"""What of the report is not in its picture (CSS): all below the answer and the first figure."""
DRAW = "<script>figures.forEach(figure => figure.offsetParent && draw(figure))</script>"
"""At once: a headless browser may take its photograph before the page has noticed what is seen of it."""
CLUSTER = """\
cluster: example
partition: gpu
nodes: 4
gpus_per_node: 4
gpu: A100-80
cpus_per_rank: 8
time_limit_min: 1440
"""
"""The tutorial's."""


def main(store: Path, folder: Path = CHECKOUT / "docs" / "figures") -> None:
    with tempfile.TemporaryDirectory() as home:
        here = Path(home)
        shutil.copytree(
            store, here / "store", ignore=shutil.ignore_patterns("wandb", "jobs", "report", "*.safetensors")
        )
        (here / "cluster.yaml").write_text(CLUSTER)
        first, *others = sweep()["seeds"]
        another = max(first, *others) + 1
        changed(here / "another-seed.yaml", seeds=[first, *others, another])
        changed(here / "some.yaml", scales=["sandbox-m"], intermediates=["none", "mnli"], seeds=[first, another])
        terminal(here, folder / "doctor.svg", "doctor")
        terminal(here, folder / "plan.svg", "plan", "another-seed.yaml")
        terminal(here, folder / "status.svg", "status", "some.yaml")
        terminal(here, folder / "cluster.svg", "plan", str(SWEEPS / "scale.yaml"), "--cluster", "cluster.yaml")
        changed(here / "whole.yaml")
        retain(here, "report", "whole.yaml", "--out", "report", "--figures", "False")
        page = here / "report" / "report.html"
        browser(page, HIDDEN, folder / "report.png")
        curves(page.read_text(encoding="utf-8"), folder / "sandbox-retention.png")


def sweep() -> dict[str, Any]:
    """The main job's."""
    return yaml.safe_load((SWEEPS / "sandbox.yaml").read_text(encoding="utf-8"))


def changed(file: Path, **fields: Any) -> None:
    """The main job's sweep with some fields changed."""
    file.write_text(yaml.safe_dump({**sweep(), "store": "store", **fields}))


def retain(here: Path, *words: str) -> str:
    """What a command shows on a terminal in `here`, on a machine with nothing but Python."""
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "PYTHONPATH": str(CHECKOUT),
        "HOME": str(here),
        "FORCE_COLOR": "1",
        "COLUMNS": str(COLUMNS),
    }
    command = [sys.executable, "-m", "launch.cli", *words]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1 is a verdict
        raise SystemExit(f"retain {' '.join(words)} failed with {done.returncode}: {done.stderr}")
    return done.stdout.replace(str(here), "~/study").replace(sys.prefix, "~/retain/.venv")


def terminal(here: Path, picture: Path, *words: str) -> None:
    """Draw a command and what it shows."""
    typed = " ".join(Path(word).name if word.startswith("/") else word for word in words)
    shown = Text.from_ansi(f"\x1b[1m$ retain {typed}\x1b[0m\n{retain(here, *words).rstrip()}")
    widest = max(len(line.plain.rstrip()) for line in shown.split())
    screen = Console(file=io.StringIO(), record=True, width=min(widest, COLUMNS))
    screen.print(shown)
    drawn = screen.export_svg(title="", unique_id=picture.stem)
    # A page asks no other host: the reader's own monospaced font does.
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    picture.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n", encoding="utf-8")


def browser(page: Path, hidden: str, picture: Path) -> None:
    """Photograph what is left of a page."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed (Debian: chromium); it draws the report")
    part, photo = page.with_name("part.html"), page.with_name("part.png")
    shown = f"{page.read_text(encoding='utf-8')}<style>{hidden} {{ display: none }}</style>{DRAW}"
    part.write_text(shown, encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}"]
    command += ["--virtual-time-budget=9000", f"--screenshot={photo}", part.as_uri()]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(page.parent)})
    with Image.open(photo) as image:
        whole = image.convert("RGB")
    empty = Image.new("RGB", whole.size, whole.getpixel((0, 0)))
    left, top, right, bottom = ImageChops.difference(whole, empty).getbbox() or (0, 0, *whole.size)
    within = max(0, left - MARGIN), max(0, top - MARGIN), min(whole.width, right + MARGIN), bottom + MARGIN
    save(whole.crop(within), picture)


def curves(page: str, picture: Path) -> None:
    """Draw the report's figure of retention as it opens; nothing where it has none."""
    found = re.search(r'id="retention">.*?<script type="application/json">(.*?)</script>', page, re.DOTALL)
    if found:
        spec = json.loads(found[1])
        spec["spec"] |= {"width": 300, "height": 190}
        with Image.open(io.BytesIO(vl_convert.vegalite_to_png(spec, scale=1.5))) as image:
            save(image, picture)


def save(image: Image.Image, picture: Path) -> None:
    """In few colours: the pictures are part of the repository."""
    image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main(*map(Path, sys.argv[1:]))
