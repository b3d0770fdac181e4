"""The line of a page that says what was run, when, on which code and hardware."""

from __future__ import annotations

import os
import time

from trainers.store.record import provenance


def measured(command: str, *packages: str) -> str:
    """`command` on a day, commit, devices, cores and the load of the last minute.

    Args:
        command: what a reader types.
        packages: those whose version matters.
    """
    facts = provenance()
    code = facts["code"] or {"commit": "unknown", "dirty": False}
    parts = [
        f"`{command}` on {time.strftime('%Y-%m-%d')}",
        f"commit {code['commit'][:7]}{' with uncommitted changes' if code['dirty'] else ''}",
        f"on {', '.join(facts['devices'])}",
        f"{len(os.sched_getaffinity(0))} cores",
        f"load {os.getloadavg()[0]:.1f}",
        *(f"{name} {facts['packages'][name]}" for name in packages),
    ]
    return ", ".join(parts)
