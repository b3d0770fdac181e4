"""The code that queued jobs run: a copy of one git commit, so that editing the checkout does not change them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from trainers.store.files import writing

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Snapshot:
    """Code on the shared disk."""

    folder: Path | None
    """What jobs put first on their PYTHONPATH; None runs the installed package as it is then."""
    commit: str | None
    dirty: bool
    """Tracked files had changes that are in no commit; they are in the copy."""

    @property
    def facts(self) -> dict[str, str | bool | None]:
        return {"commit": self.commit, "dirty": self.dirty}


NO_CHECKOUT = Snapshot(None, None, False)
"""An installed package: nothing but another installation changes what its jobs run."""


def take_snapshot(store: Path, checkout: Path = CHECKOUT) -> Snapshot:
    """Copy the checkout's commit into the store, once per commit; uncommitted changes of tracked files with it.

    Raises:
        StoreError: the store cannot be written.
    """
    try:
        if Path(_git(checkout, "rev-parse", "--show-toplevel")).resolve() != checkout.resolve():
            return NO_CHECKOUT
        head = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "stash", "create")  # a commit of the work tree as it is; touches nothing
        tree = _git(checkout, "rev-parse", f"{changed or head}^{{tree}}")
    except (OSError, subprocess.SubprocessError):
        return NO_CHECKOUT
    folder = store / "code" / tree[:12]
    if not folder.is_dir():
        _copy(checkout, tree, folder)
    return Snapshot(folder, head, bool(changed))


def _copy(checkout: Path, tree: str, folder: Path) -> None:
    archive = subprocess.run(["git", "-C", str(checkout), "archive", tree], capture_output=True, check=True).stdout
    building = folder.with_name(f".{uuid.uuid4().hex[:8]}")
    with writing(folder):
        building.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(building, filter="data")
        try:
            os.rename(building, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first with the same code
                raise


def _git(checkout: Path, *words: str) -> str:
    command = ["git", "-C", str(checkout), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
