"""Submitting is reconciling: the sweep is the desired state, and only what is missing goes to the queue.

Safe to repeat after anything.  What is done is in the store, what is under way in squeue, by job names that were
written down before sbatch was called; so neither a crash between the two nor a lost answer submits anything twice.
"""

from __future__ import annotations

import getpass
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from launch import status
from launch.estimate.costs import predict
from launch.estimate.placement import speed_of
from launch.job.bundle import Bundle, bundle_of
from launch.job.news import News, announce
from launch.job.records import ArrayRecord, array_folders, array_name, element_of, in_queue, new_folder
from launch.lock import turn
from launch.study.plan import Plan
from launch.submit.arrays import Array, make_arrays, within
from launch.submit.snapshot import Snapshot
from launch.verdicts import newest_verdict
from slurm.commands import QueuedJob, SlurmError, queue, release
from slurm.profile import Placement, Profile
from slurm.script import ArrayExecutor, ArrayJob
from trainers.data.mirror import Mirror
from trainers.stage import Execution, Stage
from trainers.store import Store
from trainers.store.files import writing

MARGIN = 1.5
"""A job asks for so much more time than is predicted; too little only costs a requeue."""
START_UP_MIN = 10
SUBMIT_LIMIT = "SubmitJob"
"""In SLURM's names for limits of what may be in the queue: QOSMaxSubmitJobPerUserLimit, AssocMaxSubmitJobLimit …"""
LOST_ANSWER_S = 30.0
"""How long a job whose sbatch did not answer is looked for in the queue."""


@dataclass
class Submitted:
    """What one call did."""

    arrays: int = 0
    elements: int = 0
    stages: int = 0
    in_queue: int = 0
    """Stages that were there already."""
    left: int = 0
    """Stages that found no room under the submit limit."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Submitter:
    """One sweep on one cluster."""

    plan: Plan
    mirror: Mirror
    profile: Profile
    placements: dict[str, Placement]
    """By scale."""
    code: Snapshot

    @property
    def store(self) -> Store:
        return Store(self.plan.sweep.store.resolve())

    def submit(self) -> Submitted:
        """Send what is missing.

        Raises:
            SlurmError: the queue cannot be read, or sbatch refuses.
            StoreError: the store cannot be written.
        """
        with writing(self.store.root):
            (self.store.root / "slurm").mkdir(parents=True, exist_ok=True)
        with turn(self.store.root / "slurm" / "submitting", "retain submit", print):
            jobs = queue()
            queued = in_queue(self.store.root, jobs)
            missing, notes = self.missing(queued)
            notes += _let_go(queued)
            arrays = within(missing, self._room(jobs))
            if arrays and (self.profile.mail or self.profile.webhook_file):
                news = News(
                    stages=self.plan.stages,
                    retries=self.plan.sweep.diverged.retries,
                    mail=self.profile.mail,
                    webhook_file=self.profile.webhook_file,
                )
                announce(self.store.root, self.plan.sweep.name, news)
            ids: dict[Array, str] = {}
            for array in arrays:
                ids[array] = self._send(array, ids)
        return Submitted(
            arrays=len(arrays),
            elements=sum(len(array.bundles) for array in arrays),
            stages=_count(arrays),
            in_queue=sum(self.plan.place_of(stage.key) in queued for stage in self.plan.stages),
            left=_count(missing) - _count(arrays),
            notes=notes,
        )

    def missing(self, queued: dict[str, QueuedJob]) -> tuple[list[Array], list[str]]:
        """Arrays of what is neither done nor under way, and what a person should know of the rest."""
        todo: dict[str, Stage] = {}
        notes: list[str] = []
        for one in status.survey(self.plan, self.store, queued=queued):
            stage = one.stage
            if one.state in status.SETTLED or self.plan.place_of(stage.key) in queued:
                continue
            if one.state == "failed":
                notes.append(
                    f"{stage.key}  {stage.label} failed and is not sent again before `retain retry`: {one.detail}"
                )
            elif one.state == "running":
                notes.append(f"{stage.key}  {stage.label} is being run outside this queue")
            elif self._can_start(stage, todo, queued):
                todo[stage.key] = stage
        seconds = predict(self.plan, self.store, self.mirror, speed_of(self.profile), self.placements).seconds
        elements = {
            stage.key: queued[place].job_id
            for stage in self.plan.stages
            if (place := self.plan.place_of(stage.key)) in queued
        }
        most = self.profile.max_array_size - 1  # the largest index is one less
        return make_arrays(
            self.plan, {key: seconds[key] for key in todo}, elements, self.profile.job_min * 60.0, most
        ), notes

    def _can_start(self, stage: Stage, todo: dict[str, Stage], queued: dict[str, QueuedJob]) -> bool:
        parent = stage.parent
        return parent is None or parent in todo or self.plan.place_of(parent) in queued or self.store.entry(parent).done

    def _room(self, jobs: list[QueuedJob]) -> int | None:
        if self.profile.max_submitted is None:
            return None
        mine = sum(job.living and job.user == getpass.getuser() for job in jobs)
        return max(0, self.profile.max_submitted - mine)

    def _send(self, array: Array, ids: dict[Array, str]) -> str:
        """Write everything down, then call sbatch."""
        keys = [stage.key for bundle in array.bundles for stage in bundle]
        folder = new_folder(self.store.root, self.plan.sweep.name, keys)
        job = self.job(array, folder.folder, ids)
        folder.write(self._record(array, job))
        for index, stages in enumerate(array.bundles):
            self._bundle(stages, job.placement).save(folder.bundle(index))
        try:
            return ArrayExecutor(job, self.profile).send()
        except SlurmError as error:
            if error.unsure and (found := _look_for(job.name)):
                return found
            if SUBMIT_LIMIT in str(error):
                raise SlurmError(
                    f"{error}; write that limit into the cluster file as max_submitted: then what fits is sent"
                ) from error
            raise

    def job(self, array: Array, folder: Path, ids: dict[Array, str]) -> ArrayJob:
        """What sbatch is asked for one array."""
        dependency = None
        if isinstance(array.after, Array):
            dependency = f"aftercorr:{ids[array.after]}"
        elif array.after:
            dependency = f"afterok:{array.after}"
        minutes = math.ceil(array.seconds * MARGIN / 60) + START_UP_MIN
        return ArrayJob(
            name=folder.name,
            folder=folder,
            command=(*self._environment(), sys.executable, "-P", "-u", "-m", "launch.job.batch", str(folder)),
            indices=tuple(range(len(array.bundles))),
            placement=self.placements[array.scale],
            minutes=min(minutes, self.profile.time_limit_min),
            dependency=dependency,
            comment=f"retain {self.plan.sweep.name} {array.scale}",
            exclude=self._bad_nodes(array),
        )

    def _bad_nodes(self, array: Array) -> tuple[str, ...]:
        """Nodes that failed under earlier jobs of these stages, as far as there are others."""
        stages = [stage for bundle in array.bundles for stage in bundle]
        verdicts = filter(None, (newest_verdict(self.store.entry(stage.key)) for stage in stages))
        bad = {node for verdict in verdicts for node in verdict.decision.exclude_nodes}
        return tuple(sorted(bad)[: self._spare_nodes(array.scale)])

    def _spare_nodes(self, scale: str) -> int:
        """Nodes of the partition beyond those that one element needs."""
        return self.profile.nodes - self.placements[scale].nodes

    def _environment(self) -> tuple[str, ...]:
        if self.code.folder is None:
            return ()
        path = os.pathsep.join(filter(None, (str(self.code.folder), os.environ.get("PYTHONPATH"))))
        return ("env", f"PYTHONPATH={path}")

    def _record(self, array: Array, job: ArrayJob) -> ArrayRecord:
        return ArrayRecord(
            sweep=self.plan.sweep.name,
            scale=array.scale,
            user=getpass.getuser(),
            placement=job.placement,
            cpus_per_rank=self.profile.cpus_per_rank,
            spare_nodes=self._spare_nodes(array.scale),
            minutes=job.minutes,
            signal_before_end_s=self.profile.signal_before_end_s,
            code=self.code.facts,
            elements=tuple(tuple(stage.key for stage in bundle) for bundle in array.bundles),
        )

    def _bundle(self, stages: tuple[Stage, ...], placement: Placement) -> Bundle:
        sweep = self.plan.sweep
        return bundle_of(
            self.plan,
            self.mirror,
            stages,
            execution_at(sweep.execution, placement),
            scratch=self.profile.scratch,
            gpus_per_node=placement.ranks_per_node if self.profile.gpus_per_node else 0,
        )

    def scripts(self) -> Iterator[tuple[str, str]]:
        """The exact scripts that `submit` would send, by name; ids that SLURM has yet to give are `<id of NAME>`.

        Of a store that nothing was sent from, no job can be in the queue: so a first look needs no SLURM.
        """
        root = self.store.root
        arrays, _ = self.missing(in_queue(root, queue()) if any(array_folders(root)) else {})
        ids: dict[Array, str] = {}
        for array in arrays:
            keys = [stage.key for bundle in array.bundles for stage in bundle]
            folder = root / "slurm" / array_name(root, self.plan.sweep.name, keys)
            ids[array] = f"<id of {folder.name}>"
            yield folder.name, ArrayExecutor(self.job(array, folder, ids), self.profile).text()


def execution_at(execution: Execution, placement: Placement) -> Execution:
    """How a stage is carried out where it is placed."""
    update: dict[str, object] = {
        "zero_stage": placement.zero_stage,
        "offload": placement.offload,
        "activation_checkpointing": placement.activation_checkpointing,
        "graphs": execution.graphs and placement.graphs,
    }
    if placement.micro_batch_tokens:
        update["micro_batch_tokens"] = placement.micro_batch_tokens
    return execution.model_copy(update=update)


def left_over(plan: Plan, jobs: list[QueuedJob], store: Path) -> dict[str, str]:
    """Pending elements of this sweep that hold only stages which are no longer in it: id → what they would train."""
    wanted = {plan.place_of(stage.key) for stage in plan.stages}
    pending = {job.name: job for job in jobs}
    found: dict[str, str] = {}
    for folder in array_folders(store):
        if folder.name not in pending or folder.record.sweep != plan.sweep.name:
            continue
        for job in jobs:
            index = element_of(job.job_id)
            if job.name != folder.name or job.state != "PENDING" or index is None:
                continue
            if not wanted.intersection(folder.record.elements[index]):
                bundle = Bundle.load(folder.bundle(index))
                found[job.job_id] = ", ".join(stage.label for stage in bundle.stages)
    return found


def _let_go(queued: dict[str, QueuedJob]) -> list[str]:
    """Release this user's jobs that a node could not start: SLURM itself would hold them for ever."""
    me = getpass.getuser()
    held = sorted({job.job_id for job in queued.values() if job.launch_failed and job.user == me})
    release(held)
    return [f"job {job} was held by SLURM because a node could not start it; it may start again" for job in held]


def _count(arrays: list[Array]) -> int:
    return sum(len(bundle) for array in arrays for bundle in array.bundles)


def _look_for(name: str) -> str | None:
    """Id of the array of this name, once it shows in the queue."""
    deadline = time.monotonic() + LOST_ANSWER_S
    while time.monotonic() < deadline:
        try:
            for job in queue():
                if job.name == name:
                    return job.job_id.partition("_")[0]
        except SlurmError:
            pass  # slurmctld may be the reason for the lost answer: ask again
        time.sleep(1)
    return None
