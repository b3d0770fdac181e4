"""A whole sweep inside one SLURM allocation: bundles are its steps, side by side as far as its tasks reach.

    retain run --steps sweep.yaml         # what slurm/sweep.sbatch calls

Steps are written down, judged and tried again as the elements of a job array are; only for the end of the allocation is
the job requeued, and no node of it is left out.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from launch import status
from launch.estimate.costs import predict
from launch.estimate.placement import speed_of
from launch.job.judge import Attempt
from launch.job.records import ArrayFolder
from launch.study.plan import Plan
from launch.submit.arrays import Array, make_arrays
from launch.submit.send import Sender
from launch.submit.snapshot import NO_CHECKOUT
from slurm.commands import requeue
from slurm.failures.causes import Cause
from slurm.job import SUPERSEDED, ended_as, environment_of_ranks
from slurm.probe import LONGEST_MIN
from slurm.profile import Profile, ProfileError
from slurm.script import srun
from slurm.sizing.memory import Placement
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store

POLL_S = 0.5
BUNDLE_S = 3600.0
"""Stages are bundled up to about this time: shorter leaves more to deal out at the end, longer saves start-ups."""
AFTER_A_FAULT_S = 60.0
"""What the cluster brought down is tried again so much later; a requeued job, too, waits."""


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

    @property
    def profile(self) -> Profile:
        """All that is known of the cluster where there is no cluster file."""
        return Profile(
            cluster="this allocation",
            partition="allocation",
            nodes=self.nodes,
            gpus_per_node=self.tasks_per_node if self.gpus else 0,
            cpus_per_rank=self.cpus_per_task,
            time_limit_min=LONGEST_MIN,
        )

    def check(self, placements: Mapping[str, Placement]) -> None:
        """
        Raises:
            ProfileError: a stage asks for more than there is.
        """
        for scale, placement in placements.items():
            if placement.nodes > self.nodes or placement.ranks_per_node > self.tasks_per_node:
                raise ProfileError(
                    f"{scale} needs {placement.nodes} node(s) with {placement.ranks_per_node} task(s) each; this "
                    f"allocation has {self.nodes} with {self.tasks_per_node}. Give sbatch a larger --nodes or "
                    "--ntasks-per-node"
                )


@dataclass(frozen=True)
class Step:
    """One bundle, and when it may be tried."""

    folder: ArrayFolder
    index: int
    stages: tuple[Stage, ...]
    not_before: float = 0.0
    """On the monotonic clock."""

    @property
    def placement(self) -> Placement:
        return self.folder.record.placement


@dataclass
class Steps:
    """The sweep's bundles, as far as they are started."""

    plan: Plan
    mirror: Mirror
    profile: Profile
    placements: dict[str, Placement]
    """By scale."""
    allocation: Allocation
    waiting: list[Step] = field(default_factory=list)
    running: dict[subprocess.Popen[bytes], tuple[Step, Attempt]] = field(default_factory=dict)
    stopping: bool = False

    @property
    def store(self) -> Store:
        return Store(self.plan.sweep.store.resolve())

    def run(self) -> list[status.StageStatus]:
        """Run what is missing; asked to stop, let every step save and requeue the job."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._stop)
        self.waiting = [step for array in self._arrays() for step in self._written_down(array)]
        signalled = False
        while self.running or (self.waiting and not self.stopping):
            self._reap()
            if self.stopping and not signalled:
                signalled = True
                for step in self.running:
                    step.send_signal(signal.SIGUSR2)  # srun hands it on to its tasks
            if not self.stopping:
                self.waiting = [step for step in self.waiting if not self._start(step)]
                if not self.running and all(_in_turn(step) for step in self.waiting):
                    break  # what they wait for has failed
            time.sleep(POLL_S)
        # A job that a person has ended stays ended.
        if self.stopping and self.waiting and ended_as(os.environ) is None:
            print("saved; back into the queue", flush=True)
            requeue(self.allocation.job_id)
        return status.survey(self.plan, self.store)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _arrays(self) -> list[Array]:
        """What is missing, parents first; what has failed is left to a person, as `retain submit` does."""
        left_out = (*status.SETTLED, "running", "failed", "blocked")
        missing = {
            progress.stage.key for progress in status.survey(self.plan, self.store) if progress.state not in left_out
        }
        seconds = predict(self.plan, self.store, self.mirror, speed_of(self.profile), self.placements).seconds
        return make_arrays(self.plan, {key: seconds[key] for key in missing}, {}, BUNDLE_S, len(missing) + 1)

    def _written_down(self, array: Array) -> Iterator[Step]:
        """The array's bundles as files of the store, where `retain why` and `retain tail` find them."""
        minutes, placement = math.ceil(array.seconds / 60), self.placements[array.scale]
        folder = self._sender.folder(self.plan.sweep.name, array.bundles)
        self._sender.write(folder, array.scale, placement, minutes, array.bundles)
        for index, stages in enumerate(array.bundles):
            yield Step(folder, index, stages)

    @property
    def _sender(self) -> Sender:
        """What runs here has what this allocation has, whatever the cluster file says of others."""
        given = self.allocation.profile.model_dump(include={"nodes", "gpus_per_node", "cpus_per_rank"})
        return Sender(self.plan, self.mirror, self.profile.model_copy(update=given), NO_CHECKOUT)

    def _start(self, step: Step) -> bool:
        """Start a step if its time has come, its parent is done and there is room; False leaves it waiting."""
        parent = step.stages[0].parent
        if not _in_turn(step) or (parent and not self.store.entry(parent).done):
            return False
        if self._used() + step.placement.ranks > self._tasks():
            return False
        attempt = Attempt(step.folder, step.index)
        logs = step.folder.rank_logs(step.index)
        logs.mkdir(exist_ok=True)
        options = ["--exact"]
        if self.allocation.gpus:
            options.append(f"--gpus-per-node={step.placement.ranks_per_node}")
        call = srun(step.placement, self.allocation.cpus_per_task, logs, attempt.command, options)
        with step.folder.batch_log(step.index).open("ab") as log:
            process = subprocess.Popen(call, env=environment_of_ranks(), stdout=log, stderr=log)
        self.running[process] = step, attempt
        return True

    def _reap(self) -> None:
        """Judge the steps that have ended; those to be tried again wait."""
        for process in [process for process in self.running if process.poll() is not None]:
            step, attempt = self.running.pop(process)
            state = ended_as(os.environ)
            if state == SUPERSEDED:
                self.stopping = True
                continue
            # Not the allocation's deadline: a step that begins shortly before it has not run out of its own time.
            decision = attempt.judge(process.returncode, state, deadline=None)
            if decision.cause != Cause.COMPLETED:
                print(f"{', '.join(stage.label for stage in step.stages)}: {decision.because}", flush=True)
            if decision.action != "stop":
                pause = AFTER_A_FAULT_S if decision.action == "requeue" else 0.0
                self.waiting.append(replace(step, not_before=time.monotonic() + pause))

    def _used(self) -> int:
        return sum(step.placement.ranks for step, _ in self.running.values())

    def _tasks(self) -> int:
        return self.allocation.nodes * self.allocation.tasks_per_node


def _in_turn(step: Step) -> bool:
    return time.monotonic() >= step.not_before
