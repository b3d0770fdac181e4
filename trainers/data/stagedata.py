"""Everything that a stage reads: which files, and the tokenised sets made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from trainers.data.mirror import Mirror
from trainers.data.tokenise import rows, tokenised
from trainers.families import family
from trainers.stage import Evaluation, Probe, Recipe, Stage, Training
from trainers.stage.languages import ENGLISH
from trainers.tasks import TASKS, Files, Task
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet

Needed = dict[str, tuple[Files, tuple[str, ...]]]


COMMONEST_OF = 20_000
"""Training rows among which the commonest answer is looked for, at the most."""


class DataError(ValueError):
    """The mirror's data are not what the stage was planned with, or not what its tasks expect."""


def needed_files(train: tuple[Training, ...], evaluate: tuple[Evaluation, ...], probes: tuple[Probe, ...]) -> Needed:
    """The splits that a stage reads, as `<task>/<role>` → (files, languages)."""
    needed: Needed = {}

    def need(name: str, files: Files | None, languages: tuple[str, ...]) -> None:
        if files is not None and languages:
            needed[name] = (files, languages)

    for training in train:
        task = TASKS[training.task]
        for files, languages in training_files(task, training.languages):
            need(f"{task.name}/{'train' if files is task.train else 'translated'}", files, languages)
        need(f"{task.name}/development", task.development, (ENGLISH,))
    for evaluation in evaluate:
        task = TASKS[evaluation.task]
        need(f"{task.name}/test", task.test, evaluation.languages)
        if task.family == "mining":
            need(f"{task.name}/development", task.development, evaluation.languages)
    for probe in probes:
        task = TASKS[probe.task]
        need(f"{task.name}/train", task.train, (ENGLISH,))
        need(f"{task.name}/development", task.development, (ENGLISH,))
        if task.multilingual:
            other = TASKS[task.multilingual]
            need(f"{other.name}/development", other.development, probe.languages)
    return needed


def training_files(task: Task, languages: tuple[str, ...]) -> Iterator[tuple[Files, tuple[str, ...]]]:
    """Where training rows in these languages lie: the task's own files, and translations of them."""
    assert task.train is not None
    original = tuple(language for language in languages if language in task.languages)
    translated = tuple(language for language in languages if language not in task.languages)
    if original:
        yield task.train, original
    if translated:
        yield task.translated, translated


@dataclass(frozen=True)
class ProbeSets:
    """What one intermediate task is probed with."""

    task: Task
    measured: tuple[LabelledSet, ...]
    """Development examples: English first, then the other languages."""
    refit: LabelledSet
    """English training examples."""


@dataclass
class StageData:
    """The sets of one stage."""

    train: dict[str, TokenisedSet] = field(default_factory=dict)
    """Training examples by task, all languages together."""
    development: dict[str, LabelledSet] = field(default_factory=dict)
    evaluations: list[LabelledSet] = field(default_factory=list)
    probes: list[ProbeSets] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    """The tasks trained on and probed, with the classes that their training rows tell."""

    @property
    def token_ids(self) -> np.ndarray:
        """Every token id that occurs in any of the sets, sorted."""
        labelled = [*self.development.values(), *self.evaluations]
        labelled += [tested.development for tested in self.evaluations if tested.development]
        labelled += [probed for probe in self.probes for probed in (*probe.measured, probe.refit)]
        sets = [*self.train.values(), *(each.examples for each in labelled)]
        return np.unique(np.concatenate([np.unique(examples.ids) for examples in sets]))

    @classmethod
    def load(cls, stage: Stage, mirror: Mirror, cache: Path, tokenizer_folder: Path) -> StageData:
        """Read and tokenise (or open from the cache) all that `stage` needs.

        Raises:
            DataError: files are missing or have changed since the plan, or a row is malformed.
        """
        for name, (files, languages) in needed_files(stage.train, stage.evaluate, stage.probes).items():
            if missing := [path for language in languages for path in mirror.missing(files, language)]:
                raise DataError(f"{name}: {missing[0]} does not exist or lacks the language; run `retain check`")
            fingerprint = mirror.fingerprint(files, languages)
            if fingerprint != stage.data.get(name):
                raise DataError(
                    f"{name}: the files in {mirror.root} have the fingerprint {fingerprint}, but the stage was "
                    f"planned with {stage.data.get(name)}: run `retain check`, then plan again"
                )

        reader = _Reader(mirror, cache, tokenizer_folder)
        data = cls()
        constants: dict[str, int | str | None] = {}
        for training in stage.train:
            task = data.tasks[training.task] = reader.with_labels(TASKS[training.task])
            recipe = training.recipe
            parts = [
                reader.read(task, files, language, _lengths(recipe), recipe.max_examples).examples
                for files, languages in training_files(task, training.languages)
                for language in languages
            ]
            data.train[task.name] = TokenisedSet.concatenate(parts)
            constants[task.name] = reader.commonest(task, training.languages)
            if task.development is not None:
                development = reader.read(task, task.development, ENGLISH, _lengths(recipe), stage.development_examples)
                data.development[task.name] = replace(development, constant=constants[task.name])
        for evaluation in stage.evaluate:
            task = data.tasks.get(evaluation.task, TASKS[evaluation.task])
            constant = constants.get(task.training_task)
            data.evaluations += [
                replace(
                    reader.read_test(task, language, _lengths(evaluation), evaluation.max_examples), constant=constant
                )
                for language in evaluation.languages
            ]
        data.probes = [reader.read_probe(probe) for probe in stage.probes]
        data.tasks |= {probe.task.name: probe.task for probe in data.probes}
        return data


@dataclass(frozen=True)
class _Reader:
    mirror: Mirror
    cache: Path
    tokenizer_folder: Path

    def with_labels(self, task: Task) -> Task:
        """The task with its classes, where the training rows tell them."""
        if task.labels or task.family != "tagging":
            return task
        assert task.train is not None
        return replace(task, labels=family(task).classes(task, self.mirror.table(task.train, ENGLISH, task.columns)))

    def read(self, task: Task, files: Files | None, language: str, lengths: Lengths, limit: int | None) -> LabelledSet:
        assert files is not None
        try:
            examples = tokenised(self.cache, self.mirror, task, files, language, self.tokenizer_folder, lengths, limit)
            table = rows(self.mirror, task, files, language, limit)
            gold = self.mirror.table(files.gold, language) if files.gold else None
            return LabelledSet(task, language, table, examples, gold)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{self.mirror.path(files, language)}: {error.args[0]}") from error

    def read_test(self, task: Task, language: str, lengths: Lengths, limit: int | None) -> LabelledSet:
        """What an evaluation scores; mining has all of its sentences, as a part of them has other pairs to find."""
        if task.family != "mining":
            return self.read(task, task.test, language, lengths, limit)
        test = self.read(task, task.test, language, lengths, None)
        if task.development is None:
            return test
        return replace(test, development=self.read(task, task.development, language, lengths, None))

    def read_probe(self, probe: Probe) -> ProbeSets:
        task, lengths = self.with_labels(TASKS[probe.task]), _lengths(probe)
        measured = [self.read(task, task.development, ENGLISH, lengths, probe.examples)]
        if probe.languages and probe.examples_other:
            other = TASKS[task.multilingual]
            measured += [
                self.read(other, other.development, language, lengths, probe.examples_other)
                for language in probe.languages
            ]
        constant = self.commonest(task, (ENGLISH,))
        refit = self.read(task, task.train, ENGLISH, lengths, probe.refit_examples)
        return ProbeSets(task, tuple(replace(one, constant=constant) for one in measured), refit)

    def commonest(self, task: Task, languages: tuple[str, ...]) -> int | str | None:
        """The commonest answer among training rows in the first of these languages; None for spans and text."""
        tell = getattr(family(task), "commonest", None)
        if tell is None:
            return None
        files, (language, *_) = next(training_files(task, languages))
        return tell(task, rows(self.mirror, task, files, language, COMMONEST_OF))


def _lengths(source: Recipe | Evaluation | Probe) -> Lengths:
    return Lengths(source.max_length, source.doc_stride, source.overflow)
