"""What the batch step of an array's element runs: find a port to meet at → srun the ranks → judge how they ended.

    python -m launch.job.batch <store>/slurm/<name>        # the element is SLURM_ARRAY_TASK_ID

It requeues the job from here, outside the step that saves: `scontrol requeue` ends what calls it, and a rank that
it ended would look like a failure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from launch.job.judge import Attempt
from launch.job.records import ArrayFolder
from slurm.commands import SlurmError, requeue
from slurm.failures.decide import Decision
from slurm.job import SUPERSEDED, deadline, ended_as, environment_of_ranks
from slurm.script import srun


def main() -> int:
    """One attempt at one element; its exit status is the job's."""
    stay_to_judge()
    folder, index = ArrayFolder(Path(sys.argv[1])), int(os.environ["SLURM_ARRAY_TASK_ID"])
    status, decision = attempt(folder, index)
    if decision is None:
        return status or 1
    return status if decision.action == "stop" else again(folder, decision.exclude_nodes) or status


def stay_to_judge() -> None:
    """The ranks are told of the end by their own signals; this step must outlive them to judge how they ended."""
    # A handler, unlike SIG_IGN, is not inherited by srun.
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)


def attempt(folder: ArrayFolder, index: int | str) -> tuple[int, Decision | None]:
    """One attempt at what a bundle file holds: srun's exit status, and what to do now.

    None where the job was requeued while this step lived on, on a node that SLURM took for lost.
    """
    job_id, record, logs = os.environ["SLURM_JOB_ID"], folder.record, folder.rank_logs(index)
    logs.mkdir(parents=True, exist_ok=True)
    this = Attempt(folder, index)
    call = srun(record.placement, record.cpus_per_rank, logs, this.command)
    status = subprocess.call(call, env=environment_of_ranks())
    state = ended_as(os.environ)
    if state == SUPERSEDED:
        print("this job now runs elsewhere: SLURM took this node for lost", flush=True)
        return status, None
    decision = this.judge(status, state, deadline(job_id))
    print(decision.because, flush=True)
    return status, decision


def again(folder: ArrayFolder, exclude_nodes: tuple[str, ...] = ()) -> int:
    """Requeue this job; returns only where that failed."""
    # Requeueing ends this step, and scontrol, started here, must live to have the nodes excluded: it inherits the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        requeue(os.environ["SLURM_JOB_ID"], exclude=exclude_nodes[: folder.record.spare_nodes])
    except SlurmError as error:
        print(f"could not be requeued: {error}", flush=True)
        return 1
    signal.sigwait({signal.SIGTERM})  # to return before SLURM ends this step would be to complete the job
    return 1


if __name__ == "__main__":
    sys.exit(main())
