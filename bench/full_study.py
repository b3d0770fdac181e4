"""A full study as its stages would leave it, with made-up scores: what the report is measured on.

python -m bench.full_study FOLDER                      # writes FOLDER/full.yaml and FOLDER/store; a few minutes
python -m bench.full_study FOLDER --sweep other.yaml   # the same of a smaller sweep
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from launch.estimate.costs import work_of
from launch.study.plan import Plan, make_plan, mirror_of
from launch.study.published_rows import expected_rows
from launch.study.sweep import load_sweep
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store
from trainers.tasks import TASKS

SWEEP = Path(__file__).parents[1] / "launch" / "sweeps" / "full.yaml"
CHANCE, LEARNED, KEPT, HALF = 0.35, 0.8, 0.6, 40.0
"""Of every probed task: the majority's score, A(0), and what R(τ) falls to with which half-life."""
GAIN = 0.03
SEEDS = (1, 2, 3, 4, 5)


@dataclass
class Writer:
    """Writes stages of a plan into its store."""

    plan: Plan
    mirror: Mirror
    most_examples: int
    rng: np.random.Generator

    def write(self, stage: Stage) -> None:
        entry = Store(self.plan.sweep.store).open(stage)
        self.folder, self.events = entry.predictions, [self._attempt(stage)]
        self.folder.mkdir(exist_ok=True)
        if stage.kind == "retrieval":
            self._retrieval(stage)
        else:
            self._probes(stage)
            self._targets(stage)
        (entry.folder / "events.jsonl").write_text("\n".join(map(json.dumps, self.events)) + "\n")
        (entry.folder / "provenance.json").write_text(json.dumps(PROVENANCE))
        (entry.folder / "result.json").write_text(json.dumps(RESULT))

    def _attempt(self, stage: Stage) -> dict[str, Any]:
        shape = self.plan.scales[stage.scale.name].shape
        family = "pre" if stage.scale.name.startswith("x") else "post"
        sizes = {"parameters": shape.parameters, "non_embedding_parameters": shape.non_embedding_parameters}
        return {"event": "attempt", "time": 0, "scale": {**sizes, "layers": shape.layers, "layer_norm": family}}

    def _probes(self, stage: Stage) -> None:
        last = max(work_of(stage, self.plan, self.mirror).steps, 2)
        steps = [0, *(2**power for power in range(last.bit_length()) if 2**power < last), last]
        size = np.log10(self.plan.scales[stage.scale.name].shape.non_embedding_parameters / 1e8)
        for step in [last] if stage.kind == "intermediate" else steps:
            tables = []
            for probe in stage.probes:
                kept = KEPT + 0.1 * size
                truth = (
                    LEARNED
                    if step == last and stage.kind == "intermediate"
                    else CHANCE + (LEARNED - CHANCE) * (kept + (1 - kept) * 2 ** (-step / HALF))
                )
                for language in ("en", *probe.languages):
                    examples = probe.examples if language == "en" else probe.examples_other
                    measures = {"stored": truth, "refit": truth}
                    if stage.kind == "intermediate":
                        self._measured("untouched", probe.task, language, 0, self._scores(examples, CHANCE + 0.05))
                    for measure, value in measures.items():
                        scores = self._scores(examples, value)
                        self._measured(measure, probe.task, language, step, scores)
                        facts = (pl.lit(one) for one in (measure, probe.task, language))
                        named = dict(zip(("measure", "task", "language"), facts, strict=True))
                        tables.append(scores.select(**named, example="example", score="score"))
            if tables:
                pl.concat(tables).write_parquet(self.folder / f"probe-step-{step:09d}.parquet")

    def _targets(self, stage: Stage) -> None:
        for training in stage.train:
            self._measured("development", training.task, "en", 1000, self._scores(100, 0.8))
        for evaluation in stage.evaluate:
            task = TASKS[evaluation.task]
            for language in evaluation.languages:
                rows = min(expected_rows(self.mirror, task.test, language) or 1000, self.most_examples)
                truth = 0.7 - 0.1 * (language != "en") + GAIN * (stage.intermediate != "none")
                scores = self._scores(rows, truth, weighted=task.family == "tagging")
                self._measured("zero_shot", task.name, language, 1000, scores)
                scores.write_parquet(self.folder / f"{task.name}-{language}.parquet")

    def _retrieval(self, stage: Stage) -> None:
        """Every layer's file is a link to one: what is read is as much, and the disk holds it."""
        layers = self.plan.scales[stage.scale.name].shape.layers
        for evaluation in stage.evaluate:
            for language in evaluation.languages:
                scores = self._scores(min(1000, self.most_examples), 0.5)
                name = self.folder / f"{evaluation.task}-layer00-{language}.parquet"
                scores.write_parquet(name)
                for layer in range(layers + 1):
                    self._measured("retrieval", evaluation.task, language, layer, scores)
                    if layer:
                        os.link(name, self.folder / f"{evaluation.task}-layer{layer:02d}-{language}.parquet")

    def _scores(self, examples: int, truth: float, weighted: bool = False) -> pl.DataFrame:
        seeded = truth + self.rng.normal(0, 0.01)
        found = {"example": np.arange(examples), "score": (self.rng.random(examples) < seeded).astype(np.float64)}
        if weighted:
            found["weight"] = self.rng.integers(1, 30, examples).astype(np.float64)
        return pl.DataFrame(found)

    def _measured(self, measure: str, task: str, language: str, at: int, scores: pl.DataFrame) -> None:
        weights = scores["weight"] if "weight" in scores.columns else None
        value = float(np.average(scores["score"], weights=weights))
        facts = {"event": "measured", "measure": measure, "task": task, "language": language}  # as EventLog orders them
        facts |= {"metric": TASKS[task].metric, "value": value, "at": at, "examples": len(scores), "chance": CHANCE}
        self.events.append(facts)


PROVENANCE = {"code": {"commit": "0" * 40, "dirty": False}, "python": "3.11", "host": "node-1", "devices": ["made up"]}
RESULT = {
    "outcome": "completed",
    "evidence": None,
    "tokens": 10**8,
    "tokens_per_s": 4e4,
    "probe_share": 0.05,
    "seconds": {"train": 2500.0, "evaluate": 120.0},
}


def write(folder: Path, most_examples: int, sweep: Path = SWEEP) -> Plan:
    """A sweep file, with SEEDS, and a store that holds all of its stages."""
    folder.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load(sweep.read_text())
    path = folder / "full.yaml"
    path.write_text(yaml.safe_dump({**content, "store": str(folder / "store"), "seeds": list(SEEDS)}))
    plan = make_plan(load_sweep(path))
    writer = Writer(plan, mirror_of(plan.sweep), most_examples, np.random.default_rng(0))
    for stage in plan.stages:
        writer.write(stage)
    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, default=1000, help="at most so many a language and task")
    parser.add_argument("--sweep", type=Path, default=SWEEP, help="the sweep whose stages are made up")
    chosen = parser.parse_args()
    plan = write(chosen.folder, chosen.examples, chosen.sweep)
    print(f"{len(plan.stages)} stages in {chosen.folder / 'store'}")


if __name__ == "__main__":
    main()
