"""What the stages of one point of a sweep share: recipes, readings, probes and fingerprints, each made once.

A large plan has a hundred thousand stages of a few hundred parts; equal parts are one object, whose identity is
computed once.
"""

from __future__ import annotations

from functools import cache

from launch.study.search import Point, book_of
from launch.study.sweep import Sweep
from trainers.data.mirror import Mirror
from trainers.data.stagedata import needed_files
from trainers.stage import Evaluation, Probe, Recipe, Training
from trainers.stage.languages import ENGLISH
from trainers.stage.recipes import Phase, recipe_for
from trainers.tasks import TASKS
from trainers.tasks.intermediates import MLM


class Parts:
    """The parts of stages at one point of the search."""

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
