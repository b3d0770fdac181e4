"""Submitting is reconciling: the sweep is the desired state, and only what is missing goes to the queue.

Safe to repeat after anything.  What is done is in the store, what is under way in squeue, by job names that were
written down before sbatch was called; so neither a crash between the two nor a lost answer submits anything twice.
"""

from __future__ import annotations

import getpass
import math
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from launch import status
from launch.estimate.costs import predict
from launch.estimate.placement import speed_of
from launch.job.bundle import Bundle
from launch.job.records import array_folders, array_name, element_of, in_queue
from launch.lock import exclusive
from launch.status import StageStatus
from launch.study.plan import Plan
from launch.submit.arrays import Array, mails_of, make_arrays, within
from launch.submit.send import Sender
from launch.submit.snapshot import Snapshot
from launch.verdicts import newest_verdict
from slurm.commands import QueuedJob, queue, release
from slurm.profile import Profile
from slurm.script import ArrayJob
from slurm.sizing.memory import Placement
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store
from trainers.store.files import writing

MARGIN = 1.5
"""A job asks for so much more time than is predicted; too little only costs a requeue."""
START_UP_MIN = 10


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
        with exclusive(self.store.root / "slurm" / "submitting", "retain submit", print):
            jobs = queue()
            queued = in_queue(self.store.root, jobs)
            missing, notes = self.missing(queued)
            notes += _release_held(queued)
            arrays = within(missing, self._room(jobs))
            ids: dict[Array, str] = {}
            for array in arrays:
                ids[array] = self._send(array, ids, mails_of(array, arrays))
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
        plan, statuses = self.plan, status.survey(self.plan, self.store, queued=queued)
        seconds = predict(plan, self.store, self.mirror, speed_of(self.profile), self.placements).seconds
        sent = {stage.key: seconds[stage.key] for stage in to_send(plan, statuses, queued)}
        elements = {
            stage.key: queued[place].job_id for stage in plan.stages if (place := plan.place_of(stage.key)) in queued
        }
        most = self.profile.max_array_size - 1  # the largest index is one less
        arrays = make_arrays(plan, sent, elements, self.profile.job_min * 60.0, most)
        notes = (_note(progress, plan.place_of(progress.stage.key) in queued) for progress in statuses)
        return arrays, list(filter(None, notes))

    def _room(self, jobs: list[QueuedJob]) -> int | None:
        if self.profile.max_submitted is None:
            return None
        mine = sum(job.living and job.user == getpass.getuser() for job in jobs)
        return max(0, self.profile.max_submitted - mine)

    @property
    def sender(self) -> Sender:
        return Sender(self.plan, self.mirror, self.profile, self.code)

    def _send(self, array: Array, ids: dict[Array, str], mails: tuple[str, ...]) -> str:
        """Write everything down, then call sbatch."""
        folder = self.sender.folder(self.plan.sweep.name, array.bundles)
        job = replace(self.job(array, folder.folder, ids), mails=mails)
        self.sender.write(folder, array.scale, job.placement, job.minutes, array.bundles)
        return self.sender.send(job)

    def job(self, array: Array, folder: Path, ids: dict[Array, str]) -> ArrayJob:
        """What sbatch is asked for one array."""
        dependency = None
        if isinstance(array.after, Array):
            dependency = f"aftercorr:{ids[array.after]}"
        elif array.after:
            dependency = f"afterok:{array.after}"
        return self.sender.job(
            folder,
            len(array.bundles),
            "launch.job.batch",
            str(folder),
            placement=self.placements[array.scale],
            minutes=self._minutes(array),
            dependency=dependency,
            comment=f"retain {self.plan.sweep.name} {array.scale}",
            exclude=self._bad_nodes(array),
        )

    def _minutes(self, array: Array) -> int:
        return min(math.ceil(array.seconds * MARGIN / 60) + START_UP_MIN, self.profile.time_limit_min)

    def _bad_nodes(self, array: Array) -> tuple[str, ...]:
        """Nodes that failed under earlier jobs of these stages, as far as there are others."""
        newest = (newest_verdict(self.store.entry(stage.key)) for bundle in array.bundles for stage in bundle)
        bad = {node for verdict in newest if verdict for node in verdict.decision.exclude_nodes}
        return tuple(sorted(bad)[: self.sender.spare_nodes(self.placements[array.scale])])

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
            job = replace(self.job(array, folder, ids), mails=mails_of(array, arrays))
            yield folder.name, self.sender.script(job)


def to_send(plan: Plan, statuses: Iterable[StageStatus], queued: Container[str]) -> list[Stage]:
    """Stages that nothing holds and whose parent is done, in the queue, or sent with them; parents first.

    Args:
        queued: keys of the stages that jobs in the queue were submitted for.
    """
    states = {progress.stage.key: progress.state for progress in statuses}
    sent: dict[str, Stage] = {}
    for stage in plan.stages:
        parent = stage.parent
        ready = parent is None or parent in sent or states[parent] in status.SETTLED or plan.place_of(parent) in queued
        if states[stage.key] in ("waiting", "interrupted") and ready:
            sent[stage.key] = stage
    return list(sent.values())


def _note(progress: StageStatus, in_queue: bool) -> str | None:
    """What a person should know of a stage that is not sent."""
    what = f"{progress.stage.key}  {progress.stage.label}"
    if progress.state == "failed":
        return f"{what} failed and is not sent again before `retain retry`: {progress.detail}"
    if progress.state == "running" and not in_queue:
        return f"{what} is being run outside this queue"
    return None


def left_over(plan: Plan, jobs: list[QueuedJob], store: Path) -> dict[str, str]:
    """Pending elements of this sweep that hold only stages which are no longer in it: id → what they would train."""
    wanted = {plan.place_of(stage.key) for stage in plan.stages}
    pending = {job.name: job for job in jobs}
    held: dict[str, str] = {}
    for folder in array_folders(store):
        if folder.name not in pending or folder.record.sweep != plan.sweep.name:
            continue
        for job in jobs:
            index = element_of(job.job_id)
            if job.name != folder.name or job.state != "PENDING" or index is None:
                continue
            keys = folder.record.elements[index]  # none of an agent's job
            if keys and not wanted.intersection(keys):
                bundle = Bundle.load(folder.bundle(index))
                held[job.job_id] = ", ".join(stage.label for stage in bundle.stages)
    return held


def _release_held(queued: dict[str, QueuedJob]) -> list[str]:
    """Release this user's jobs that a node could not start: SLURM itself would hold them for ever."""
    me = getpass.getuser()
    held = sorted({job.job_id for job in queued.values() if job.launch_failed and job.user == me})
    release(held)
    return [f"job {job} was held by SLURM because a node could not start it; it may start again" for job in held]


def _count(arrays: list[Array]) -> int:
    return sum(len(bundle) for array in arrays for bundle in array.bundles)
