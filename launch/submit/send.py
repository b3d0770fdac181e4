"""Sending an array: its record and its bundles are written down, then sbatch is called.

The one way for sweeps, for agents, and (without sbatch) for the steps of one allocation.
"""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.job.bundle import Bundle, bundle_of, execution_at
from launch.job.records import ArrayFolder, ArrayRecord, new_folder
from launch.study.plan import Plan
from launch.submit.snapshot import Snapshot
from slurm.commands import SlurmError, queue
from slurm.profile import Profile
from slurm.script import ArrayExecutor, ArrayJob
from slurm.sizing.memory import Placement
from trainers.data.mirror import Mirror
from trainers.stage import Stage

SUBMIT_LIMIT = "SubmitJob"
"""In SLURM's names for limits of what may be in the queue: QOSMaxSubmitJobPerUserLimit, AssocMaxSubmitJobLimit …"""
LOST_ANSWER_S = 30.0
"""How long a job whose sbatch did not answer is looked for in the queue."""


@dataclass(frozen=True)
class Sender:
    """Writes down and sends the arrays of one sweep, on one cluster."""

    plan: Plan
    mirror: Mirror
    profile: Profile
    code: Snapshot

    @property
    def store(self) -> Path:
        return self.plan.sweep.store.resolve()

    def bundle(self, stages: tuple[Stage, ...], placement: Placement) -> Bundle:
        """What a job of these stages needs to know."""
        return bundle_of(
            self.plan,
            self.mirror,
            stages,
            execution_at(self.plan.sweep.execution, placement),
            scratch=self.profile.scratch,
            gpus_per_node=placement.ranks_per_node if self.profile.gpus_per_node else 0,
        )

    def spare_nodes(self, placement: Placement) -> int:
        """Nodes of the partition beyond those that one element needs."""
        return self.profile.nodes - placement.nodes

    def folder(self, name: str, elements: Sequence[tuple[Stage, ...]]) -> ArrayFolder:
        """A new folder for an array, which is known by the folder's name.

        Raises:
            StoreError: the store cannot be written.
        """
        return new_folder(self.store, name, [stage.key for stages in elements for stage in stages])

    def write(
        self,
        folder: ArrayFolder,
        scale: str,
        placement: Placement,
        minutes: int,
        elements: Sequence[tuple[Stage, ...]],
    ) -> None:
        """Write the record of an array, and a bundle for each element that has stages.

        Raises:
            StoreError: the store cannot be written.
        """
        folder.write(
            ArrayRecord(
                sweep=self.plan.sweep.name,
                scale=scale,
                user=getpass.getuser(),
                placement=placement,
                cpus_per_rank=self.profile.cpus_per_rank,
                spare_nodes=self.spare_nodes(placement),
                minutes=minutes,
                signal_before_end_s=self.profile.signal_before_end_s,
                code=self.code.facts,
                elements=tuple(tuple(stage.key for stage in stages) for stages in elements),
            )
        )
        for index, stages in enumerate(elements):
            if stages:
                self.bundle(stages, placement).save(folder.bundle(index))

    def job(self, folder: Path, count: int, module: str, *words: str, **options: Any) -> ArrayJob:
        """What sbatch is asked for an array of `count` elements, each of which runs `python -m module words`.

        Args:
            folder: of the array; the job is named after it.
            options: other fields of `ArrayJob`.
        """
        environment: tuple[str, ...] = ()
        if self.code.folder is not None:
            path = os.pathsep.join(filter(None, (str(self.code.folder), os.environ.get("PYTHONPATH"))))
            environment = ("env", f"PYTHONPATH={path}")
        return ArrayJob(
            name=folder.name,
            folder=folder,
            command=(*environment, sys.executable, "-P", "-u", "-m", module, *words),
            indices=tuple(range(count)),
            **options,
        )

    def script(self, job: ArrayJob) -> str:
        """The exact sbatch script of a job."""
        return ArrayExecutor(job, self.profile).text()

    def send(self, job: ArrayJob) -> str:
        """Call sbatch; the array's id, which is looked for in the queue where sbatch's answer is lost.

        Raises:
            SlurmError: sbatch refuses.
        """
        try:
            return ArrayExecutor(job, self.profile).send()
        except SlurmError as error:
            if error.unsure and (job_id := _look_for(job.name)):
                return job_id
            if SUBMIT_LIMIT in str(error):
                raise SlurmError(
                    f"{error}; write that limit into the cluster file as max_submitted: then what fits is sent"
                ) from error
            raise


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
