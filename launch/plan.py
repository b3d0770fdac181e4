"""A sweep turned into a deduplicated graph of stages.  Pure and instant: no torch, no tokenizer, no network."""

from __future__ import annotations

import graphlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from launch.sweep import Sweep
from trainers.data.mirror import Mirror
from trainers.data.stagedata import needed_files
from trainers.recipes import Phase, recipe_for
from trainers.scales import Scale, locate
from trainers.stage import Evaluation, Kind, Probe, Recipe, ScaleId, Stage
from trainers.tasks import ENGLISH, INTERMEDIATES, TASKS


@dataclass(frozen=True)
class Plan:
    """Every stage that a sweep needs, each once, parents before children."""

    sweep: Sweep
    stages: tuple[Stage, ...]
    scales: dict[str, Scale]
    notes: tuple[str, ...] = ()
    """What a person should know, e.g. that an intermediate is a target's own training set."""

    @cached_property
    def by_key(self) -> dict[str, Stage]:
        return {stage.key: stage for stage in self.stages}

    @property
    def trainings(self) -> int:
        return sum(bool(stage.train) for stage in self.stages)

    def counts(self) -> Counter[tuple[str, str]]:
        """Stages by (scale, kind)."""
        return Counter((stage.scale.name, stage.kind) for stage in self.stages)


def mirror_of(sweep: Sweep) -> Mirror:
    """The sweep's mirror; the sandbox's is made at first use beside the store."""
    return Mirror(sweep.mirror if sweep.mirror is not None else sandbox_mirror(sweep.store))


def sandbox_mirror(store: Path) -> Path:
    return store / "sandbox-mirror"


def make_plan(sweep: Sweep) -> Plan:
    """The whole graph of a sweep.

    Raises:
        ValueError: a scale cannot be found or is not XLM-R's architecture.
    """
    planner = _Planner(sweep)
    for name in sweep.scales:
        planner.add_scale(locate(name, sweep.mirror))
    stages = planner.stages
    order = graphlib.TopologicalSorter({key: {s.parent} if s.parent else set() for key, s in stages.items()})
    in_order = tuple(stages[key] for key in order.static_order())
    return Plan(sweep, in_order, planner.scales, tuple(dict.fromkeys(planner.notes)))


@dataclass
class _Planner:
    sweep: Sweep
    stages: dict[str, Stage] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    scale_ids: dict[str, ScaleId] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mirror = mirror_of(self.sweep)
        self._fingerprints: dict[tuple, str] = {}

    def add_scale(self, scale: Scale) -> None:
        self.scales[scale.name] = scale
        self.scale_ids[scale.name] = scale.id  # once: it reads the encoder's files
        for intermediate in self.sweep.intermediates:
            for seed in self.sweep.seeds:
                self._add_arm(scale, intermediate, seed)

    def _add_arm(self, scale: Scale, intermediate: str, seed: int) -> None:
        tasks = INTERMEDIATES[intermediate]
        parent = self._add(self._intermediate(scale, intermediate, seed)) if tasks else None
        for training_task, targets in self.trained_targets.items():
            if training_task in tasks:
                self.notes.append(
                    f"{intermediate} holds the training set of {', '.join(targets)}: that arm trains on "
                    "it twice, and retention is measured on the target's own task"
                )
            self._add(self._target(scale, intermediate, seed, parent, training_task, targets))
        for target in self.retrieved_targets:
            # Nothing is random in retrieval from the pretrained encoder: one stage serves all seeds.
            self._add(self._retrieval(scale, intermediate, seed if parent else 0, parent, target))

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

    def _intermediate(self, scale: Scale, intermediate: str, seed: int) -> Stage:
        tasks = INTERMEDIATES[intermediate]
        probe = self._probe(tasks[0]) if len(tasks) == 1 else None
        return self._stage("intermediate", scale, intermediate, seed, None, tasks, (), probe)

    def _target(
        self,
        scale: Scale,
        intermediate: str,
        seed: int,
        parent: Stage | None,
        training_task: str,
        targets: tuple[str, ...],
    ) -> Stage:
        evaluate = tuple(self._evaluation(target) for target in targets)
        probe = parent.probe if parent else None
        return self._stage("target", scale, intermediate, seed, parent, (training_task,), evaluate, probe)

    def _retrieval(self, scale: Scale, intermediate: str, seed: int, parent: Stage | None, target: str) -> Stage:
        return self._stage("retrieval", scale, intermediate, seed, parent, (), (self._evaluation(target),), None)

    def _stage(
        self,
        kind: Kind,
        scale: Scale,
        intermediate: str,
        seed: int,
        parent: Stage | None,
        train: tuple[str, ...],
        evaluate: tuple[Evaluation, ...],
        probe: Probe | None,
    ) -> Stage:
        return Stage(
            kind=kind,
            scale=self.scale_ids[scale.name],
            train=train,
            evaluate=evaluate,
            seed=seed,
            probe=probe,
            parent=parent.key if parent else None,
            intermediate=intermediate,
            recipe=self._recipe("intermediate" if kind == "intermediate" else "target", train[0]) if train else None,
            development_examples=self.sweep.evaluation.development_examples,
            data={
                name: self._fingerprint(files, languages)
                for name, (files, languages) in needed_files(train, evaluate, probe).items()
            },
        )

    def _recipe(self, phase: Phase, task: str) -> Recipe:
        return recipe_for(self.sweep.recipes, phase, task, self.sweep.overrides)

    def _evaluation(self, target: str) -> Evaluation:
        recipe = self._recipe("target", TASKS[target].training_task or target)
        return Evaluation(
            task=target,
            languages=self.mirror.languages(TASKS[target], self.sweep.languages),
            max_examples=self.sweep.evaluation.max_examples,
            max_length=recipe.max_length,
            doc_stride=recipe.doc_stride,
        )

    def _probe(self, intermediate: str) -> Probe:
        recipe, sizes = self._recipe("intermediate", intermediate), self.sweep.probe.of(intermediate)
        other = TASKS[intermediate].multilingual
        languages = self.mirror.languages(TASKS[other], self.sweep.languages) if other else ()
        return Probe(
            task=intermediate,
            languages=tuple(language for language in languages if language != ENGLISH),
            examples=sizes.examples,
            examples_other=sizes.examples_other,
            refit_examples=sizes.refit_examples,
            max_length=recipe.max_length,
            doc_stride=recipe.doc_stride,
        )

    def _fingerprint(self, files, languages: tuple[str, ...]) -> str:
        cached = (files, languages)
        if cached not in self._fingerprints:
            self._fingerprints[cached] = self.mirror.fingerprint(files, languages)
        return self._fingerprints[cached]
