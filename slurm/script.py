"""One submitit executor: renders and sends the sbatch script of a job array.

submitit writes the script; it is the submitter and no more.  Its pickles, its watcher and its requeueing are not used:
the store says what is done, squeue what is under way, and `launch.job.batch` requeues from outside the step that saves.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from slurm.commands import SlurmError, ask
from slurm.profile import Profile
from slurm.sizing.memory import Placement

SBATCH_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class ArrayJob:
    """What one sbatch call asks for."""

    name: str
    """Unique: by it a job is found again when the answer of sbatch was lost."""
    folder: Path
    """Script and logs; on the shared disk."""
    command: tuple[str, ...]
    """What each element runs in its batch step."""
    indices: tuple[int, ...]
    """Elements of the array."""
    placement: Placement
    minutes: int
    dependency: str | None = None
    """E.g. `aftercorr:123`: element k waits for element k of job 123."""
    comment: str = ""
    exclude: tuple[str, ...] = ()
    """Nodes that failed earlier, beside those that the profile leaves out."""
    mails: tuple[str, ...] = ()
    """Of what SLURM mails the profile's address, e.g. BEGIN, FAIL, END: of the array as a whole."""

    def __post_init__(self) -> None:
        # A line break ends a #SBATCH line however it is quoted, and what follows it would be run.
        for text in (self.name, str(self.folder), self.dependency, self.comment):
            if text and not text.isprintable():
                raise ValueError(f"{text!r} must be one line of printable text to stand in a job's script")
        if "\\" in str(self.folder):
            raise ValueError(
                f"{self.folder}: SLURM drops backslashes from the names of logs; give the store another path"
            )


class ArrayExecutor(submitit.SlurmExecutor):
    """submitit's SLURM executor for one `ArrayJob`."""

    def __init__(self, job: ArrayJob, profile: Profile) -> None:
        super().__init__(job.folder)
        self.job, self.profile = job, profile
        self._internal_update_parameters(**_parameters(job, profile))

    @classmethod
    def affinity(cls) -> int:
        """Scripts are rendered where no SLURM is, too; sending one says clearly that it is missing."""
        return 1

    def text(self) -> str:
        """The exact script."""
        # A command with `exec` leaves no shell that a signal could end before the ranks have saved.
        text = self._make_submission_file_text(f"exec {shlex.join(self.job.command)}", "")
        return text.replace("export SUBMITIT_EXECUTOR=slurm\n", "")

    def send(self) -> str:
        """Submit; the array's job id.

        Raises:
            SlurmError: sbatch refused, or its answer was lost (`unsure`).
        """
        self.job.folder.mkdir(parents=True, exist_ok=True)
        script = self.job.folder / "script.sh"
        script.write_text(self.text(), encoding="utf-8")
        answer = ask(self._make_submission_command(script), timeout_s=SBATCH_TIMEOUT_S)
        try:
            return self._get_job_id_from_submission_command(answer)
        except Exception as error:
            raise SlurmError(f"sbatch answered {answer.strip()!r}, which names no job", unsure=True) from error


def _parameters(job: ArrayJob, profile: Profile) -> dict[str, Any]:
    placement = job.placement
    logs = f"{_as_it_is(job.folder)}/log/%a.txt"
    running = f"%{profile.max_running}" if profile.max_running else ""
    memory = profile.memory_per_rank_gib
    options = {
        "job_name": job.name,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": ",".join(filter(None, (profile.exclude, *job.exclude))) or None,
        "time": job.minutes,
        "nodes": placement.nodes,
        "ntasks_per_node": placement.ranks_per_node,
        "cpus_per_task": profile.cpus_per_rank,
        "mem": f"{int(memory * placement.ranks_per_node * 1024)}M" if memory else None,
        "dependency": job.dependency,
        "comment": job.comment or None,
        "signal_delay_s": profile.signal_before_end_s,
        "setup": list(profile.setup) or None,
        "use_srun": False,  # `launch.job.batch` calls srun: signals reach its tasks, and it sees how they ended
        "additional_parameters": {
            "array": ranges(job.indices) + running,
            "output": logs,
            "error": logs,
            "requeue": True,
            "kill-on-invalid-dep": "yes",
            **_gpus(placement, profile),
            **_mail(job, profile),
        },
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"wckey": None, **given}  # submitit would send one of its own


def _as_it_is(path: Path) -> str:
    """SLURM takes a % in the names of logs for the begin of a symbol: %j is the job's id."""
    return str(path).replace("%", "%%")


def _mail(job: ArrayJob, profile: Profile) -> dict[str, str]:
    if not (profile.mail and job.mails):
        return {}
    return {"mail-user": profile.mail, "mail-type": ",".join(job.mails)}


def _gpus(placement: Placement, profile: Profile) -> dict[str, str]:
    if not profile.gpus_per_node:
        return {}
    kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
    if profile.gpu_request == "gres":
        return {"gres": f"gpu:{kind}{placement.ranks_per_node}"}
    return {"gpus-per-node": f"{kind}{placement.ranks_per_node}"}


def ranges(indices: tuple[int, ...]) -> str:
    """E.g. `0-3,7`."""
    parts: list[str] = []
    start = previous = None
    for index in (*sorted(indices), None):
        if previous is not None and index == previous + 1:
            previous = index
            continue
        if start is not None:
            parts.append(f"{start}-{previous}" if previous != start else f"{start}")
        start = previous = index
    return ",".join(parts)


def srun(
    placement: Placement, cpus_per_rank: int, logs: Path, command: tuple[str, ...], options: Iterable[str] = ()
) -> list[str]:
    """The step of one element: one task a GPU, told of each signal, ended together when one fails.

    Args:
        logs: folder for a file of each rank.
        options: more of srun's own.
    """
    return [
        "srun",
        *options,
        "--unbuffered",
        "--kill-on-bad-exit=1",
        f"--nodes={placement.nodes}",
        f"--ntasks={placement.ranks}",
        f"--ntasks-per-node={placement.ranks_per_node}",
        f"--cpus-per-task={cpus_per_rank}",  # since 22.05 srun does not take it from sbatch
        f"--output={_as_it_is(logs)}/rank-%t.txt",
        f"--error={_as_it_is(logs)}/rank-%t.txt",
        "--open-mode=append",
        *command,
    ]
