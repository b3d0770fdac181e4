"""Writes checkpoints while training goes on: states are copied at a step's end, and a thread beside takes them to disk.

    saver.begin(step)        # all ranks: waits for the checkpoint before, then takes as long as copying does
    saver.look()             # at every step: has it been written, or what stopped it?
    saver.wait()             # where the stage stops or ends

No collective runs in the thread: each rank leaves a witness of its file, and the first one completes the checkpoint
when it has seen all.  Where all ranks wait, they meet once their own files are written, so that a rank that died is
noticed as in any other collective.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from trainers.store.files import StoreError, write_json, writing
from trainers.training.checkpoint import KEEP, complete, name_of, share_of, unfinished, witness
from trainers.training.engine import Engine

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
        self._own_file: Future[None] | None = None
        self._whole: Future[Path] | None = None
        self._closed = threading.Event()

    def begin(self, step: int) -> None:
        """Start checkpoint `step`; all ranks must call it, after at least one step.

        Raises:
            StoreError: the one before it could not be written, or this one cannot.
        """
        self.wait()
        ranks = self.engine.ranks
        building = ranks.share(ranks.on_first(lambda: self._prepare(step)))
        self._own_file = self._thread.submit(self._write, building, share_of(self.engine))
        if ranks.first:
            self._whole = self._thread.submit(self._complete, self._own_file, building, step)

    def look(self) -> None:
        """Tell of what was begun, if it is done.

        Raises:
            StoreError: it could not be written.
        """
        if self._own_file is not None and self._own_file.done():
            self._own_file.result()
        if self._whole is not None and self._whole.done():
            self._tell()

    def wait(self) -> None:
        """As `look`, but not before it is done; all ranks must call it."""
        if self._own_file is not None:
            begun, self._own_file = self._own_file, None
            begun.result()
            dist.barrier()
        if self._whole is not None:
            self._tell()

    def close(self) -> None:
        """Finish what this rank has begun; what other ranks left undone is not waited for."""
        self._closed.set()
        self._thread.shutdown()

    def _prepare(self, step: int) -> Path:
        """A folder with a name of its own: an attempt that was given up may still be writing somewhere."""
        self.confirm()
        building = self.folder / f".{name_of(step)}.{uuid.uuid4().hex[:8]}"
        with writing(building):
            for left in unfinished(self.folder):
                shutil.rmtree(left, ignore_errors=True)
            building.mkdir(parents=True)
        return building

    def _tell(self) -> None:
        assert self._whole is not None
        whole, self._whole = self._whole, None
        self.written(whole.result())

    # -- in the thread ------------------------------------------------------------------------------------

    def _write(self, building: Path, share: dict[str, Tensor]) -> None:
        path = building / _file(self.engine.ranks.rank)
        with _removed_on_error(building), writing(path):
            save_file(share, path)
            with path.open("rb") as file:
                os.fsync(file.fileno())
            write_json(_witness_of(path), witness(path))

    def _complete(self, own_file: Future[None], building: Path, step: int) -> Path:
        own_file.result()
        with _removed_on_error(building):
            progress = building / "progress.json"
            write_json(progress, {"step": step, "world_size": self.engine.ranks.world_size})
            write_json(building / "manifest.json", self._witnesses(building) | {progress.name: witness(progress)})
            self.confirm()
            final = self.folder / name_of(step)
            with writing(final):
                shutil.rmtree(final, ignore_errors=True)
                os.rename(building, final)
                for old in complete(self.folder)[:-KEEP]:
                    shutil.rmtree(old)
            return final

    def _witnesses(self, building: Path) -> dict[str, Any]:
        """Of every rank's file, as they appear."""
        manifest = {}
        for path in (building / _file(rank) for rank in range(self.engine.ranks.world_size)):
            found = _witness_of(path)
            while not found.exists():
                if self._closed.wait(LOOK_EVERY_S):
                    raise StoreError(f"{building.name} is not whole: {path.name} was never finished")
            manifest[path.name] = json.loads(found.read_text(encoding="utf-8"))
            found.unlink()
        return manifest


@contextlib.contextmanager
def _removed_on_error(building: Path) -> Iterator[None]:
    """On a full disk every byte counts."""
    try:
        yield
    except StoreError:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _file(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


def _witness_of(path: Path) -> Path:
    return path.with_suffix(".witness.json")
