"""Checkpoints that any world size and ZeRO stage can resume from: fp32 weights and Adam states by parameter name.

    checkpoints/step-000128/rank-00000.safetensors   this rank's share of the parameters
                            progress.json            step, world size
                            manifest.json            size and sha256 of every file; written last

A folder is written under a temporary name and renamed when complete.  DeepSpeed's own checkpoints are pickles bound to
one world size; here every parameter is gathered whole instead, and rank r writes each world_size-th one, so that
writing is shared and nothing is ever unpickled.

    saver.begin(step)        # all ranks: waits for the checkpoint before, then takes as long as copying does
    saver.look()             # at every step: reports a checkpoint that is complete, raises if writing failed
    saver.wait()             # where the stage stops or ends

Training goes on while a thread writes the copy.  No collective runs in the thread: each rank writes a witness (size and
hash) of its file, and rank 0 completes the checkpoint when it has seen all.  `wait` ends in a barrier, so that a dead
rank is noticed as in any other collective.
"""

from __future__ import annotations

import contextlib
import hashlib
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
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.store.files import StoreError, write_json, writing
from trainers.training.step import MOMENTS, Engine

KEEP = 2
"""Checkpoints kept while a stage runs: if the newest is damaged, the one before it is used."""
LOOK_EVERY_S = 0.05
"""How often the first rank looks for the others' files."""


def share_of(engine: Engine) -> dict[str, Tensor]:
    """A copy in host memory of this rank's share of the weights and states; all ranks must call it, after a step."""
    share: dict[str, Tensor] = {}
    for number, (name, values) in enumerate(engine.states()):
        if number % engine.ranks.world_size == engine.ranks.rank:
            for label, tensor in values.items():
                whole = tensor.reshape(values["weight"].shape)
                share[f"{name}:{label}"] = whole.to("cpu", copy=True).contiguous()
    return share


def name_of(step: int) -> str:
    return f"step-{step:09d}"


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def witness(path: Path) -> dict[str, int | str]:
    """Size and hash of a file, by which damage is noticed."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def complete(folder: Path) -> list[Path]:
    """Checkpoint folders that were finished, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit())


def unfinished(folder: Path) -> list[Path]:
    """Folders of attempts that were killed while writing."""
    return list(folder.glob(".step-*"))


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint by its manifest; None where it is whole."""
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read ({error})"
    if not isinstance(manifest, dict) or "progress.json" not in manifest:
        return "its manifest does not list its files"
    for name, expected in manifest.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if witness(path) != expected:
            return f"{name} has changed since it was written"
    return None


def newest_whole(folder: Path) -> tuple[Path | None, list[tuple[str, str]]]:
    """The newest checkpoint that its manifest confirms, and the damaged ones that were set aside on the way.

    Returns:
        The checkpoint, if there is any; (new name, reason) of the damaged ones, which are renamed and never deleted.
    """
    set_aside: list[tuple[str, str]] = []
    for checkpoint in reversed(complete(folder)):
        reason = damage(checkpoint)
        if reason is None:
            return checkpoint, set_aside
        earlier = len(list(folder.glob(f"damaged-{checkpoint.name}*")))
        aside = checkpoint.with_name(f"damaged-{checkpoint.name}" + (f"-{earlier}" if earlier else ""))
        os.rename(checkpoint, aside)
        set_aside.append((aside.name, reason))
    return None, set_aside


def load(engine: Engine, checkpoint: Path) -> int:
    """Put a checkpoint's weights and Adam states into a new engine; returns its step.  All ranks must call it."""
    step = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))["step"]
    files = [safe_open(path, framework="pt") for path in sorted(checkpoint.glob("rank-*.safetensors"))]
    file_of = {name: file for file in files for name in file.keys()}  # noqa: SIM118 - not a dict

    def values_of(name: str) -> dict[str, Tensor]:
        names = {label: f"{name}:{label}" for label in ("weight", *MOMENTS)}
        return {label: file_of[named].get_tensor(named).to(engine.device) for label, named in names.items()}

    engine.restore(step, values_of)
    return step


def discard(folder: Path) -> None:
    """Delete the checkpoints of a finished stage; damaged ones stay, as evidence."""
    for path in (*complete(folder), *unfinished(folder)):
        shutil.rmtree(path)


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
        """Report the checkpoint that was begun, if it is complete.

        Raises:
            StoreError: it could not be written.
        """
        if self._own_file is not None and self._own_file.done():
            self._own_file.result()
        if self._whole is not None and self._whole.done():
            self._report()

    def wait(self) -> None:
        """As `look`, after waiting for it; all ranks must call it."""
        if self._own_file is not None:
            begun, self._own_file = self._own_file, None
            begun.result()
            dist.barrier()
        if self._whole is not None:
            self._report()

    def close(self) -> None:
        """Finish writing this rank's file; the other ranks' are not waited for."""
        self._closed.set()
        self._thread.shutdown()

    def _prepare(self, step: int) -> Path:
        """A new folder with a unique name: an earlier attempt may still be writing to its own."""
        self.confirm()
        building = self.folder / f".{name_of(step)}.{uuid.uuid4().hex[:8]}"
        with writing(building):
            for left in unfinished(self.folder):
                shutil.rmtree(left, ignore_errors=True)
            building.mkdir(parents=True)
        return building

    def _report(self) -> None:
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
        """Size and hash of every rank's file; waits until each is written."""
        manifest = {}
        for path in (building / _file(rank) for rank in range(self.engine.ranks.world_size)):
            left = _witness_of(path)
            while not left.exists():
                if self._closed.wait(LOOK_EVERY_S):
                    raise StoreError(f"{building.name} is not whole: {path.name} was never finished")
            manifest[path.name] = json.loads(left.read_text(encoding="utf-8"))
            left.unlink()
        return manifest


@contextlib.contextmanager
def _removed_on_error(building: Path) -> Iterator[None]:
    """Delete the unfinished folder: the disk may be full."""
    try:
        yield
    except StoreError:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _file(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


def _witness_of(path: Path) -> Path:
    return path.with_suffix(".witness.json")
