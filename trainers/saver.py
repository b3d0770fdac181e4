"""Writes checkpoints while training goes on: states are copied at a step's end, and a thread beside takes them to disk.

    saver.begin(step)        # all ranks: waits for the checkpoint before, then takes as long as copying does
    saver.look()             # at every step: has it been written, or what stopped it?
    saver.wait()             # where the stage stops or ends

No collective runs in the thread: each rank leaves a witness of its file, and the first one completes the checkpoint
when it has seen all.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from trainers.checkpoint import KEEP, complete, name_of, share_of, witness
from trainers.engine import Engine
from trainers.files import StoreError, write_json, writing

LOOK_EVERY_S = 0.05
"""How often the first rank looks for the others' files."""


class Saver:
    """One rank's part in writing checkpoints, one at a time."""

    def __init__(
        self, engine: Engine, folder: Path, confirm: Callable[[], None], written: Callable[[Path], None]
    ) -> None:
        """
        Args:
            folder: where the stage's checkpoints lie.
            confirm: raises if this job may no longer write there; asked on the first rank, before and after.
            written: told of each checkpoint that is whole.
        """
        self.engine, self.folder, self.confirm, self.written = engine, folder, confirm, written
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[Path] | None = None
        self._closed = threading.Event()

    def begin(self, step: int) -> None:
        """Start checkpoint `step`; all ranks must call it, after at least one step.

        Raises:
            StoreError: the one before it could not be written, or this one cannot.
        """
        self.wait()
        building = self.folder / f".{name_of(step)}.building"
        if self.engine.ranks.first:
            self.confirm()
            with writing(building):
                shutil.rmtree(building, ignore_errors=True)
                building.mkdir(parents=True)
        dist.barrier()
        self._writing = self._thread.submit(self._write, building, share_of(self.engine), step)

    def look(self) -> None:
        """Tell of what was begun, if this rank's part in it is done.

        Raises:
            StoreError: it could not be written.
        """
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """As `look`, but not before it is done."""
        if self._writing is not None:
            begun, self._writing = self._writing, None
            self.written(begun.result())

    def close(self) -> None:
        """Finish what this rank has begun; what other ranks left undone is not waited for."""
        self._closed.set()
        self._thread.shutdown()

    def _write(self, building: Path, share: dict[str, Tensor], step: int) -> Path:
        """In the thread."""
        ranks = self.engine.ranks
        path = building / _file(ranks.rank)
        try:
            with writing(path):
                save_file(share, path)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                write_json(_witness_of(path), witness(path))
            if ranks.first:
                return self._complete(building, step)
        except StoreError:
            shutil.rmtree(building, ignore_errors=True)  # on a full disk every byte counts
            raise
        return self.folder / name_of(step)

    def _complete(self, building: Path, step: int) -> Path:
        world_size = self.engine.ranks.world_size
        manifest = {}
        for path in (building / _file(rank) for rank in range(world_size)):
            found = _witness_of(path)
            while not found.exists():
                if self._closed.wait(LOOK_EVERY_S):
                    raise StoreError(f"checkpoint {step} is not whole: {path.name} was never finished")
            manifest[path.name] = json.loads(found.read_text(encoding="utf-8"))
            found.unlink()
        progress = building / "progress.json"
        write_json(progress, {"step": step, "world_size": world_size})
        write_json(building / "manifest.json", manifest | {progress.name: witness(progress)})
        self.confirm()
        final = self.folder / name_of(step)
        with writing(final):
            shutil.rmtree(final, ignore_errors=True)
            os.rename(building, final)
            for old in complete(self.folder)[:-KEEP]:
                shutil.rmtree(old)
        return final


def _file(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


def _witness_of(path: Path) -> Path:
    return path.with_suffix(".witness.json")
