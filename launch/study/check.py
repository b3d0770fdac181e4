"""`retain check`: every problem of a sweep, its data, its encoders and its store, at once, before anything runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from launch.study.plan import Plan, make_plan
from launch.study.published_rows import expected_rows, subsets
from launch.study.sweep import EXAMPLES_FOR_HALF_WIDTH, PROBE_HALF_WIDTH, Sweep, half_width
from trainers.data.mirror import Mirror
from trainers.data.stagedata import Needed, needed_files
from trainers.data.tokenise import rows
from trainers.families import family, mining
from trainers.families.mining import GOLD_COLUMNS
from trainers.families.span import question_budget
from trainers.stage import Evaluation, Probe, Recipe
from trainers.stage.languages import ENGLISH
from trainers.stage.scales import Scale, has_language_model_head, locate
from trainers.tasks import TASKS, Files, Task
from trainers.tasks.intermediates import MLM
from trainers.tokens.sets import Lengths

SEEDS_FOR_STATISTICS = 3


@dataclass(frozen=True)
class Findings:
    """What a check found.  A sweep with problems does not run; notes are for the reader."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    plan: Plan | None
    """The plan, where there are no problems with the scales."""


def check(sweep: Sweep, mirror: Mirror) -> Findings:
    """Look at everything that can be looked at without running a model."""
    scales, problems = _located(sweep)
    for scale in scales:
        problems += encoder_problems(scale)
    problems += store_problems(sweep)
    plan = make_plan(sweep) if len(scales) == len(sweep.scales) else None
    problems += [*length_problems(plan), *language_model_problems(plan)] if plan else []
    if not mirror.root.is_dir():
        problems.append(
            f"mirror: {mirror.root} is not a folder; `retain fetch` fills it, or give another by `mirror:` or --mirror"
        )
    elif plan is not None:
        problems += list(data_problems(plan, mirror))
    notes = list(plan.notes) if plan else []
    if plan is not None and sweep.mirror is not None:  # the sandbox's is a world of its own
        notes += subsets(mirror, _needed(plan))
    notes += wide_probes(plan, mirror) if plan else []
    if len(sweep.seeds) < SEEDS_FOR_STATISTICS:
        notes.append(f"{len(sweep.seeds)} seed(s): intervals over seeds need {SEEDS_FOR_STATISTICS} or more")
    if "none" not in sweep.intermediates:
        notes.append("`none` is not among the intermediates: gains cannot be measured without this baseline")
    return Findings(tuple(dict.fromkeys(problems)), tuple(notes), plan)


def _located(sweep: Sweep) -> tuple[list[Scale], list[str]]:
    scales, problems = [], []
    for name in sweep.scales:
        try:
            scales.append(locate(name, sweep.mirror))
        except ValueError as error:
            problems.append(f"scales: {error}")
    return scales, problems


def encoder_problems(scale: Scale) -> list[str]:
    """What is missing from an encoder's folder."""
    if scale.folder is None:
        return [
            f"scales: {scale.name} is not on this machine; put {scale.hub_id} into the mirror as "
            f"<mirror>/{scale.hub_id} (config.json, tokenizer.json, *.safetensors), as `retain fetch` does"
        ]
    problems = []
    if not (scale.folder / "tokenizer.json").is_file():
        problems.append(f"scales: {scale.folder} has no tokenizer.json; save the fast tokenizer with the weights")
    if not any(scale.folder.glob("*.safetensors")):
        problems.append(f"scales: {scale.folder} has no *.safetensors; pickled weights are never read, so convert them")
    return problems


def wide_probes(plan: Plan, mirror: Mirror) -> list[str]:
    """Probes whose English examples alone may leave A(τ) a wider interval than the rule says."""
    notes = []
    # A large plan has a hundred thousand stages, and a task's probes all have one size.
    for task, examples in {probe.task: probe.examples for stage in plan.stages for probe in stage.probes}.items():
        files = TASKS[task].development
        assert files is not None, "an intermediate task has a development set"
        rows = min(examples, expected_rows(mirror, files, ENGLISH) or examples)
        if half_width(rows) > PROBE_HALF_WIDTH:
            notes.append(
                f"probe of {task}: {rows} English examples may give A(τ) an interval of "
                f"± {half_width(rows):.3f}; {EXAMPLES_FOR_HALF_WIDTH} give at most ± {PROBE_HALF_WIDTH}"
            )
    return notes


def language_model_problems(plan: Plan) -> Iterator[str]:
    """Encoders without the head that `+mlm` trains further."""
    for stage in plan.stages:
        folder = plan.scales[stage.scale.name].folder
        if MLM in stage.trained and folder is not None and not has_language_model_head(folder):
            yield f"{stage.intermediate}: {folder} has no language-model head (lm_head.*), which +mlm needs"


def length_problems(plan: Plan) -> Iterator[str]:
    """Sequences that do not fit an encoder, and windows that leave no room."""
    for stage in plan.stages:
        usable = plan.scales[stage.scale.name].shape.positions - 2  # XLM-R counts from padding_idx + 1 = 2
        read: list[tuple[str, Recipe | Evaluation | Probe]] = [
            (evaluation.task, evaluation) for evaluation in stage.evaluate
        ]
        read += [(training.task, training.recipe) for training in stage.train]
        read += [(probe.task, probe) for probe in stage.probes]
        for task, lengths in read:
            if lengths.max_length > usable:
                yield (
                    f"{task}: max_length {lengths.max_length} is more than the {usable} positions of "
                    f"{stage.scale.name}; set it lower under `overrides:`"
                )
            if TASKS[task].family == "span":
                try:
                    question_budget(Lengths(lengths.max_length, lengths.doc_stride))
                except ValueError as error:
                    yield f"{task}: {error}"


def store_problems(sweep: Sweep) -> list[str]:
    """Whether results could be written."""
    try:
        sweep.store.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=sweep.store) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return [f"store: cannot write to {sweep.store}: {error.strerror}; choose another with `store:` or --store"]
    return []


def _needed(plan: Plan) -> Needed:
    needed: Needed = {}
    for stage in plan.stages:
        for name, (files, languages) in needed_files(stage.train, stage.evaluate, stage.probes).items():
            before = needed.get(name, (files, ()))[1]  # another stage may read it in other languages
            needed[name] = files, tuple(dict.fromkeys((*before, *languages)))
    return needed


def data_problems(plan: Plan, mirror: Mirror) -> Iterator[str]:
    """Every split that some stage reads, in every language: there, with its columns, classes and text."""
    for name, (files, languages) in sorted(_needed(plan).items()):
        task = TASKS[name.split("/")[0]]
        for language in languages:
            yield from _split_problems(mirror, task, files, language)
    for target in plan.sweep.targets:
        wanted = plan.sweep.languages
        if wanted is not None and not mirror.languages(TASKS[target], wanted):
            yield f"languages: none of {', '.join(wanted)} is a language of {target}"


def _split_problems(mirror: Mirror, task: Task, files: Files, language: str) -> Iterator[str]:
    tables = []
    for part in files.all_files:
        path = mirror.path(part, language)
        try:
            tables.append(_sound_rows(mirror, task, part, language, part is files.gold))
        except FileNotFoundError:
            advice = "add it, or remove the language from `languages:`"
            yield f"{task.name}: {path} is missing (language {language}); {advice}"
        except KeyError as error:
            yield f"{task.name}: {error.args[0]}"
        except (pa.ArrowException, OSError) as error:
            yield f"{task.name}: {path} is not a readable parquet file ({error})"
        except ValueError as error:
            yield f"{task.name}: {path}: {error}"
    if files.gold is not None and len(tables) == len(files.all_files):  # both sides and what joins them
        *sides, gold = tables
        folder = mirror.path(files, language).parent
        yield from (f"{task.name}: {folder}: {flaw}" for flaw in mining.flaws_of_gold(sides, gold))


def _sound_rows(mirror: Mirror, task: Task, part: Files, language: str, is_gold: bool) -> pa.Table:
    """The rows of one file.

    Raises:
        ValueError (of which a file that is no parquet gives one of arrow's): something is wrong with them.
        FileNotFoundError, KeyError: the file is missing, or a column.
    """
    read = replace(task, columns=GOLD_COLUMNS) if is_gold else task
    table = rows(mirror, read, replace(part, joined=(), gold=None), language, None)
    table.validate(full=True)  # text that is no UTF-8
    if table.num_rows == 0:
        raise ValueError(f"has no rows in the language {language}")
    names, label = mirror.class_names(part, language, task.columns[-1]), task.columns[-1]
    if task.labels and names is not None and names != task.labels:
        raise ValueError(f"has the classes {', '.join(names)} in {label!r}; expected {', '.join(task.labels)}")
    if flaws := [] if is_gold else family(task).flaws(task, table):
        raise ValueError("; ".join(flaws))
    return table
