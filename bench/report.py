"""What the report of a full study takes, gathering included, and how fast it opens, as a Markdown page.

python -m bench.full_study FOLDER
python -m bench.report FOLDER > docs/benchmarks/report.md
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bench.measured import measured

CHECKOUT = Path(__file__).parents[1]
SAMPLED_S = 0.2
OPENED = "<script>addEventListener('load', () => document.title = `loaded ${Math.round(performance.now())}`);</script>"


def run(folder: Path) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds and peak bytes of `retain report`, its processes together."""
    started, most = time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.cli", "report", str(folder / "full.yaml")],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
    )
    whole = psutil.Process(process.pid)
    while process.poll() is None:
        most = max(most, _held(whole))
        time.sleep(SAMPLED_S)
    if process.returncode:
        raise SystemExit(f"retain report exited with {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, most


def _held(whole: psutil.Process) -> int:
    total = 0
    for process in (whole, *whole.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def loading_ms(page: Path) -> int | None:
    """Until the page's load event in Chromium; None without one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    copy = page.with_name("timed.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("</head>", f"{OPENED}</head>", 1), encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", copy.as_uri()]
    found = re.search(r"<title>loaded (\d+)", subprocess.run(command, capture_output=True, text=True).stdout)
    copy.unlink()
    return int(found[1]) if found else None


def main(folder: Path) -> None:
    stages = sum(1 for _ in (folder / "store" / "stages").iterdir())
    files = sum(1 for _ in (folder / "store" / "stages").glob("*/predictions/*.parquet"))
    wall, cpu, held = run(folder)
    page = folder / "store" / "report" / "report.html"
    shown = loading_ms(page)
    print(
        f"""# The report of a full study

{measured("python -m bench.report FOLDER")}.

4 scales × 11 intermediates × 9 targets × 5 seeds as `bench/full_study.py` makes it up: {stages:,} stages and {files:,}
files of scores of single examples, in up to 40 languages, at most 1,000 examples a language. Gathering included.
Under load the wall time is that of the others, too; what no load changes much is the processor time.

| | measured | goal |
|---|--:|--:|
| `retain report`, wall time | {wall:.0f} s | 60 s |
| CPU time, user and system | {cpu:.0f} s | |
| memory, all processes | {held / 2**30:.1f} GiB | 4 GiB |
| the page | {page.stat().st_size / 1e6:.1f} MB | |
| Chromium, until loaded | {f"{shown / 1000:.1f} s" if shown is not None else "no Chromium"} | 2 s |"""
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
