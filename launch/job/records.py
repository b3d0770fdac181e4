"""What is known of each sbatch call: a folder of plain files in the store, written before the call.

    slurm/<name>/array.json      which stages its elements hold, how they are placed, which code they run
                 bundles/3.json  all that element 3 needs to know
                 script.sh       exactly what sbatch was given
                 log/3.txt       what its batch step said;  log/3/rank-0.txt what rank 0 said

How its jobs ended, and what was decided, is in the logs of their stages (`launch.verdicts`).
A job is known by its unique name, which is the folder's: when sbatch's answer is lost, squeue still tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from slurm.commands import QueuedJob
from slurm.sizing.memory import Placement
from trainers.stage import Frozen, digest
from trainers.store.files import write_atomically, writing

PREFIX = "retain-"


class ArrayRecord(Frozen):
    """One job array."""

    sweep: str
    scale: str
    user: str
    placement: Placement
    cpus_per_rank: int
    spare_nodes: int
    """Nodes of the partition beyond those that one element needs: so many can be left out as bad."""
    minutes: int
    signal_before_end_s: int
    """So long before the time limit a job is told of it."""
    code: dict[str, Any]
    """Commit and whether the tree was dirty."""
    elements: tuple[tuple[str, ...], ...]
    """Keys of the stages of each element."""


class ArrayFolder:
    """The folder of one array.  In one of agents (`launch.agents.agent`), what they are given stands for elements."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    @cached_property
    def record(self) -> ArrayRecord:
        return ArrayRecord.model_validate_json((self.folder / "array.json").read_text(encoding="utf-8"))

    def write(self, record: ArrayRecord) -> None:
        write_atomically(self.folder / "array.json", record.model_dump_json(indent=1))

    def bundle(self, index: int | str) -> Path:
        return self.folder / "bundles" / f"{index}.json"

    def batch_log(self, index: int | str) -> Path:
        return self.folder / "log" / f"{index}.txt"

    def rank_logs(self, index: int | str) -> Path:
        return self.folder / "log" / str(index)


def array_folders(store: Path) -> Iterator[ArrayFolder]:
    """Every sbatch call of this store."""
    for path in sorted((store / "slurm").glob(f"{PREFIX}*/array.json")):
        yield ArrayFolder(path.parent)


def new_folder(store: Path, sweep: str, keys: Iterable[str]) -> ArrayFolder:
    """An empty folder under a name that no other job of any store has."""
    stem = array_name(store, sweep, keys)
    attempt = 1
    while True:
        folder = store / "slurm" / (stem if attempt == 1 else f"{stem}-{attempt}")
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError:
                attempt += 1
                continue
        for part in ("bundles", "log"):
            (folder / part).mkdir()
        return ArrayFolder(folder)


def array_name(store: Path, sweep: str, keys: Iterable[str]) -> str:
    """Says whose it is, to a person, and differs between any two sets of stages or stores."""
    return f"{PREFIX}{sweep}-{digest({'store': str(store), 'keys': sorted(keys)})[:8]}"


def in_queue(store: Path, jobs: Iterable[QueuedJob]) -> dict[str, QueuedJob]:
    """For each stage that a living job of this store holds, that job, by key."""
    living = {job for job in jobs if job.living}
    named: dict[str, list[QueuedJob]] = {}
    for job in living:
        named.setdefault(job.name, []).append(job)
    by_key: dict[str, QueuedJob] = {}
    for folder in array_folders(store):
        for job in named.get(folder.name, ()):
            index = element_of(job.job_id)
            if index is not None and index < len(folder.record.elements):
                by_key.update(dict.fromkeys(folder.record.elements[index], job))
    return by_key


def element_of(job_id: str) -> int | None:
    """Index of an array's element from its id, e.g. 4 of `123_4`."""
    _, _, index = job_id.partition("_")
    return int(index) if index.isdigit() else None
