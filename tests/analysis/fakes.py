"""A synthetic study with a known truth, written through the store's own contracts; trains nothing.

    3 scales × {none, mnli, squad} × {xnli, pawsx, xquad} + Tatoeba, 3 seeds: 120 stages

Truth: A(τ) falls from A(0) to c + kept · (A(0) − c), where `kept` grows with scale; the representation keeps more
than the head; an intermediate adds GAIN to English and half of it to every other language; of several tasks at once,
squad is kept by half; after their final LayerNorm, pre-LN encoders retrieve better by NORMED.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.inference.statistics import Bootstrap
from analysis.reading import read_study
from analysis.records.examples import ExampleFiles
from analysis.records.frame import NOTHING, Record
from analysis.records.gather import store_records
from analysis.report.report import write_report
from analysis.study import Study, analyse
from trainers.stage import Evaluation, Mixing, Probe, Recipe, ScaleId, Stage, Training
from trainers.store import EventLog, Store
from trainers.store.files import write_json
from trainers.tasks import TASKS

SCALES = {"small": 200_000, "medium": 600_000, "large": 2_000_000}
KEPT = {"small": 0.2, "medium": 0.5, "large": 0.8}
REPRESENTATION_KEPT = {"small": 0.6, "medium": 0.75, "large": 0.9}
LAYER_NORM = {"small": "post", "medium": "post", "large": "pre"}
INTERMEDIATES = ("none", "mnli", "squad")
SEVERAL = "mnli+squad"
"""An intermediate of two tasks, which is not in the study unless it is asked for."""
TARGETS = {"xnli": "mnli", "pawsx": "pawsx", "xquad": "squad"}
"""Target → the task that is trained on."""
LANGUAGES = ("en", "de", "ru", "sw", "zh")
STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 100)
LAYERS = 4
EXAMPLES = 400
CHANCE, LEARNED, BASE, PLAIN, GAIN, NORMED = 0.4, 0.8, 0.5, 0.6, 0.1, 0.15
RECIPE = Recipe(batch_size=32, epochs=1, learning_rate=1e-4, max_length=64)
MIXING = Mixing(max_steps=STEPS[-1])


@dataclass(frozen=True)
class Point:
    """One measurement: the truth is `value`; examples are those whose difficulty lies below it."""

    at: int
    measure: str
    task: str
    language: str
    value: float

    def scores(self, seed: int) -> np.ndarray:
        """[EXAMPLES] 0 or 1, with the truth as their mean, up to 1/EXAMPLES and a shift by seed of ±0.01."""
        place = sum(map(ord, self.task + self.language))
        difficulty = np.random.default_rng(place).permutation(EXAMPLES) / EXAMPLES
        return (difficulty < self.value + 0.01 * (seed % 3 - 1) - 1e-9).astype(np.float64)


def stages(seeds: tuple[int, ...] = (0, 1, 2), intermediates: tuple[str, ...] = INTERMEDIATES) -> list[Stage]:
    """Intermediates first, then targets, then retrieval, as a plan orders them."""
    found: list[Stage] = []
    for scale in SCALES:
        parents = {
            (name, seed): _intermediate(scale, name, seed) for name in intermediates if name != "none" for seed in seeds
        }
        found += parents.values()
        found += [
            _target(scale, name, target, seed, parents.get((name, seed)))
            for name in intermediates
            for target in TARGETS
            for seed in seeds
        ]
        found += [_retrieval(scale, parent) for parent in (None, *parents.values())]
    return found


def _common(scale: str, intermediate: str) -> dict[str, Any]:
    return {
        "scale": ScaleId(fingerprint=f"fp-{scale}", name=scale, source=f"encoders/{scale}"),
        "data": {},
        "intermediate": intermediate,
    }


def _probes(intermediate: str) -> tuple[Probe, ...]:
    sizes = {"examples": EXAMPLES, "examples_other": EXAMPLES}
    tasks = intermediate.split("+")
    return tuple(Probe(task=task, languages=LANGUAGES[1:], max_length=64, **sizes) for task in tasks)


def _intermediate(scale: str, name: str, seed: int) -> Stage:
    return Stage(
        kind="intermediate",
        train=tuple(Training(task=task, recipe=RECIPE) for task in name.split("+")),
        mixing=MIXING if "+" in name else None,
        seed=seed,
        probes=_probes(name),
        **_common(scale, name),
    )


def _target(scale: str, name: str, target: str, seed: int, parent: Stage | None) -> Stage:
    return Stage(
        kind="target",
        train=(Training(task=TARGETS[target], recipe=RECIPE),),
        seed=seed,
        evaluate=(Evaluation(task=target, languages=LANGUAGES, max_length=64),),
        parent=parent.key if parent else None,
        probes=_probes(name) if parent else (),
        **_common(scale, name),
    )


def _retrieval(scale: str, parent: Stage | None) -> Stage:
    return Stage(
        kind="retrieval",
        evaluate=(Evaluation(task="tatoeba", languages=LANGUAGES[1:], max_length=64),),
        parent=parent.key if parent else None,
        seed=parent.seed if parent else 0,
        **_common(scale, parent.intermediate if parent else "none"),
    )


def facts(scale: str) -> dict[str, Any]:
    """As `trainers.stage.scales.Scale.facts`."""
    size = SCALES[scale]
    return {
        "parameters": 2 * size,
        "non_embedding_parameters": size,
        "layers": LAYERS,
        "hidden": 64,
        "layer_norm": LAYER_NORM[scale],
    }


def truth(stage: Stage) -> Iterator[Point]:
    """What the stage would measure if there were no seeds."""
    scale, name = stage.scale.name, stage.intermediate
    if stage.kind == "intermediate":
        for task, language in _probed(stage):
            yield Point(0, "untouched", task, language, BASE)
            yield Point(STEPS[-1], "stored", task, language, LEARNED)
            yield Point(STEPS[-1], "refit", task, language, LEARNED)
        for task in stage.trained:
            yield Point(STEPS[-1], "development", task, "en", LEARNED)
        return
    if stage.kind == "retrieval":
        for layer in range(LAYERS + 1):
            for language in LANGUAGES[1:]:
                score = 0.2 + 0.1 * layer - 0.05 * (name != "none")
                yield Point(layer, "retrieval", "tatoeba", language, score)
                if LAYER_NORM[scale] == "pre":
                    yield Point(layer, "retrieval_normed", "tatoeba", language, score + NORMED)
        return
    for task, language in _probed(stage):
        share = 0.5 if (name, task) == (SEVERAL, "squad") else 1.0
        for at in STEPS:
            yield Point(at, "stored", task, language, CHANCE + decay(share * KEPT[scale], at) * (LEARNED - CHANCE))
            kept = decay(share * REPRESENTATION_KEPT[scale], at)
            yield Point(at, "refit", task, language, BASE + kept * (LEARNED - BASE))
    yield Point(STEPS[-1], "development", stage.trained[0], "en", PLAIN)
    for evaluation in stage.evaluate:
        for language in LANGUAGES:
            score = PLAIN - 0.1 * (language != "en")
            gain = 0 if name == "none" else GAIN if language == "en" else GAIN / 2
            yield Point(STEPS[-1], "zero_shot", evaluation.task, language, score + gain)


def decay(kept: float, at: int) -> float:
    """True retention at a step: from 1 down to `kept`."""
    return kept + (1 - kept) * 2 ** (-at / 8) if at < STEPS[-1] else kept


def _probed(stage: Stage) -> list[tuple[str, str]]:
    return [(probe.task, language) for probe in stage.probes for language in LANGUAGES]


def write_stage(root: Path, stage: Stage, outcome: str = "completed") -> None:
    """One stage as `trainers.run` leaves it; `running` stops half-way, without a result.

    Example scores are written for every measure but development.
    """
    entry = Store(root).open(stage)
    log = EventLog(entry)
    told = {name: PROVENANCE[name] for name in ("code", "devices", "threads")}
    log.write("attempt", job="local", scale=facts(stage.scale.name), **told)
    points = list(truth(stage))
    if outcome == "running":
        points = points[: len(points) // 2]
    tables: dict[str, list[pl.DataFrame]] = {}
    for point in points:
        scores = point.scores(stage.seed)
        log.write(
            "measured",
            at=point.at,
            measure=point.measure,
            task=point.task,
            language=point.language,
            metric=TASKS[point.task].metric,
            value=float(scores.mean()),
            examples=EXAMPLES,
            chance=CHANCE,
        )
        table = pl.DataFrame({"example": np.arange(EXAMPLES), "score": scores})
        if point.measure in ("untouched", "stored", "refit"):
            facts_ = {"measure": point.measure, "task": point.task, "language": point.language}
            table = table.select(*(pl.lit(value).alias(name) for name, value in facts_.items()), "example", "score")
            tables.setdefault(f"probe-step-{point.at:09d}", []).append(table)
        elif point.measure == "zero_shot":
            tables[f"{point.task}-{point.language}"] = [table]
        elif point.measure.startswith("retrieval"):
            normed = "-normed" * (point.measure == "retrieval_normed")
            tables[f"{point.task}{normed}-layer{point.at:02d}-{point.language}"] = [table]
    log.close()
    entry.predictions.mkdir(exist_ok=True)
    for name, parts in tables.items():
        pl.concat(parts).write_parquet(entry.predictions / f"{name}.parquet")
    if outcome != "running":
        write_json(entry.folder / "provenance.json", PROVENANCE)
        write_json(entry.folder / "result.json", result(outcome))


PROVENANCE = {
    "code": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    "python": "3.11.7",
    "packages": {"retain": "0.1.0", "torch": "2.13.0+cpu"},
    "host": "node-1",
    "devices": ["a processor"],
    "threads": 1,
    "job": {},
    "attempts": 1,
}


def result(outcome: str) -> dict[str, Any]:
    evidence = "development accuracy 0.400 is not above the majority class's 0.400" if outcome == "diverged" else None
    return {
        "outcome": outcome,
        "evidence": evidence,
        "tokens": 1_000_000,
        "probe_share": 0.08,
        "tokens_per_s": 5e4,
        "seconds": {"start": 1.0, "train": 20.0, "probe": 2.0, "evaluate": 1.5, "save": 0.5},
    }


def recorded(stage: Stage, outcome: str = "completed") -> Record:
    """What gathering makes of a stage, without values and without a store."""
    return Record(stage, facts(stage.scale.name), result(outcome), NOTHING)


def write_study(root: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> list[str]:
    """The whole study; returns the stages' keys in the plan's order."""
    study = stages(seeds)
    for stage in study:
        write_stage(root, stage)
    return [stage.key for stage in study]


def study_of(root: Path, resamples: int = 400) -> Study:
    """What analysis makes of a store."""
    records = store_records(root)
    return analyse(records, ExampleFiles(root), Bootstrap(np.random.default_rng(7), resamples))


def report(root: Path, keys: Iterable[str], out: Path, sweep: str, figures: bool | None = None, **reading: Any) -> Path:
    """The page that is written of a store."""
    return write_report(read_study(root, set(keys), sweep, **reading), out, figures)


def append_line(root: Path, key: str, line: str) -> None:
    """Add raw text to a stage's events, as a crash might."""
    with (Store(root).entry(key).folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(line)


def append_measured(root: Path, key: str, **facts_: Any) -> None:
    append_line(root, key, json.dumps({"event": "measured", **facts_}) + "\n")
