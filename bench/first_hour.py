"""What a new user waits for, in a fresh clone of this checkout, beside its targets; and what the demo shows.

python -m bench.first_hour FOLDER > docs/benchmarks/first-hour.md

The clone, its logs and the measurements lie in FOLDER.  Run again, it goes on: what was measured at this commit is not
measured again.  `--only demo again` measures these anew (and before them what they need); `--only` alone measures
nothing and prints the page.  Of a missed target the page says by how much, and why if told: `--why demo "What it was."`
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from analysis.study import XTREME_DEPTH
from bench.accounting import adopt_orphans, take
from bench.sandbox_scores import score_lines, shown_by
from trainers.store.files import write_json
from trainers.store.record import provenance

CHECKOUT = Path(__file__).parents[1]
SWEEP = "launch/sweeps/sandbox.yaml"
COMMANDS = {
    "install": ["make", ".venv/ready"],
    "demo": ["make", "demo"],
    "again": ["make", "demo"],
    "quick": ["make", "quick"],
    "test": ["make", "test"],
}
NEEDS = {"install": (), "demo": ("install",), "again": ("install", "demo"), "quick": ("install",), "test": ("install",)}
MAKES = {"install": ".venv", "demo": "runs"}
"""What a step leaves, which is removed before it is measured anew."""
PARTS = ("unit", "cluster")
"""Of the tests, in the order in which `make test` runs them."""
ROWS = {
    "install": ("`make .venv/ready`", None, None),
    "demo": ("`make demo`, installed", 240, 480),
    "again": ("`make demo` again", 8, None),
    "quick": ("`make quick`", 60, None),
    "test": ("`make test`", 1200, None),
    "unit": ("its unit part", 600, None),
    "cluster": ("its cluster part", 600, None),
}
"""Step or part → name, and at most how many wall and processor seconds are aimed at."""
SUMMARY = re.compile(r"^(?:=+ )?\d+ (?:passed|failed|skipped|errors?|deselected|x\w+)\b.* in [\d.]+s.*\n", re.MULTILINE)
"""pytest's last line."""
QUIET = 0.2
"""Cores: what others may use before a missed wall time is told together with their load."""
OURS = ("VIRTUAL_ENV", "PYTHONPATH", "OMP_NUM_THREADS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""Variables of this process that a new user would not have."""


def main(
    folder: Path, only: Sequence[str] | None = None, why: Sequence[Sequence[str]] = (), checkout: Path = CHECKOUT
) -> None:
    """Measure what is not measured yet, each step kept as soon as it ended, and print the page.

    Args:
        folder: where the clone, the logs and `measurements.json` lie.
        only: steps to measure anew; all that lack at this commit where None.
        why: pairs of a row of the table and the reason for which it was missed.
        checkout: what is cloned, as its last commit has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "measurements.json"
    measured: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"steps": {}, "why": {}}
    measured["why"].update(why)
    commit = _git(checkout, "rev-parse", "HEAD")
    clone = folder / "clone"
    if only or only is None:
        _clone(checkout, clone, commit)
        adopt_orphans()
    done = {step for step, one in measured["steps"].items() if one["commit"] == commit and clone.exists()}
    asked = set(COMMANDS) - done if only is None else set(only)
    for step in COMMANDS:
        if step in asked or (step not in done and any(step in NEEDS[one] for one in asked)):
            measured["steps"][step] = _measure(step, clone, folder / f"{step}.log", commit)
            write_json(kept, measured)
            if step == "demo" and not measured["steps"][step]["status"]:
                measured["steps"][step]["shown"] = _shown(clone)
    write_json(kept, measured)
    print("\n".join(page(measured)))


def _clone(checkout: Path, clone: Path, commit: str) -> None:
    """A clone of this commit; one of another commit, installation and results included, goes."""
    if clone.exists() and _git(clone, "rev-parse", "HEAD") == commit:
        return
    shutil.rmtree(clone, ignore_errors=True)
    _git(checkout, "clone", "--quiet", "--no-local", str(checkout), str(clone))
    _git(clone, "checkout", "--quiet", commit)


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout.strip()


def _measure(step: str, clone: Path, log: Path, commit: str) -> dict[str, Any]:
    if step in MAKES:
        shutil.rmtree(clone / MAKES[step], ignore_errors=True)
    print(f"{step}: {' '.join(COMMANDS[step])}, its output in {log}", file=sys.stderr, flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    own = str(Path(sys.prefix) / "bin")
    environment["PATH"] = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if one != own)
    taken = take(COMMANDS[step], clone, log, environment, SUMMARY)
    if step == "install" and taken.status:
        sys.exit(f"{' '.join(COMMANDS[step])} failed with exit status {taken.status}; its output is in {log}.")
    facts = {
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{', '.join(provenance()['devices'])}, {len(os.sched_getaffinity(0))} cores",
    }
    return {**asdict(taken), **facts}


def _shown(clone: Path) -> dict[str, dict[str, float]]:
    sweep = yaml.safe_load((clone / SWEEP).read_text(encoding="utf-8"))
    return shown_by(clone / sweep["store"], sweep.get("evaluation", {}).get("retrieval_depth", XTREME_DEPTH))


def page(measured: dict[str, Any]) -> list[str]:
    """The page's lines."""
    steps = measured["steps"]
    rows = _rows(steps)
    lines = ["# The first hour", "", *_heading(steps), ""]
    lines += [
        "| | wall s | at most | processor s | at most | others before | during |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row, (name, wall, processor) in ROWS.items():
        one = rows.get(row)
        used = (one["wall_s"], one["processor_s"]) if one else (None, None)
        cells = [_seconds(used[0]), _seconds(wall), _seconds(used[1]), _seconds(processor)]
        cells += [f"{one[key]:.1f}" if one and row not in PARTS else "" for key in ("others_before", "others_during")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    said = [f"{row}: {rows[row]['said']}" for row in PARTS if row in rows]
    lines += ["", *(["pytest's own words: " + "; ".join(said) + ".", ""] if said else [])]
    lines += _missed(rows, measured["why"])
    if "shown" in steps.get("demo", {}):
        lines += ["", "## What the demo shows", "", *score_lines(steps["demo"]["shown"])]
    return lines


def _rows(steps: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each row of the table what was measured; the parts of the tests between pytest's closing lines."""
    rows = dict(steps)
    marks = steps.get("test", {}).get("marks", ())
    if len(marks) == len(PARTS):
        wall = processor = 0.0
        for part, mark in zip(PARTS, marks, strict=True):
            taken = {"wall_s": mark["wall_s"] - wall, "processor_s": mark["processor_s"] - processor}
            rows[part] = {**steps["test"], **taken, "status": 0, "said": mark["line"].strip("= ")}
            wall, processor = mark["wall_s"], mark["processor_s"]
    return rows


def _heading(steps: dict[str, Any]) -> list[str]:
    """What was measured when, on which code and hardware."""
    groups: dict[str, list[str]] = {}
    for step in (step for step in COMMANDS if step in steps):
        one = steps[step]
        groups.setdefault(f"on {one['date']}, commit {one['commit'][:7]}, on {one['hardware']}", []).append(step)
    where = "; ".join(f"{', '.join(group)} {facts}" for facts, group in groups.items())
    return [
        f"`python -m bench.first_hour FOLDER`: {where}.",
        "",
        "From a fresh clone. Processor seconds are user and system time of every process that the command started,",
        "daemons included; `others` are the cores that the machine's other processes kept busy, in the 5 s before it",
        "and during it. Installing waits for the package index, and takes from pip's cache what it has.",
    ]


def _missed(rows: dict[str, dict[str, Any]], why: dict[str, str]) -> list[str]:
    """A sentence for each row that failed, was not measured or took more than was aimed at."""
    found = []
    for row, (name, wall, processor) in ROWS.items():
        if row not in rows:
            found.append(f"- {name} was not measured.")
            continue
        one = rows[row]
        if one["status"]:
            found.append(f"- {name} failed with exit status {one['status']}.")
        for key, goal, unit in (("wall_s", wall, "s"), ("processor_s", processor, "processor-seconds")):
            if goal and (taken := one[key]) > goal:
                more = f"{taken / goal - 1:.0%} more than the {goal:,} aimed at"
                others = f"Others kept {one['others_during']:.1f} cores busy meanwhile."
                loaded = key == "wall_s" and one["others_during"] > QUIET
                told = [f"- Missed: {name} took {_seconds(taken)} {unit}, {more}.", others * loaded, why.get(row, "")]
                found.append(" ".join(filter(None, told)))
    return found or ["Every target was met."]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}" if value < 100 and value % 1 else f"{value:,.0f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(COMMANDS), metavar="STEP", help=", ".join(COMMANDS))
    parser.add_argument("--why", nargs=2, action="append", default=[], metavar=("ROW", "REASON"), help=", ".join(ROWS))
    words = parser.parse_args()
    main(words.folder.absolute(), words.only, words.why)
