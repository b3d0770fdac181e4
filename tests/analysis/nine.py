"""One arm of a sweep with all nine tasks in all of XTREME's languages, a few rows each; trains nothing.

It writes the mirror, the store as stages leave it (predictions scored by the families' own code), and XTREME's label
files, which follow XTREME's preprocessing, not ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.analysis import fakes
from trainers.data.mirror import Mirror
from trainers.families import family, span, tagging
from trainers.stage import Evaluation, ScaleId, Stage, Training
from trainers.stage.languages import ENGLISH_NAMES
from trainers.store import Store
from trainers.store.files import write_json
from trainers.tasks import TASKS, Task
from trainers.tokens.sets import LabelledSet, TokenisedSet

TRAINED = {"mnli": ("xnli",), "pawsx": ("pawsx",), "squad": ("mlqa", "xquad"), "tydiqa": ("tydiqa",)}
TRAINED |= {"udpos": ("udpos",), "panx": ("panx",)}
RETRIEVED = ("tatoeba", "bucc")
ROWS = 6
LAYER = 2
NO_TOKENS = TokenisedSet.from_lists([[0]], [()], [0], target_width=0)
ANSWERS = ("the 21 Teams", "مدينة النجف", "七十 八", "l'école", 'a\ttab, a\nbreak and "quotes"', "21 of 8", "")


def stages(scale: str = "sandbox-m", seed: int = 1, max_examples: int | None = None) -> list[Stage]:
    """`mnli → …` for every target, its intermediate first."""
    common: dict[str, Any] = {"scale": ScaleId(fingerprint=scale, name=scale, source=scale), "data": {}, "seed": seed}
    common["intermediate"] = "mnli"
    first = Stage(kind="intermediate", train=(Training(task="mnli", recipe=fakes.RECIPE),), **common)

    def evaluations(tasks: tuple[str, ...]) -> tuple[Evaluation, ...]:
        return tuple(
            Evaluation(task=task, languages=TASKS[task].languages, max_length=64, max_examples=max_examples)
            for task in tasks
        )

    return [
        first,
        *(
            Stage(
                kind="target",
                train=(Training(task=task, recipe=fakes.RECIPE),),
                evaluate=evaluations(targets),
                parent=first.key,
                **common,
            )
            for task, targets in TRAINED.items()
        ),
        *(Stage(kind="retrieval", evaluate=evaluations((task,)), parent=first.key, **common) for task in RETRIEVED),
    ]


@dataclass
class World:
    """Where everything is, and what our own code scored."""

    root: Path
    stages: list[Stage]

    def __post_init__(self) -> None:
        self.store, self.mirror = Store(self.root / "store"), Mirror(self.root / "mirror")
        self.labels = self.root / "labels"
        self.scores: dict[str, dict[str, list[float]]] = {}
        """Task → metric → one value a language."""
        self._rng = np.random.default_rng(5)
        self._files: dict[Path, list[pa.Table]] = {}

    def entry_of(self, task: str):
        return self.store.entry(next(s.key for s in self.stages for e in s.evaluate if e.task == task))

    def build(self) -> World:
        for stage in self.stages:
            entry = self.store.open(stage)
            entry.predictions.mkdir()
            for evaluation in stage.evaluate:
                for language in evaluation.languages:
                    self._evaluate(entry.predictions, TASKS[evaluation.task], language)
            write_json(entry.folder / "result.json", fakes.result("completed"))
        for path, tables in self._files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.concat_tables(tables), path)
        return self

    def _evaluate(self, folder: Path, task: Task, language: str) -> None:
        columns, gold = getattr(self, f"_{task.family}")(task, language)
        labelled = LabelledSet(task, language, pa.table(columns), NO_TOKENS, gold)
        metrics, frame = self._predicted(labelled)
        middle = "" if task.training_task else f"-layer{LAYER:02d}"
        frame.write_parquet(folder / f"{task.name}{middle}-{language}.parquet")
        for metric, value in metrics.items():
            self.scores.setdefault(task.name, {}).setdefault(metric, []).append(value)
        assert task.test is not None
        if task.family != "mining":
            if task.test.language_column:
                columns = {**columns, task.test.language_column: [language] * ROWS}
            self._files.setdefault(self.mirror.path(task.test, language), []).append(pa.table(columns))
        self._write_labels(task, language, columns, frame)

    def _predicted(self, labelled: LabelledSet) -> tuple[dict[str, float], pl.DataFrame]:
        task, rng = labelled.task, self._rng
        if task.family == "pair":
            return family(task).score(labelled, rng.normal(size=(ROWS, len(task.labels))))
        if task.family == "retrieval":
            return family(task).score_layer(labelled, rng.normal(size=(2 * ROWS, 3)))
        if task.family == "mining":
            states = np.repeat(rng.normal(size=(ROWS, 8)), 2, axis=0)  # both sides of a pair alike, and some noise
            mined = np.concatenate([states[0::2], states[1::2]]) + rng.normal(size=(2 * ROWS, 8))
            return family(task).score_layer(labelled, mined)
        gold = labelled.table[task.columns[-1]].to_pylist()
        if task.family == "tagging":
            names = [[task.labels[tag] for tag in tags] for tags in gold]
            guessed = [[name if rng.random() < 0.6 else str(rng.choice(task.labels)) for name in one] for one in names]
            frame = pl.DataFrame({"example": range(ROWS), "prediction": guessed, "gold": names})
            return {"f1": tagging.chunk_f1(names, guessed)}, frame
        texts = [str(rng.choice([one["text"][0], *ANSWERS])) for one in gold]
        f1, exact = span.answer_scores(task.normalisation, labelled.language, texts, [one["text"] for one in gold])
        frame = pl.DataFrame({"example": range(ROWS), "prediction": texts, "score": f1})
        return {"f1": float(f1.mean()), "exact_match": float(exact.mean())}, frame

    # -- rows of each family ------------------------------------------------------------------------------

    def _pair(self, task: Task, language: str) -> tuple[dict[str, list], None]:
        labels = [str(label) for label in self._rng.choice(task.labels, ROWS)]
        return dict(zip(task.columns, ([f"{language} one"] * ROWS, ["two"] * ROWS, labels), strict=True)), None

    def _tagging(self, task: Task, language: str) -> tuple[dict[str, list], None]:
        lengths = self._rng.integers(1, 5, ROWS)
        tags = [self._rng.integers(0, len(task.labels), length).tolist() for length in lengths]
        return {task.columns[0]: [["w"] * length for length in lengths], task.columns[1]: tags}, None

    def _span(self, task: Task, language: str) -> tuple[dict[str, list], None]:
        prefix = f"{ENGLISH_NAMES[language].lower()}-" if task.name == "tydiqa" else ""
        ids = [f"{prefix}{number}-1" for number in self._rng.permutation(1000)[:ROWS]]
        texts = [str(text) for text in self._rng.choice(ANSWERS[:4], ROWS)]
        gold = [{"text": [text, "another"], "answer_start": [0, 0]} for text in texts]
        return {"id": ids, "question": ["?"] * ROWS, "context": texts, "answers": gold}, None

    def _retrieval(self, task: Task, language: str) -> tuple[dict[str, list], None]:
        english = [f" {word} of {language}\n" for word in self._rng.permutation(["zoo", "A", "b", "Été", "m", "1"])]
        return {task.columns[0]: [f"{language} {row}\n" for row in range(ROWS)], task.columns[1]: english}, None

    def _mining(self, task: Task, language: str) -> tuple[dict[str, list], pa.Table]:
        ids = [f"{side}-{number:09d}" for side in (language, "en") for number in range(ROWS)]
        gold = pa.table({"source_id": ids[: ROWS - 2], "target_id": ids[ROWS : 2 * ROWS - 2]})
        return {"id": ids, "sentence": [f"sentence {one}" for one in ids]}, gold

    # -- XTREME's label files -----------------------------------------------------------------------------

    def _write_labels(self, task: Task, language: str, columns: dict[str, list], frame: pl.DataFrame) -> None:
        folder = self.labels / {"bucc": "bucc2018"}.get(task.name, task.name)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"test-{language}.{'json' if task.family == 'span' else 'tsv'}"
        if task.family == "pair":
            lines = columns[task.columns[2]]
        elif task.family == "tagging":
            lines = [line for tags in frame["gold"].to_list() for line in [*tags, ""]][:-1]
        elif task.family == "mining":
            lines = [pair for pair in frame["gold"] if pair]
        elif task.family == "retrieval":
            english = [text.strip() for text in columns[task.columns[1]]]
            lines = [str(row) for _, row in sorted(zip(english, range(ROWS), strict=True), key=lambda one: one[0])]
        else:
            rows = zip(columns["id"], columns["context"], columns["answers"], strict=True)
            paragraphs = [
                {"context": context, "qas": [{"id": one, "answers": [{"text": text} for text in gold["text"]]}]}
                for one, context, gold in rows
            ]
            lines = [json.dumps({"version": "1.0", "data": [{"paragraphs": paragraphs}]})]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
