"""What a finished sweep took and found, as a Markdown page: the numbers that README and docs name.

retain run SWEEP [options]
python -m bench.sweep STORE > docs/benchmarks/NAME.md
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from analysis.records.frame import primary, stage_table, tidy
from analysis.records.gather import store_records
from trainers.store import Store


def main(store: Path) -> None:
    records = store_records(store)
    stages, frame = stage_table(records), primary(tidy(records))
    print("\n".join([*_heading(store, stages), "", *_stage_lines(stages, frame), "", *_retrieval_lines(frame)]))


def _heading(store: Path, stages: pl.DataFrame) -> list[str]:
    events = [event for key in stages["key"] for event in Store(store).entry(key).events()]
    attempts = [event for event in events if event["event"] == "attempt"]
    times = [event["time"] for event in events]
    commits = sorted({(event["code"] or {}).get("commit", "unknown")[:7] for event in attempts})
    devices = sorted({device for event in attempts for device in event["devices"]})
    unfinished = stages["seconds"].null_count()
    again = len(attempts) - len(stages)
    begun = datetime.fromtimestamp(min(times), UTC)
    return [
        f"# {len(stages)} stages in {(max(times) - min(times)) / 60:.1f} minutes",
        "",
        f"`python -m bench.sweep` on the store `{store.name}`, run on {begun:%Y-%m-%d}, commit "
        f"{', '.join(commits)}, on {', '.join(devices)}, {attempts[0]['threads']} thread(s) a process.  ",
        f"From the first stage's start to the last one's end; {unfinished} stages have no result, {again} attempts "
        "were begun again.",
    ]


def _stage_lines(stages: pl.DataFrame, frame: pl.DataFrame) -> list[str]:
    lines = ["| stage | outcome | seconds | probing | development score (majority class) |", "|---|---|--:|--:|--:|"]
    for stage in stages.iter_rows(named=True):
        scores = frame.filter(pl.col("key") == stage["key"], pl.col("measure") == "development")
        scored = ", ".join(f"{row['value']:.3f} ({row['chance']:.3f})" for row in scores.iter_rows(named=True))
        lines.append(
            f"| {stage['label']} | {stage['outcome']} | {_shown(stage['seconds'], '.0f')} |"
            f" {_shown(stage['probe_share'], '.1%')} | {scored or '–'} |"
        )
    return lines


def _retrieval_lines(frame: pl.DataFrame) -> list[str]:
    """Retrieval by layer, the mean over seeds: for each encoder one row a language, and their mean."""
    lines = []
    found = frame.filter(pl.col("measure") == "retrieval")
    for scale, intermediate, task in (
        found.select("scale", "intermediate", "task").unique(maintain_order=True).iter_rows()
    ):
        own = found.filter(scale=scale, intermediate=intermediate, task=task)
        table = own.pivot(on="at", index="language", values="value", aggregate_function="mean").sort("language")
        layers = sorted((name for name in table.columns if name != "language"), key=int)
        mean = table.select(pl.lit("mean").alias("language"), *(pl.col(layer).mean() for layer in layers))
        when = "before phase 2" if intermediate == "none" else f"after {intermediate}"
        examples = f"{own['examples'].min():,} to {own['examples'].max():,} sentences a language"
        lines += [f"## {task}, {scale}, {when}", "", f"By layer (0: embeddings); {examples}.", ""]
        lines += ["| | " + " | ".join(layers) + " |", "|---|" + "--:|" * len(layers)]
        for language, *values in pl.concat([table.select("language", *layers), mean]).iter_rows():
            lines.append(f"| {language} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
        lines.append("")
    return lines


def _shown(value: Any, style: str) -> str:
    return "–" if value is None else format(value, style)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
