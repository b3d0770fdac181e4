"""One `retain fetch` at a time fills a mirror: a second one says who is at it, waits, and then finds it done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.claims import Claim, StageInUse, claim, living_holder

POLL_S = 1.0


@contextmanager
def turn(folder: Path, say: Callable[[str], None]) -> Iterator[Claim]:
    """Hold the claims of a folder while inside; a dead process's is taken over, as a stage's is.

    Args:
        folder: where the claims lie; the newest stays as a record of who came last.
        say: told once who is waited for.

    Raises:
        OSError, StoreError: the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        try:
            held = claim(folder, f"retain fetch, pid {os.getpid()}")
            break
        except StageInUse:
            holder = living_holder(folder)
            if holder and not told:
                say(f"waiting  {holder['job']} on {holder['host']} is fetching into this mirror")
                told = True
            time.sleep(POLL_S)
    try:
        for path in folder.iterdir():
            if path.name.isdigit() and int(path.name) < held.number:
                path.unlink(missing_ok=True)
        yield held
    finally:
        held.release()
