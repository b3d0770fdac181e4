"""A whole sweep inside one SLURM allocation: bundles are its steps, side by side as far as its tasks reach.

retain run --steps sweep.yaml         # what slurm/sweep.sbatch calls
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launch import status
from launch.arrays import make_arrays
from launch.bundles import bundle_of
from launch.costs import predict
from launch.job import REQUEUE
from launch.plan import Plan
from launch.submit import execution_at
from slurm.allocation import DEADLINE, deadline, free_port, restarts
from slurm.client import job_facts, requeue
from slurm.executor import srun
from slurm.profile import Placement, ProfileError
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store

POLL_S = 0.5
BUNDLE_S = 3600.0
"""Stages are bundled up to about this time: shorter leaves more to deal out at the end, longer saves start-ups."""


@dataclass(frozen=True)
class Allocation:
    """What SLURM gave this job."""

    job_id: str
    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    gpus: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Allocation:
        """The allocation that this process runs in.

        Raises:
            ProfileError: it runs in none.
        """
        if "SLURM_JOB_ID" not in environment:
            raise ProfileError("--steps needs a SLURM allocation: `sbatch slurm/sweep.sbatch sweep.yaml`, or salloc")
        nodes = int(environment.get("SLURM_JOB_NUM_NODES", 1))
        tasks = int(environment.get("SLURM_NTASKS", nodes))
        return cls(
            environment["SLURM_JOB_ID"],
            nodes,
            max(1, tasks // nodes),
            int(environment.get("SLURM_CPUS_PER_TASK", 1)),
            bool(environment.get("SLURM_JOB_GPUS") or environment.get("SLURM_GPUS_ON_NODE")),
        )

    def check(self, placements: Mapping[str, Placement]) -> None:
        """
        Raises:
            ProfileError: a stage asks for more than there is.
        """
        for scale, one in placements.items():
            if one.nodes > self.nodes or one.ranks_per_node > self.tasks_per_node:
                raise ProfileError(
                    f"{scale} needs {one.nodes} node(s) with {one.ranks_per_node} task(s) each; this allocation has "
                    f"{self.nodes} with {self.tasks_per_node}. Give sbatch a larger --nodes or --ntasks-per-node"
                )


@dataclass
class Steps:
    """The sweep's bundles, as far as they are started."""

    plan: Plan
    mirror: Mirror
    placements: dict[str, Placement]
    allocation: Allocation
    running: dict[subprocess.Popen[bytes], tuple[Placement, tuple[Stage, ...]]] = field(default_factory=dict)
    stopping: bool = False

    @property
    def store(self) -> Store:
        return Store(self.plan.sweep.store.resolve())

    def run(self) -> list[status.StageStatus]:
        """Run what is missing; asked to stop, let every step save and requeue the job."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._stop)
        waiting = self._bundles()
        told = False
        while self.running or (waiting and not self.stopping):
            self._reap()
            if self.stopping and not told:
                told = True
                for step in self.running:
                    step.send_signal(signal.SIGUSR2)  # srun hands it on to its tasks
            if not self.stopping:
                waiting = [bundle for bundle in waiting if not self._start(bundle)]
                if waiting and not self.running:  # what they wait for has failed
                    break
            time.sleep(POLL_S)
        if self.stopping and job_facts(self.allocation.job_id).get("Restarts", "0") == restarts(os.environ):
            print("saved; back into the queue", flush=True)
            requeue(self.allocation.job_id)
        return status.survey(self.plan, self.store)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _bundles(self) -> list[tuple[Stage, ...]]:
        """What is missing, parents first."""
        missing = {
            one.stage.key
            for one in status.survey(self.plan, self.store)
            if one.state not in (*status.SETTLED, "running")
        }
        seconds = predict(self.plan, self.store, self.mirror).seconds
        arrays = make_arrays(self.plan, {key: seconds[key] for key in missing}, {}, BUNDLE_S, len(missing) + 1)
        return [bundle for array in arrays for bundle in array.bundles]

    def _start(self, stages: tuple[Stage, ...]) -> bool:
        """Start a bundle if its parent is done and there is room; False leaves it waiting."""
        placement = self.placements[stages[0].scale.name]
        parent = stages[0].parent
        if (parent and not self.store.entry(parent).done) or self._used() + placement.ranks > self._tasks():
            return False
        name = f"{self.plan.sweep.name}-{uuid.uuid4().hex[:8]}"
        path = self.store.root / "bundles" / f"{name}.json"
        gpus = placement.ranks_per_node if self.allocation.gpus else 0
        execution = execution_at(self.plan.sweep.execution, placement)
        bundle_of(self.plan, self.mirror, stages, execution, gpus_per_node=gpus).save(path)
        command = self._command(placement, path)
        end = deadline(self.allocation.job_id)
        environment = {**os.environ, "MASTER_PORT": str(free_port(name)), **({DEADLINE: str(end)} if end else {})}
        self.running[subprocess.Popen(command, env=environment)] = (placement, stages)
        return True

    def _command(self, placement: Placement, bundle: Path) -> list[str]:
        logs = self.store.root / "bundles" / bundle.stem
        logs.mkdir()
        job = (sys.executable, "-u", "-m", "launch.job", str(bundle))
        step = srun(placement, self.allocation.cpus_per_task, logs, job)
        share = ["--exact"]
        if self.allocation.gpus:
            share.append(f"--gpus-per-node={placement.ranks_per_node}")
        return [step[0], *share, *step[1:]]

    def _reap(self) -> None:
        for step in [step for step in self.running if step.poll() is not None]:
            _, stages = self.running.pop(step)
            if step.returncode not in (0, REQUEUE):
                print(f"a step ended with {step.returncode}: {', '.join(stage.label for stage in stages)}", flush=True)

    def _used(self) -> int:
        return sum(placement.ranks for placement, _ in self.running.values())

    def _tasks(self) -> int:
        return self.allocation.nodes * self.allocation.tasks_per_node
