"""XTREME's submission folder of one arm of a sweep: `<task>/test-<language>.tsv`, or `.json` for question answering.

    arm = choose_arm(plan.stages, "large", "mnli", seed=1)
    written = write_submission(store, mirror, arm, out, layer=14)

Format: google-research/xtreme, README ("Submissions") and the readers of evaluate.py.  Everything is read and checked
before the first file is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analysis.benchmark.xtreme import NAMES, NINE
from trainers.data.mirror import Mirror
from trainers.data.tokenise import chosen_rows
from trainers.stage import Evaluation, Stage
from trainers.store import Store
from trainers.store.files import write_atomically, writing
from trainers.tasks import TASKS, Task


@dataclass(frozen=True)
class Arm:
    """The stages of one scale, intermediate and seed."""

    scale: str
    name: str
    stages: tuple[Stage, ...]
    """Target trainings and retrieval."""


@dataclass(frozen=True)
class Written:
    """What a submission holds."""

    files: tuple[Path, ...]
    gaps: tuple[str, ...]
    """What an official one has and this one lacks; empty unless it was asked for partially."""
    notes: tuple[str, ...]
    """What a person should know before sending it."""


NOTES = {
    "udpos": (
        "udpos: the hub splits fused words where XTREME keeps them (German “im”, French “du”), so that these "
        "sentences have more lines than in XTREME's label files"
    ),
}
"""Where the hub's rows are not those of XTREME's own preprocessing."""


def choose_arm(
    stages: Sequence[Stage], scale: str | None, intermediate: str, seed: int, settings: Sequence[str] = ()
) -> Arm:
    """The target trainings and retrieval stages of one arm.

    Args:
        stages: a whole plan.
        scale: may be None where the plan has one only.
        settings: of a search, `<axis>=<value>` of each axis.

    Raises:
        ValueError: there is no such arm, or no scale or point was named among several.
    """
    last_attempts = {stage.first_attempt: stage for stage in stages}.values()
    ends = [stage for stage in last_attempts if stage.evaluate]
    scales = list(dict.fromkeys(stage.scale.name for stage in ends))
    if scale is None and len(scales) == 1:
        scale = scales[0]
    if scale not in scales:
        found = "no scale was named" if scale is None else f"the sweep has no scale {scale!r}"
        raise ValueError(f"{found}: choose one of {', '.join(scales)} by --scale")
    ends = [stage for stage in ends if stage.scale.name == scale]
    names = list(dict.fromkeys(stage.intermediate for stage in ends))
    if intermediate not in names:
        raise ValueError(f"the sweep has no intermediate {intermediate!r}: choose one of {', '.join(names)}")
    ends = [stage for stage in ends if stage.intermediate == intermediate]
    ends = _at_point(ends, settings)
    seeds = sorted({stage.seed for stage in ends if stage.train})
    chosen = [stage for stage in ends if stage.seed == seed or _is_of_all_seeds(stage)]
    if not chosen or (seeds and seed not in seeds):
        raise ValueError(f"{scale}: {intermediate} has no seed {seed}: choose one of {', '.join(map(str, seeds))}")
    return Arm(scale, " · ".join([scale, intermediate, *settings, f"seed {seed}"]), tuple(chosen))


def _at_point(stages: Sequence[Stage], settings: Sequence[str]) -> list[Stage]:
    """The stages at one point of a search; all where nothing is searched."""
    searched: dict[str, dict[str, None]] = {}
    for stage in stages:
        for setting in stage.settings:
            searched.setdefault(_axis(setting), {})[setting] = None
    of_each = len(settings) == len(searched) == len({_axis(setting) for setting in settings})
    if not of_each or not all(setting in searched.get(_axis(setting), ()) for setting in settings):
        choices = "; ".join(f"one of {', '.join(values)}" for values in searched.values())
        choice = f"name by --settings {choices}" if searched else "this arm is not searched, leave out --settings"
        raise ValueError(f"{', '.join(settings) or 'no settings'}: {choice}")
    return [stage for stage in stages if set(stage.settings) <= set(settings)]


def _axis(setting: str) -> str:
    return setting.split("=")[0]


def _is_of_all_seeds(stage: Stage) -> bool:
    """Retrieval from the pretrained encoder, in which nothing is random."""
    return stage.kind == "retrieval" and stage.parent is None


def write_submission(
    store: Store, mirror: Mirror, arm: Arm, out: Path, *, layer: int, partial: bool = False
) -> Written:
    """Write every file of XTREME's nine tasks and their official languages.

    Args:
        mirror: the one that the stages were planned with: ids and the order of the rows are its.
        out: a folder that is new or empty.
        layer: where retrieval is read.
        partial: write what there is, and tell what is missing.

    Raises:
        ValueError: `out` holds something, something is missing (all of it is named), or a prediction does not fit the
            format.
        StoreError: `out` cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; name a new one, so that no old file is sent along")
    texts: dict[Path, str] = {}
    gaps: list[str] = []
    for name in NINE:
        found = [(stage, one) for stage in arm.stages for one in stage.evaluate if one.task == name]
        trouble = _trouble(store, found[0][0]) if found else "is not a target of this sweep"
        if trouble:
            gaps.append(f"{name}: {trouble}")
            continue
        files, missing = _Reader(store, mirror, *found[0], layer).texts()
        texts |= files
        gaps += missing
    if gaps and not partial:
        lines = "\n".join(f"  {gap}" for gap in gaps)
        raise ValueError(
            f"{arm.name} is no whole submission, which takes every example of nine tasks:\n{lines}\n"
            "Run what is missing (without `max_examples`), or write what there is by --partial."
        )
    if not texts:
        raise ValueError(f"{arm.name}: there is nothing to write:\n" + "\n".join(f"  {gap}" for gap in gaps))
    for path, text in texts.items():
        with writing(out / path):
            (out / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out / path, text)
    notes = tuple(note for task, note in NOTES.items() if any(path.parent.name == task for path in texts))
    return Written(tuple(out / path for path in texts), tuple(gaps), notes)


def _trouble(store: Store, stage: Stage) -> str:
    """Why a stage's predictions may not be sent; empty where they may."""
    result = store.entry(stage.key).result
    parent = store.entry(stage.parent).result if stage.parent else None
    if result is None:
        return f"stage {stage.key} ({stage.label}) has not finished; run the sweep"
    if result["outcome"] == "diverged":
        return f"stage {stage.key} ({stage.label}) diverged: {result.get('evidence') or 'no evidence was left'}"
    if parent and parent["outcome"] == "diverged":
        return f"the intermediate of stage {stage.key} ({stage.label}) diverged"
    return ""


@dataclass(frozen=True)
class _Reader:
    """One task's predictions, as the texts of its files."""

    store: Store
    mirror: Mirror
    stage: Stage
    evaluation: Evaluation
    layer: int

    def texts(self) -> tuple[dict[Path, str], list[str]]:
        """By path in the folder; and what is missing."""
        task = TASKS[self.evaluation.task]
        suffix, form = FORMATS[task.family]
        folder, middle = NAMES.get(task.name, task.name), "" if task.training_task else f"-layer{self.layer:02d}"
        texts: dict[Path, str] = {}
        gaps = []
        if lacking := [language for language in task.languages if language not in self.evaluation.languages]:
            gaps.append(f"{task.name}: was not evaluated in {', '.join(lacking)}")
        for language in (language for language in task.languages if language in self.evaluation.languages):
            path = self.store.entry(self.stage.key).predictions / f"{task.name}{middle}-{language}.parquet"
            if not path.is_file():
                gaps.append(f"{task.name} {language}: {path} does not exist")
                continue
            frame = pl.read_parquet(path, columns=["example", "prediction"]).sort("example")
            predictions = frame["prediction"].to_list()
            try:
                if task.family != "mining":  # which always has all sentences, and as many pairs as it finds
                    gaps += self._fewer(task, language, len(predictions))
                texts[Path(folder, f"test-{language}.{suffix}")] = form(task, predictions, self._keys(task, language))
            except (ValueError, KeyError) as error:
                raise ValueError(f"{path}: {error.args[0]}; nothing was written") from error
        return texts, gaps

    def _fewer(self, task: Task, language: str, predictions: int) -> list[str]:
        """What to say where examples were left out.

        Raises:
            ValueError: the file is not of this evaluation.
        """
        assert task.test is not None
        official = self.mirror.count(task.test, language)
        expected = min(official, self.evaluation.max_examples or official)
        if predictions != expected:
            raise ValueError(f"holds {predictions} predictions, but {expected} examples were to be evaluated")
        return [f"{task.name} {language}: {expected:,} of {official:,} examples were evaluated"] * (expected < official)

    def _keys(self, task: Task, language: str) -> list[str]:
        """Of each evaluated row what stands for it: a question's id, or Tatoeba's English sentence; else nothing."""
        column = {"span": "id", "retrieval": task.columns[-1]}.get(task.family)
        if column is None:
            return []
        assert task.test is not None
        keys = self.mirror.table(task.test, language, (column,))[column]
        return keys.take(chosen_rows(len(keys), self.evaluation.max_examples)).to_pylist()


def _labels(task: Task, predictions: list[str], keys: list[str]) -> str:
    """A class name a line."""
    _refuse_other(predictions, task)
    return _lines(predictions)


def _tags(task: Task, predictions: list[list[str]], keys: list[str]) -> str:
    """A tag a line, an empty line between sentences and none at the end."""
    for row, tags in enumerate(predictions):
        if not tags:
            raise ValueError(f"sentence {row} has no tags, which the format cannot tell from two line breaks")
        _refuse_other(tags, task)
    return "\n".join(map(_lines, predictions))


def _answers(task: Task, predictions: list[str], keys: list[str]) -> str:
    """One object, from the question's id to the answer; ASCII, because XTREME's reader leaves the encoding open."""
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the question id {twice!r} occurs more than once")
    return json.dumps(dict(zip(keys, predictions, strict=True)), indent=1) + "\n"


def _pairs(task: Task, predictions: list[str], keys: list[str]) -> str:
    """`source id<tab>English id` a line; pairs that are gold and were not mined have no line."""
    mined = [pair for pair in predictions if pair]
    for pair in mined:
        if len(pair.split("\t")) != 2 or pair.split() != pair.split("\t"):
            raise ValueError(f"{pair!r} is not two ids and a tab between them")
    return _lines(mined)


def _indices(task: Task, predictions: list[str], keys: list[str]) -> str:
    """For each English sentence, in alphabetical order (XTREME's), the place of the foreign one, counted from 0."""
    for prediction in predictions:
        if not prediction.isdecimal() or int(prediction) >= len(predictions):
            raise ValueError(f"{prediction!r} is not the place of one of {len(predictions)} sentences")
    order = sorted(range(len(predictions)), key=lambda row: keys[row].strip())
    return _lines([predictions[row] for row in order])


def _refuse_other(predictions: Sequence[str], task: Task) -> None:
    for prediction in predictions:
        if prediction not in task.labels:
            raise ValueError(f"{prediction!r} is none of {', '.join(task.labels)}")


def _lines(words: Sequence[str]) -> str:
    return "".join(f"{word}\n" for word in words)


Form = Callable[[Task, list, list[str]], str]
FORMATS: dict[str, tuple[str, Form]] = {
    "pair": ("tsv", _labels),
    "tagging": ("tsv", _tags),
    "span": ("json", _answers),
    "mining": ("tsv", _pairs),
    "retrieval": ("tsv", _indices),
}
"""How each family is written: the suffix, and the text of one file."""
