"""A small sweep that tests submit to the cluster, watch and compare with its undisturbed self."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from launch import status
from launch.estimate.placement import place
from launch.job.records import element_of, in_queue
from launch.study.plan import Plan, make_plan, mirror_of
from launch.study.sweep import load_sweep
from launch.submit.reconcile import Submitted, Submitter
from launch.submit.snapshot import Snapshot
from slurm.commands import queue
from slurm.devcluster import DevCluster
from slurm.devcluster.node import Node
from slurm.profile import Profile
from tests.cluster.jobs import wait_until
from trainers.store import Store

CODE = Path(__file__).parents[2]
UNDER_TEST = Snapshot(CODE, None, False)
"""What jobs run: the tree under test itself, not a copy of it."""
SMALL: dict[str, Any] = {
    "name": "small",
    "scales": ["sandbox-s"],
    "intermediates": ["none", "mnli"],
    "targets": ["xnli", "tatoeba"],
    "seeds": [1],
    "languages": ["en", "de"],
    "recipes": "sandbox",
    "overrides": {"*": {"max_steps": 30}},
    "probe": {"examples": 12, "examples_other": 6, "refit_examples": 12},
    "evaluation": {"max_examples": 20, "development_examples": 20},
    "execution": {"threads": 1, "checkpoint_every_s": 2},
    "tracking": {"mode": "disabled"},
}
PROFILE: dict[str, Any] = {
    "cluster": "devcluster",
    "partition": "main",
    "nodes": 4,
    "gpus_per_node": 2,
    "cpus_per_rank": 1,
    "memory_per_rank_gib": 3,
    "time_limit_min": 60,
    "signal_before_end_s": 20,
}
SETTLE_S = 600.0
"""A busy machine takes a minute to start a job; where nothing is wrong nothing waits so long."""


@dataclass(frozen=True)
class SmallSweep:
    """One sweep in one store, submitted under one profile."""

    file: Path
    profile: Profile

    @classmethod
    def write(cls, folder: Path, mirror: Path, profile: dict[str, Any] | None = None, **changes: Any) -> SmallSweep:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "sweep.yaml"
        content = {**SMALL, "mirror": str(mirror), "store": str(folder / "store"), **changes}
        file.write_text(yaml.safe_dump(content))
        return cls(file, Profile(**{**PROFILE, **(profile or {})}))

    def under(self, **changes: Any) -> SmallSweep:
        """The same sweep under another profile."""
        return replace(self, profile=Profile(**{**self.profile.model_dump(), **changes}))

    @property
    def plan(self) -> Plan:
        return make_plan(load_sweep(self.file))

    @property
    def store(self) -> Store:
        return Store(load_sweep(self.file).store.resolve())

    @property
    def submitter(self) -> Submitter:
        plan = self.plan
        placements = {scale: one.placement for scale, one in place(plan, self.profile).items()}
        return Submitter(plan, mirror_of(plan.sweep), self.profile, placements, UNDER_TEST)

    def submit(self) -> Submitted:
        return self.submitter.submit()

    def states(self) -> dict[str, str]:
        """State of each stage by label, with what the queue says."""
        queued = in_queue(self.store.root, queue())
        return {one.stage.label: one.state for one in status.survey(self.plan, self.store, queued=queued)}

    def wait(self, timeout_s: float = SETTLE_S) -> dict[str, str]:
        """States once nothing of the sweep is in the queue any more."""
        wait_until(lambda: not in_queue(self.store.root, queue()), "the sweep to leave the queue", timeout_s)
        return self.states()

    def wait_for(self, label: str, timeout_s: float = SETTLE_S) -> dict[str, str]:
        """States once one stage has a result, or its job has left the queue without."""
        key = self.key(label)

        def ended() -> bool:
            return self.store.entry(key).done or key not in in_queue(self.store.root, queue())

        wait_until(ended, f"{label} to end", timeout_s)
        return self.states()

    def key(self, label: str) -> str:
        return next(stage.key for stage in self.plan.stages if label in stage.label)

    def events(self, label: str, *kinds: str) -> list[dict[str, Any]]:
        return self.store.entry(self.key(label)).events(*kinds)

    def wait_for_step(self, label: str, step: int, timeout_s: float = SETTLE_S) -> None:
        """Until a stage has done so many steps."""

        def reached() -> bool:
            return any(event["step"] >= step for event in self.events(label, "step"))

        wait_until(reached, f"{label} to reach step {step}", timeout_s)

    def job_of(self, label: str) -> str:
        """Id of the job that holds a stage."""
        return in_queue(self.store.root, queue())[self.key(label)].job_id

    def node_of(self, job: str, cluster: DevCluster) -> Node:
        """Where the batch step and rank 0 of a job run."""
        first = cluster.run("squeue", "-h", "-r", "-j", job, "-o", "%B")
        return cluster.node(int(first.removeprefix("node")))

    def kill_rank(self, job: str, cluster: DevCluster) -> None:
        """End rank 0 of a job as the kernel would; not srun, whose command line names it, too."""
        rank = rf"^\S*python\S* -P -u -m launch.job.rank {self.store.root}/slurm/\S*/bundles/{element_of(job)}.json"
        self.node_of(job, cluster).run("pkill", "--signal=KILL", "--full", rank)

    def decisions(self) -> list[dict[str, Any]]:
        """How every job that left something to do ended and what was decided, oldest first."""
        judged = [event for stage in self.plan.stages for event in self.store.entry(stage.key).events("judged")]
        return sorted(judged, key=lambda event: event["time"])

    def logs(self) -> str:
        """All that any job printed, for a test that failed."""
        return "\n".join(
            f"== {log}\n{log.read_text(errors='replace')[-3000:]}"
            for log in sorted((self.store.root / "slurm").rglob("log/**/*.txt"))
        )


def outcome(sweep: SmallSweep) -> dict[str, Any]:
    """Every number that a sweep leaves, exactly: weights, losses, scores, predictions, by stage."""
    found: dict[str, Any] = {}
    for stage in sweep.plan.stages:
        entry = sweep.store.entry(stage.key)
        losses = {event["step"]: event["loss"] for event in entry.events("step")}
        scores = {
            tuple(event[name] for name in ("at", "measure", "task", "language", "metric", "value", "chance"))
            for event in entry.events("measured")
        }
        weights = {path.name: path.read_bytes() for path in sorted(entry.folder.rglob("*.safetensors"))}
        rows = {path.name: pl.read_parquet(path).to_dicts() for path in sorted(entry.predictions.glob("*.parquet"))}
        found[stage.label] = (losses, scores, weights, rows)
    return found
