"""What W&B sweep agents were given: plain files in the store, so that neither W&B nor a job has to remember it.

    agents/<name>/agents.json           the study, and where its W&B sweep is
                  trials/<run>.given    what W&B served, word for word, and to which agent
                  trials/<run>.json     one assignment: the arm, its point, its stages, and the agent it was served to
                  trials/<run>.claims/  who carries it out (`trainers.store.claims`)
                  trials/<run>.result.json   how it ended, and the objective
                  trials/<run>.reported      W&B knows
                  closed                the sweep has nothing more to give

An assignment is one arm at one point of the search.  The moment it is served it becomes stages of the store; from then
on the store says whether it is done, and W&B is told.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from launch.study.plan import Plan, plan_arm
from launch.study.retries import with_retries
from launch.study.search import Point, points, sound_values
from launch.study.sweep import Sweep
from slurm.job import job_runs
from trainers.stage import Frozen, Stage
from trainers.stage.recipes import PHASES
from trainers.store import Store, claims
from trainers.store.files import create, write_atomically, write_json, writing
from trainers.tasks import TASKS

ARM = ("scale", "intermediate", "seed")
TEMPLATE = "template"
"""Bundle without stages: where and how an agent carries out whatever it is given."""
OBJECTIVE = "development"
"""English development score of what the arm trains last; of several targets the mean."""


class Study(Frozen):
    """A study that is handed out by a W&B sweep."""

    sweep: Sweep
    entity: str
    project: str
    id: str
    """W&B's, of its sweep."""
    grid: bool
    """Every point is to be tried, and W&B's sweep ends by itself."""
    broker: bool
    """Jobs have no network: `retain agents --broker` asks W&B for them."""

    @property
    def address(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"


class Trial(Frozen):
    """One assignment, under the name of its W&B run."""

    run: str
    assignment: dict[str, Any]
    """Scale, intermediate, seed, and a value for each axis of the search."""
    stages: tuple[Stage, ...]
    """Parents before children."""
    agent: str | None
    """To whom it was served; None where the broker leased it for whoever comes first."""


class TrialResult(Frozen):
    """How a trial ended."""

    outcome: Literal["completed", "failed"]
    evidence: str = ""
    objective: float | None = None


class AgentsFolder:
    """The folder of one W&B sweep's agents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def study(self) -> Study:
        return Study.model_validate_json((self.folder / "agents.json").read_text(encoding="utf-8"))

    @property
    def store(self) -> Store:
        return Store(self.study.sweep.store)

    @property
    def template(self) -> Path:
        """Of agents on this machine."""
        return self.folder / f"{TEMPLATE}.json"

    def write(self, study: Study) -> None:
        with writing(self.folder):
            (self.folder / "trials").mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "agents.json", study.model_dump_json(indent=1))

    # -- trials -------------------------------------------------------------------------------------------

    def take(self, run: str, assignment: Mapping[str, Any], agent: str | None) -> Trial:
        """Turn an assignment into stages of the store; the trial that is there where it was taken before.

        Raises:
            StoreError: the store cannot be written.
            ValueError: the assignment is none of this study.
        """
        if not self._path(run).exists():
            plan = self.plan_of(assignment)
            for stage in plan.stages:
                self.store.open(stage)
            trial = Trial(run=run, assignment=dict(assignment), stages=plan.stages, agent=agent)
            create(self._path(run), trial.model_dump_json(indent=1))
        return self.trial(run)

    def take_noted(self) -> None:
        """Take what was served and noted, and not taken yet: its process may have been killed in between.

        Raises:
            StoreError: the store cannot be written.
            ValueError: an assignment is none of this study.
        """
        for path in (self.folder / "trials").glob("*.given"):
            if not self._path(path.stem).exists():
                agent, _, given = path.read_text(encoding="utf-8").partition("\n")
                self.take(path.stem, assignment_of(given), agent or None)

    def forgotten(self) -> list[dict[str, Any]]:
        """Points of a grid that W&B served to a process which died before it could note them."""
        if not self.study.grid:
            return []
        known = [arm_and_point(trial.assignment) for trial in self.trials()]
        grid = itertools.product(arms(self.study.sweep), points(self.study.sweep.search))
        return [{**dict(zip(ARM, arm, strict=True)), **point} for arm, point in grid if (arm, point) not in known]

    def plan_of(self, assignment: Mapping[str, Any]) -> Plan:
        """The arm and the point that an assignment names.

        Raises:
            ValueError: it names none of this study.
        """
        sweep = self.study.sweep
        arm, point = arm_and_point(assignment)
        if arm not in arms(sweep) or set(point) != set(sweep.search):
            raise ValueError(f"{dict(assignment)} is no arm and point of the sweep {sweep.name}")
        return plan_arm(sweep, *arm, point)

    def trial(self, run: str) -> Trial:
        return Trial.model_validate_json(self._path(run).read_text(encoding="utf-8"))

    def trials(self) -> list[Trial]:
        """All that was ever given, oldest first."""
        paths = [path for path in (self.folder / "trials").glob("*.json") if not path.name.endswith(".result.json")]
        return [self.trial(path.stem) for path in sorted(paths, key=lambda path: (path.stat().st_mtime, path.name))]

    def claim(self, run: str, agent: str) -> bool:
        """Take a trial for this process, also from one that is gone; False where a living one has it."""
        try:
            claims.claim(self._claims(run), agent, job_runs)
        except claims.StageInUse:
            return False
        return True

    def agent_of(self, trial: Trial) -> str | None:
        """Who carries out a trial, or is to when it is back."""
        return claims.last_holder(self._claims(trial.run)) or trial.agent

    def result(self, run: str) -> TrialResult | None:
        path = self._path(run).with_suffix(".result.json")
        return TrialResult.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def end(self, trial: Trial, evidence: str = "") -> TrialResult:
        """Write how a trial ended, as the store has it.

        Args:
            evidence: why it did not get to its end.
        """
        result = self._judge(trial, evidence)
        write_json(self._path(trial.run).with_suffix(".result.json"), result.model_dump(mode="json"))
        return result

    def is_reported(self, run: str) -> bool:
        return self._path(run).with_suffix(".reported").exists()

    def mark_reported(self, run: str) -> None:
        write_atomically(self._path(run).with_suffix(".reported"), "")

    @property
    def closed(self) -> bool:
        return (self.folder / "closed").exists()

    def close(self) -> None:
        """W&B has nothing more to give."""
        write_atomically(self.folder / "closed", "")

    def _judge(self, trial: Trial, evidence: str) -> TrialResult:
        stages = with_retries(trial.stages, self.store.outcome, self.study.sweep.diverged.retries)
        undone = [stage.label for stage in stages if self.store.outcome(stage.key) is None]
        if undone:
            return TrialResult(outcome="failed", evidence=evidence or f"{', '.join(undone)} has no result")
        score = objective(stages, self.store)
        if score is None:
            return TrialResult(outcome="failed", evidence="nothing of it was trained to its end")
        return TrialResult(outcome="completed", objective=score)

    def _path(self, run: str) -> Path:
        return self.folder / "trials" / f"{run}.json"

    def _claims(self, run: str) -> Path:
        return self._path(run).with_suffix(".claims")


def arms(sweep: Sweep) -> list[tuple[str, str, int]]:
    """Scale, intermediate and seed of every arm."""
    return [(scale, name, seed) for scale in sweep.scales for name in sweep.intermediates for seed in sweep.seeds]


def arm_and_point(assignment: Mapping[str, Any]) -> tuple[tuple[str, str, int], Point]:
    """What an assignment names, its values as a recipe holds them: W&B gives pairs as lists, and some numbers as text.

    Raises:
        ValueError: a part of the arm is missing, or a value is none of its axis.
    """
    rest = dict(assignment)
    scale, intermediate, seed = (rest.pop(name, None) for name in ARM)
    point: Point = {axis: sound_values(axis, [value])[0] for axis, value in rest.items()}
    return (scale, intermediate, seed), point


def objective(stages: tuple[Stage, ...], store: Store) -> float | None:
    """What a trial is judged by; None where nothing was measured."""
    kinds = [kind for kind in reversed(PHASES) if any(stage.kind == kind for stage in stages)]
    scores = [
        event["value"]
        for stage in stages
        if kinds and stage.kind == kinds[0]
        for event in store.entry(stage.key).events("measured")
        if event["measure"] == "development" and event["metric"] == TASKS[event["task"]].metric
    ]
    return sum(scores) / len(scores) if scores else None


def assignment_of(config: str) -> dict[str, Any]:
    """What `wandb agent` wrote for its program: parameter → value.

    Args:
        config: the text of the file that WANDB_SWEEP_PARAM_PATH names.
    """
    import yaml

    given = yaml.safe_load(config)
    return json.loads(
        json.dumps({name: parameter["value"] for name, parameter in given.items() if name != "wandb_version"})
    )
