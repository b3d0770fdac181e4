"""What the batch step of an array's element runs: find a meeting place → srun the ranks → judge how they ended.

    python -m launch.batch <store>/slurm/<name>        # the element is SLURM_ARRAY_TASK_ID

It requeues the job from here, outside the step that saves: `scontrol requeue` ends what calls it, and a rank that
it ended would look like a failure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from launch.job import REQUEUE
from launch.records import ArrayFolder
from slurm.allocation import DEADLINE, deadline, rendezvous
from slurm.client import SlurmError, job_facts, requeue
from slurm.executor import srun


def main() -> int:
    """One attempt at one element; its exit status is the job's."""
    # The ranks are told of the end by their own signals; this step must outlive them to judge how they ended.
    # A handler, unlike SIG_IGN, is not inherited by srun.
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)
    folder, index = ArrayFolder(Path(sys.argv[1])), int(os.environ["SLURM_ARRAY_TASK_ID"])
    logs = folder.rank_logs(index)
    logs.mkdir(parents=True, exist_ok=True)
    job_id = os.environ["SLURM_JOB_ID"]
    environment = {**os.environ, **rendezvous(os.environ)}
    if (end := deadline(job_id)) is not None:
        environment[DEADLINE] = str(end)
    command = (sys.executable, "-P", "-u", "-m", "launch.job", str(folder.bundle(index)))
    record = folder.record
    status = subprocess.call(srun(record.placement, record.cpus_per_rank, logs, command), env=environment)
    _note(folder, index, event="ended", status=status)
    if status == REQUEUE:
        return _requeue(job_id)
    return status


def _requeue(job_id: str) -> int:
    """Back into the queue, unless a person or SLURM has ended the job meanwhile."""
    state = job_facts(job_id).get("JobState", "")
    if state not in ("RUNNING", "SUSPENDED"):
        print(f"not requeued: SLURM says the job is {state}", flush=True)
        return 1
    try:
        requeue(job_id)
    except SlurmError as error:
        print(f"could not be requeued: {error}", flush=True)
        return 1
    signal.pause()  # SLURM ends this step now; returning would complete the job instead
    return 1


def _note(folder: ArrayFolder, index: int, **facts: Any) -> None:
    facts = {"time": time.time(), "restarts": int(os.environ.get("SLURM_RESTART_COUNT", 0)), **facts}
    with folder.attempts(index).open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
