"""A lock on a shared folder: one process at a time fills a mirror, or submits from a store."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.store.claims import Claim, StageInUse, claim, living_holder

POLL_S = 1.0


@contextmanager
def exclusive(folder: Path, command: str, say: Callable[[str], None]) -> Iterator[Claim]:
    """Hold the lock while inside; wait for a living holder, and take the lock of a dead one over.

    Args:
        folder: of the lock's claim files; the newest stays as a record of who came last.
        command: what this process does, e.g. `retain fetch`.
        say: called once with the name of the holder that is waited for.

    Raises:
        OSError, StoreError: the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting = False
    while True:
        try:
            held = claim(folder, f"{command} by {getpass.getuser()}, pid {os.getpid()}")
            break
        except StageInUse:
            holder = living_holder(folder)
            if holder and not waiting:
                say(f"waiting  for {holder['job']} on {holder['host']}")
                waiting = True
            time.sleep(POLL_S)
    try:
        for path in folder.iterdir():
            if path.name.isdigit() and int(path.name) < held.number:
                path.unlink(missing_ok=True)
        yield held
    finally:
        held.release()
