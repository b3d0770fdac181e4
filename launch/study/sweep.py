"""The sweep file: what a researcher writes.  Every mistake in it is told at once, with the nearest valid name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator

from launch.study.search import LARGEST_GRID, PLACES, parts, sound_values
from slurm.profile import nearest, one_line, sentences
from trainers.stage import Execution, Frozen, Mixing, Recipe
from trainers.stage.recipes import BOOKS, recipe_for
from trainers.stage.scales import KNOWN, SANDBOX
from trainers.store.tracking import Tracking
from trainers.tasks import TARGETS, TASKS
from trainers.tasks.intermediates import UnknownName, parse_intermediate
from trainers.tasks.intermediates import names as intermediate_names


class SweepError(ValueError):
    """Problems of a sweep, all of them, one a line."""


PROBE_HALF_WIDTH = 0.04
"""Half of the 95 % interval of A(τ) that English examples alone may leave, whatever the score."""


def half_width(examples: int) -> float:
    """Half of the 95 % interval of a mean score in [0, 1] over so many examples, at its widest: at a score of ½."""
    return 1.96 * 0.5 / math.sqrt(examples)


EXAMPLES_FOR_HALF_WIDTH = math.ceil((half_width(1) / PROBE_HALF_WIDTH) ** 2)


class ProbeSizes(Frozen):
    """Number of examples of a probe; all scales and seeds share the same examples.

    The numbers follow from precision, not from cost.  `retain plan` predicts what probing costs, and the last line of
    each stage says what it cost.
    """

    examples: int = Field(default=EXAMPLES_FOR_HALF_WIDTH, gt=0)
    """English development examples of the intermediate task; with 601, A(τ) has an interval of at most ± 0.04."""
    examples_other: int = Field(default=100, ge=0)
    """Examples for each other language; 0 probes in English only."""
    refit_examples: int = Field(default=500, gt=1)
    """English training examples to which the linear head is fitted; a tenth of it, up to 64, are its dimensions."""


class ProbeSettings(ProbeSizes):
    """Size of all probes, and of those that differ.  Each task of an intermediate has its own probe."""

    per_doubling: int = Field(default=1, gt=0, le=16)
    """Probes from one training step to twice that step: 1 probes at steps 0, 1, 2, 4, 8 … T."""
    by_task: dict[str, ProbeSizes] = Field(default_factory=dict)
    """Sizes for one intermediate task."""

    @field_validator("by_task")
    @classmethod
    def _known_tasks(cls, sizes: dict[str, ProbeSizes]) -> dict[str, ProbeSizes]:
        _known(
            tuple(sizes), [name for name, task in TASKS.items() if task.role == "intermediate"], "an intermediate task"
        )
        return sizes

    def of(self, task: str) -> ProbeSizes:
        """The sizes that hold for one intermediate task."""
        return self.by_task.get(task, self)


class EvaluationSettings(Frozen):
    """How much is scored when a training has ended."""

    max_examples: int | None = Field(default=None, gt=0)
    """Largest number of test examples per language; None is all."""
    development_examples: int = Field(default=500, gt=0)
    """English development examples that decide whether a training has diverged."""
    retrieval_depth: float = Field(default=7 / 12, gt=0, le=1)
    """Layer at which retrieval is compared, as a share of the encoder's layers; choose it before you see results.

    7/12 is layer 14 of 24, as in XTREME and X-STILTs.  All layers are measured and shown in any case.
    """


class Diverged(Frozen):
    """What to do with a training that ends at or below the majority class."""

    retries: int = Field(default=0, ge=0, le=10)
    """How often it is run again with other random numbers, at once and in the same job.

    The first attempt that does not diverge counts, under the seed's own name.
    """


class Sweep(Frozen):
    """The grid of scales × intermediates × targets × seeds, and how its stages are run."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Group of the W&B runs and title of the report."""
    store: Path
    """Folder of all results, on a disk that every job sees; relative to the folder where you run the command."""
    mirror: Path | None = None
    """Folder of the data sets, laid out as on the Hugging Face hub; None is the embedded sandbox."""
    scales: tuple[str, ...] = Field(min_length=1)
    """base, large, xl, xxl, sandbox-s, sandbox-m, sandbox-l, or the folder or hub id of an XLM-R encoder."""
    intermediates: tuple[str, ...] = Field(min_length=1)
    """What phase 2 trains on: none (the baseline for gains), mnli, mnli+squad, all9, mnli+mlm, mnli@de-ru (translated)
    … (`trainers.tasks.intermediates`)."""
    targets: tuple[str, ...] = Field(min_length=1)
    """XTREME tasks of phase 3; targets with the same training set are trained once."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    """Seeds, the same for all arms, so that comparisons are paired; statistics need three or more."""
    languages: tuple[str, ...] | None = None
    """Languages to evaluate in, and of text for `+mlm`: two-letter codes; None is all official ones of each task."""
    recipes: str = "xstilts"
    """The book of recipes: xstilts, xtreme or sandbox."""
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Recipe fields to change, under `*`, `<phase>.*`, `<task>` or `<phase>.<task>`; later ones win."""
    search: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Values of recipe fields to try, in every combination; arms are compared at their best (`launch.study.search`)."""
    mixing: Mixing = Mixing()
    """How an intermediate with several tasks shares its steps among them."""
    probe: ProbeSettings = ProbeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    diverged: Diverged = Diverged()
    execution: Execution = Execution()
    tracking: Tracking = Tracking()

    @field_validator("store", "mirror")
    @classmethod
    def _on_one_line(cls, path: Path | None) -> Path | None:
        """In a job's script a line break ends the #SBATCH line, however it is quoted, and what follows is run."""
        if path is not None:
            one_line(str(path.absolute()))
        return path

    @field_validator("scales", "intermediates", "targets", "seeds", "languages")
    @classmethod
    def _no_repeats(cls, values: tuple | None) -> tuple | None:
        repeated = sorted({str(value) for value in values or () if (values or ()).count(value) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} is named more than once")
        return values

    @field_validator("intermediates")
    @classmethod
    def _known_intermediates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        problems: list[str] = []
        meant: dict[tuple, str] = {}
        for name in names:
            try:
                intermediate = parse_intermediate(name)
                same = meant.setdefault((tuple(intermediate.tasks.items()), intermediate.mlm), name)
                if same != name:
                    problems.append(f"{same!r} and {name!r} are the same intermediate")
            except UnknownName as error:
                problems.append(f"{error.part!r} is not an intermediate: {nearest(error.part, intermediate_names())}")
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return names

    @field_validator("targets")
    @classmethod
    def _known_targets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _known(names, TARGETS, "a target")

    @field_validator("scales")
    @classmethod
    def _plausible_scales(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        plain = [name for name in map(one_line, names) if "/" not in name and not Path(name).is_dir()]
        return _known(names, [*KNOWN, *SANDBOX], "a scale", judged=plain)

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        spoken = sorted({language for task in TASKS.values() for language in task.languages})
        return names and _known(names, spoken, "a language of XTREME")

    @field_validator("recipes")
    @classmethod
    def _known_book(cls, name: str) -> str:
        return _known((name,), BOOKS, "a book of recipes")[0]

    @field_validator("overrides")
    @classmethod
    def _sound_overrides(cls, overrides: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        _known(tuple(overrides), sorted(PLACES.values()), "a key of a book of recipes")
        problems = []
        for key, fields in overrides.items():
            try:
                recipe_for("sandbox", "target", "mnli", {"*": fields})
            except ValidationError as error:
                problems += [f"{key}.{problem}" for problem in sentences(error, Recipe)]
        if problems:
            raise ValueError("; ".join(problems))
        return overrides

    @field_validator("search")
    @classmethod
    def _sound_search(cls, search: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        problems = [problem for axis, values in search.items() for problem in _axis_problems(axis, values)]
        sizes = [len(values) for values in search.values()]
        if (count := math.prod(sizes)) > LARGEST_GRID:
            problems.append(
                f"{' × '.join(map(str, sizes))} = {count:,} points, and each point is a whole sweep; "
                f"a grid may have at most {LARGEST_GRID}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return {axis: sound_values(axis, values) for axis, values in search.items()}


def _axis_problems(axis: str, values: tuple[Any, ...]) -> list[str]:
    place, field = parts(axis)
    if place not in PLACES:
        expected = f"<field>, <phase>.<field>, <task>.<field> or <phase>.<task>.<field>; {nearest(place, PLACES)}"
        return [f"{axis}: {place!r} is neither a phase nor a task: expected {expected}"]
    if field not in Recipe.model_fields:
        return [f"{axis}: {field!r} is not a field of the recipe: {nearest(field, Recipe.model_fields)}"]
    if len(values) < 2:
        return [f"{axis}: holds {len(values)} value(s), a search needs two or more; put one under `overrides:`"]
    try:
        sound = sound_values(axis, values)
    except ValidationError as error:
        invalid = [
            (problem["msg"].lower().removeprefix("value error, "), problem["input"]) for problem in error.errors()
        ]
        return [f"{axis}: {message} (found {value!r})" for message, value in invalid]
    repeated = [value for value, count in Counter(sound).items() if count > 1]
    return [f"{axis}: {', '.join(map(str, repeated))} is named more than once"] if repeated else []


def _known(
    names: tuple[str, ...], valid: Iterable[str], what: str, judged: Iterable[str] | None = None
) -> tuple[str, ...]:
    valid = list(valid)
    wrong = [name for name in (names if judged is None else judged) if name not in valid]
    if wrong:
        raise ValueError("; ".join(f"{name!r} is not {what}: {nearest(name, valid)}" for name in wrong))
    return names


def load_sweep(path: Path, **changes: Any) -> Sweep:
    """Read a sweep file.

    Args:
        changes: top-level fields from the command line that replace the file's (None changes nothing).

    Raises:
        SweepError: the file cannot be read, is not YAML, or has mistakes: all of them, with what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise SweepError(f"{path}: is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise SweepError(f"{path}: holds {type(content).__name__}, expected `key: value` lines (see launch/sweeps/)")
    content.update({name: value for name, value in changes.items() if value is not None})
    try:
        return Sweep(**content)
    except TypeError as error:
        raise SweepError(f"{path}: keys must be words: {error}") from error
    except ValidationError as error:
        raise SweepError("\n".join(f"{path}: {problem}" for problem in sentences(error, Sweep))) from error
