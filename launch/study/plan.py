"""A sweep turned into a deduplicated graph of stages.  Pure and instant: no torch, no tokenizer, no network."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from launch.study.search import Point, book_of, deciding, points
from launch.study.sweep import Sweep
from trainers.collector import uncollected
from trainers.data.mirror import Mirror
from trainers.data.stagedata import needed_files
from trainers.stage import Evaluation, Kind, Probe, Recipe, ScaleId, Stage, Training
from trainers.stage.languages import ENGLISH
from trainers.stage.recipes import Phase, recipe_for
from trainers.stage.scales import Scale, locate
from trainers.tasks import TASKS
from trainers.tasks.intermediates import MLM, Intermediate, parse_intermediate

READING = ("max_length", "doc_stride", "overflow")
"""Fields of a recipe that decide how a task is read where it is only evaluated, too."""


@dataclass(frozen=True)
class Plan:
    """Every stage that a sweep needs, each once, parents before children."""

    sweep: Sweep
    stages: tuple[Stage, ...]
    scales: dict[str, Scale]
    notes: tuple[str, ...] = ()
    """What a person should know, e.g. that an intermediate is a target's own training set."""

    places: Mapping[str, str] = field(default_factory=dict)
    """Of stages that repeat what diverged, or start from such a one: the key that was planned in their place."""

    def place_of(self, key: str) -> str:
        """Key of the stage that was planned in the place of this one, and that jobs were submitted for."""
        return self.places.get(key, key)

    @property
    def trainings(self) -> int:
        return sum(bool(stage.train) for stage in self.stages)


def mirror_of(sweep: Sweep) -> Mirror:
    """The sweep's mirror; the sandbox's is made at first use beside the store."""
    return Mirror(sweep.mirror if sweep.mirror is not None else sandbox_mirror(sweep.store))


def sandbox_mirror(store: Path) -> Path:
    return store / "sandbox-mirror"


def make_plan(sweep: Sweep) -> Plan:
    """The whole graph of a sweep.

    Raises:
        ValueError: a scale cannot be found or is not XLM-R's architecture, or the search changes nothing.
    """
    plan = _whole(sweep)
    if idle := set(sweep.search).difference(*(stage.variant for stage in plan.stages)):
        raise ValueError(f"search: {', '.join(sorted(idle))} changes no stage of this sweep: no training uses it")
    return plan


def plan_arm(sweep: Sweep, scale: str, intermediate: str, seed: int, point: Point) -> Plan:
    """One arm of a sweep at one point of its search, which need not be on the grid.

    Raises:
        ValueError: the scale cannot be found or is not XLM-R's architecture.
    """
    only = {axis: (value,) for axis, value in point.items()}
    fields = {"scales": (scale,), "intermediates": (intermediate,), "seeds": (seed,), "search": only}
    return _whole(sweep.model_copy(update=fields))


@uncollected()
def _whole(sweep: Sweep) -> Plan:
    planner = _Planner(sweep)
    for name in sweep.scales:
        planner.add_scale(locate(name, sweep.mirror))
    stages = planner.stages
    order = graphlib.TopologicalSorter({key: {s.parent} if s.parent else set() for key, s in stages.items()})
    in_order = tuple(stages[key] for key in order.static_order())
    return Plan(sweep, in_order, planner.scales, tuple(dict.fromkeys(planner.notes)))


class Parts:
    """What the stages of one point of a search share: recipes, readings, probes and fingerprints, each made once.

    A large plan has a hundred thousand stages of a few hundred parts; equal parts are one object, whose identity is
    computed once.
    """

    def __init__(self, sweep: Sweep, mirror: Mirror, point: Point) -> None:
        self.sweep, self.mirror, self.point = sweep, mirror, point
        # Per instance, so that they end with it.
        self.recipe = cache(self._recipe)
        self.training = cache(self._training)
        self.evaluation = cache(self._evaluation)
        self.probe = cache(self._probe)
        self.during_target = cache(self._during_target)
        self.data = cache(self._data)

    @property
    def text_languages(self) -> tuple[str, ...]:
        """Languages of the text for language modelling: the sweep's, or XTREME's 40, whatever the mirror holds."""
        return TASKS[MLM].languages if self.sweep.languages is None else self.sweep.languages

    def _recipe(self, phase: Phase, task: str) -> Recipe:
        return recipe_for(self.sweep.recipes, phase, task, self.sweep.overrides, book_of(self.point))

    def _training(self, phase: Phase, task: str, languages: tuple[str, ...] = (ENGLISH,)) -> Training:
        return Training(task=task, languages=languages, recipe=self.recipe(phase, task))

    def _evaluation(self, target: str) -> Evaluation:
        recipe = self.recipe("target", TASKS[target].training_task or target)
        return Evaluation(
            task=target,
            languages=self.mirror.languages(TASKS[target], self.sweep.languages),
            max_examples=self.sweep.evaluation.max_examples,
            max_length=recipe.max_length,
            doc_stride=recipe.doc_stride,
            overflow=recipe.overflow,
        )

    def _probe(self, task: str) -> Probe:
        recipe, sizes = self.recipe("intermediate", task), self.sweep.probe.of(task)
        other = TASKS[task].multilingual
        languages = self.mirror.languages(TASKS[other], self.sweep.languages) if other else ()
        return Probe(
            task=task,
            languages=tuple(language for language in languages if language != ENGLISH),
            examples=sizes.examples,
            examples_other=sizes.examples_other,
            refit_examples=sizes.refit_examples,
            max_length=recipe.max_length,
            doc_stride=recipe.doc_stride,
            overflow=recipe.overflow,
        )

    def _during_target(self, probe: Probe) -> Probe:
        """An intermediate's probe as it is made during target training: as often as the sweep says."""
        return probe.model_copy(update={"per_doubling": self.sweep.probe.per_doubling})

    def _data(
        self, train: tuple[Training, ...], evaluate: tuple[Evaluation, ...], probes: tuple[Probe, ...]
    ) -> dict[str, str]:
        """Fingerprint of every split that is read."""
        return {
            name: self.mirror.fingerprint(files, languages)
            for name, (files, languages) in needed_files(train, evaluate, probes).items()
        }


@dataclass
class _Planner:
    sweep: Sweep
    stages: dict[str, Stage] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    scale_ids: dict[str, ScaleId] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mirror = mirror_of(self.sweep)
        self.parts = Parts(self.sweep, self.mirror, {})

    def add_scale(self, scale: Scale) -> None:
        self.scales[scale.name] = scale
        self.scale_ids[scale.name] = scale.id  # once: it reads the encoder's files
        for point in points(self.sweep.search):
            self.parts = Parts(self.sweep, self.mirror, point)
            for intermediate in map(parse_intermediate, self.sweep.intermediates):
                for seed in self.sweep.seeds:
                    self._add_arm(scale, intermediate, seed)

    def _add_arm(self, scale: Scale, intermediate: Intermediate, seed: int) -> None:
        name = intermediate.name
        parent = self._add(self._intermediate(scale, intermediate, seed)) if intermediate.tasks else None
        for training_task, targets in self.trained_targets.items():
            if training_task in intermediate.tasks:
                self.notes.append(
                    f"{name} holds the training set of {', '.join(targets)}: that arm trains on "
                    f"it twice, and retention of {training_task} is measured on the target's own task"
                )
            self._add(self._target(scale, name, seed, parent, training_task, targets))
        for target in self.retrieved_targets:
            # Nothing is random in retrieval from the pretrained encoder: one stage serves all seeds.
            self._add(self._retrieval(scale, name, seed if parent else 0, parent, target))

    @cached_property
    def trained_targets(self) -> dict[str, tuple[str, ...]]:
        """Targets by the task that is trained on for them, e.g. squad → (xquad, mlqa)."""
        groups: dict[str, tuple[str, ...]] = {}
        for target in self.sweep.targets:
            if training_task := TASKS[target].training_task:
                groups[training_task] = (*groups.get(training_task, ()), target)
        return {task: tuple(sorted(targets)) for task, targets in groups.items()}

    @cached_property
    def retrieved_targets(self) -> tuple[str, ...]:
        return tuple(target for target in self.sweep.targets if not TASKS[target].training_task)

    def _add(self, stage: Stage) -> Stage:
        return self.stages.setdefault(stage.key, stage)

    def _intermediate(self, scale: Scale, intermediate: Intermediate, seed: int) -> Stage:
        parts = self.parts
        train = [parts.training("intermediate", task, languages) for task, languages in intermediate.tasks.items()]
        if intermediate.mlm:
            train.append(parts.training("intermediate", MLM, parts.text_languages))
        probes = tuple(parts.probe(task) for task in intermediate.probed)
        return self._stage("intermediate", scale, intermediate.name, seed, None, tuple(train), (), probes)

    def _target(
        self,
        scale: Scale,
        intermediate: str,
        seed: int,
        parent: Stage | None,
        training_task: str,
        targets: tuple[str, ...],
    ) -> Stage:
        evaluate = tuple(self.parts.evaluation(target) for target in targets)
        train = (self.parts.training("target", training_task),)
        probes = tuple(map(self.parts.during_target, parent.probes)) if parent else ()
        return self._stage("target", scale, intermediate, seed, parent, train, evaluate, probes)

    def _retrieval(self, scale: Scale, intermediate: str, seed: int, parent: Stage | None, target: str) -> Stage:
        evaluate = (self.parts.evaluation(target),)
        return self._stage("retrieval", scale, intermediate, seed, parent, (), evaluate, ())

    def _stage(
        self,
        kind: Kind,
        scale: Scale,
        intermediate: str,
        seed: int,
        parent: Stage | None,
        train: tuple[Training, ...],
        evaluate: tuple[Evaluation, ...],
        probes: tuple[Probe, ...],
    ) -> Stage:
        return Stage(
            kind=kind,
            scale=self.scale_ids[scale.name],
            train=train,
            evaluate=evaluate,
            seed=seed,
            probes=probes,
            parent=parent.key if parent else None,
            intermediate=intermediate,
            variant=self._variant(kind, parent, train, evaluate),
            mixing=self.sweep.mixing if len(train) > 1 else None,
            development_examples=self.sweep.evaluation.development_examples,
            data=self.parts.data(train, evaluate, probes),
        )

    def _variant(
        self, kind: Kind, parent: Stage | None, train: tuple[Training, ...], evaluate: tuple[Evaluation, ...]
    ) -> Point:
        """What the search sets for a stage and its parent: equal for the points that share the stage."""
        point = self.parts.point
        if not point:
            return point
        phase: Phase = "intermediate" if kind == "intermediate" else "target"
        axes = set(parent.variant if parent else ())
        for training in train:
            axes |= deciding(point, phase, training.task)
        for evaluation in evaluate:
            read = TASKS[evaluation.task].training_task or evaluation.task
            axes |= deciding(point, phase, read, READING)
        return {axis: value for axis, value in point.items() if axis in axes}
