"""One process at a time fills a mirror, or submits from a store: a second one says who is at it, and waits."""

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
def turn(folder: Path, command: str, say: Callable[[str], None]) -> Iterator[Claim]:
    """Hold the claims of a folder while inside; a dead process's is taken over, as a stage's is.

    Args:
        folder: where the claims lie; the newest stays as a record of who came last.
        command: what this process does, e.g. `retain fetch`.
        say: told once who is waited for.

    Raises:
        OSError, StoreError: the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        try:
            held = claim(folder, f"{command} by {getpass.getuser()}, pid {os.getpid()}")
            break
        except StageInUse:
            holder = living_holder(folder)
            if holder and not told:
                say(f"waiting  for {holder['job']} on {holder['host']}")
                told = True
            time.sleep(POLL_S)
    try:
        for path in folder.iterdir():
            if path.name.isdigit() and int(path.name) < held.number:
                path.unlink(missing_ok=True)
        yield held
    finally:
        held.release()
