"""Everything that a stage reads: which files, and the tokenised sets made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainers.data.mirror import Mirror
from trainers.data.tokenise import Lengths, TokenisedSet, rows, tokenised
from trainers.stage import Evaluation, Probe, Recipe, Stage
from trainers.tasks import ENGLISH, TASKS, Files, Task

Needed = dict[str, tuple[Files, tuple[str, ...]]]


class DataError(ValueError):
    """The mirror's data are not what the stage was planned with, or not what its tasks expect."""


def needed_files(train: tuple[str, ...], evaluate: tuple[Evaluation, ...], probe: Probe | None) -> Needed:
    """The splits that a stage reads, as `<task>/<role>` → (files, languages)."""
    needed: Needed = {}

    def need(task: Task, role: str, languages: tuple[str, ...]) -> None:
        files = getattr(task, role)
        if files is not None and languages:
            needed[f"{task.name}/{role}"] = (files, languages)

    for name in train:
        need(TASKS[name], "train", (ENGLISH,))
        need(TASKS[name], "development", (ENGLISH,))
    for evaluation in evaluate:
        need(TASKS[evaluation.task], "test", evaluation.languages)
    if probe is not None:
        task = TASKS[probe.task]
        need(task, "train", (ENGLISH,))
        need(task, "development", (ENGLISH,))
        if task.multilingual:
            need(TASKS[task.multilingual], "development", probe.languages)
    return needed


@dataclass(frozen=True)
class LabelledSet:
    """Rows of one task, split and language with their tokens."""

    task: Task
    language: str
    table: pa.Table
    examples: TokenisedSet


@dataclass
class StageData:
    """The sets of one stage."""

    train: dict[str, LabelledSet] = field(default_factory=dict)
    development: dict[str, LabelledSet] = field(default_factory=dict)
    evaluations: list[LabelledSet] = field(default_factory=list)
    probe: list[LabelledSet] = field(default_factory=list)
    """English first, then the other languages."""
    refit: LabelledSet | None = None

    @property
    def token_ids(self) -> np.ndarray:
        """Every token id that occurs in any of the sets, sorted."""
        sets = [*self.train.values(), *self.development.values(), *self.evaluations, *self.probe]
        sets += [self.refit] if self.refit else []
        return np.unique(np.concatenate([np.unique(labelled.examples.ids) for labelled in sets]))

    @classmethod
    def load(cls, stage: Stage, mirror: Mirror, cache: Path, tokenizer_folder: Path) -> StageData:
        """Read and tokenise (or open from the cache) all that `stage` needs.

        Raises:
            DataError: files are missing or have changed since the plan, or a row is malformed.
        """
        for name, (files, languages) in needed_files(stage.train, stage.evaluate, stage.probe).items():
            if missing := [mirror.path(files, language) for language in languages if not mirror.holds(files, language)]:
                raise DataError(f"{name}: {missing[0]} does not exist or lacks the language; run `retain check`")
            found = mirror.fingerprint(files, languages)
            if found != stage.data.get(name):
                raise DataError(
                    f"{name}: the files in {mirror.root} have the fingerprint {found}, but the stage was "
                    f"planned with {stage.data.get(name)}: run `retain check`, then plan again"
                )

        def read(task: Task, files: Files | None, language: str, lengths: Lengths, limit: int | None) -> LabelledSet:
            assert files is not None
            try:
                examples = tokenised(cache, mirror, task, files, language, tokenizer_folder, lengths, limit)
                return LabelledSet(task, language, rows(mirror, task, files, language, limit), examples)
            except (KeyError, ValueError, TypeError) as error:
                raise DataError(f"{mirror.path(files, language)}: {error.args[0]}") from error

        data = cls()
        for name in stage.train:
            task, recipe = TASKS[name], stage.recipe
            assert recipe is not None
            data.train[name] = read(task, task.train, ENGLISH, _lengths(recipe), recipe.max_examples)
            data.development[name] = read(task, task.development, ENGLISH, _lengths(recipe), stage.development_examples)
        for evaluation in stage.evaluate:
            task = TASKS[evaluation.task]
            data.evaluations += [
                read(task, task.test, language, _lengths(evaluation), evaluation.max_examples)
                for language in evaluation.languages
            ]
        if stage.probe is not None:
            data._load_probe(stage.probe, read)
        return data

    def _load_probe(self, probe: Probe, read: Callable[..., LabelledSet]) -> None:
        task, lengths = TASKS[probe.task], _lengths(probe)
        self.probe = [read(task, task.development, ENGLISH, lengths, probe.examples)]
        if probe.languages and probe.examples_other:
            other = TASKS[task.multilingual]
            self.probe += [
                read(other, other.development, language, lengths, probe.examples_other) for language in probe.languages
            ]
        self.refit = read(task, task.train, ENGLISH, lengths, probe.refit_examples)


def _lengths(source: Recipe | Evaluation | Probe) -> Lengths:
    return Lengths(source.max_length, source.doc_stride)
