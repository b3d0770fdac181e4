"""Read runs from a W&B server.

The client asks page by page, and repeats what the server answers with 429 or 5xx, waiting longer each time; here
is told in words what it gives up on, and what was read is kept on disk until the run changes.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainers.store.files import write_atomically

PATIENCE_S = 60
"""For one answer, repetitions included."""
SETTLES_S = 0.5
"""An abandoned request's end in wandb-core. Torn down within milliseconds of it, the client's process misses the
word to end, and whoever waits for it waits for ever (wandb 0.31)."""
SERVICE = "WANDB_SERVICE"
"""Where the client tells processes to come which helper process (wandb-core) to use: this one's.  Agents must not be
told: they may be on other machines, and a run that one of them gave up on would be held there until it ends."""
PLACE = re.compile(r"wandb://(?P<entity>[^/]+)/(?P<project>[^/]+)/(?P<sweep>[^/]+)")


class WandbError(RuntimeError):
    """W&B cannot be asked; the message says what a person can do, and holds no secret."""


@dataclass
class Fragment:
    """What was written about a run: all of it, or what one process wrote in its offline file."""

    run_id: str = ""
    started: float = 0.0
    """Seconds since 1970."""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    """The logged rows, oldest first."""
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a sweep's runs are: `wandb://<entity>/<project>/<sweep>`."""

    entity: str
    project: str
    sweep: str
    """The group of its runs."""

    def __str__(self) -> str:
        return f"wandb://{self.entity}/{self.project}/{self.sweep}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """
        Raises:
            ValueError: it is no such address.
        """
        found = PLACE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a place in W&B; expected wandb://<entity>/<project>/<sweep>")
        return cls(**found.groupdict())


@contextmanager
def told_in_words() -> Iterator[None]:
    """What the client raises becomes one sentence; processes started later have a helper process of their own.

    Raises:
        WandbError: of whatever went wrong.
    """
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    try:
        yield
    except (wandb.Error, WandbApiFailedError, TimeoutError, OSError) as error:
        time.sleep(SETTLES_S)
        said = str(error)
        if isinstance(error, wandb.errors.UsageError) or "API key must" in said:
            advice = "Set WANDB_API_KEY, or run `wandb login`."
        elif "invalid API key" in said or "401" in said:
            advice = "The key is not known there: check WANDB_API_KEY, or run `wandb login --relogin`."
        else:
            advice = "Check the network and WANDB_BASE_URL, and run the same command again: the store has everything."
        key = os.environ.get("WANDB_API_KEY")
        raise WandbError(f"W&B: {said.replace(key, '…') if key else said}\n{advice}") from None
    finally:
        os.environ.pop(SERVICE, None)


def connect() -> Any:
    """The client's `Api`, its key already checked.

    Raises:
        WandbError: there is no key, it is wrong, or the server cannot be reached.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    with told_in_words():
        return wandb.Api(timeout=PATIENCE_S)


def runs_of(api: Any, place: Place, keys: Collection[str] = ()) -> list[Any]:
    """The client's runs of a sweep, those of its stages that another sweep began included; none where there is no
    such project.

    Raises:
        WandbError: W&B cannot be asked.
    """
    wanted = {"$or": [{"group": place.sweep}, {"name": {"$in": sorted(keys)}}]}
    with told_in_words():
        try:
            return list(api.runs(f"{place.entity}/{place.project}", filters=wanted, per_page=100, lazy=False))
        except ValueError as error:
            if "Could not find project" in str(error):
                return []
            raise


def read_run(run: Any) -> Fragment:
    """Everything that W&B has of one run.

    Raises:
        WandbError: W&B cannot be asked.
    """
    with told_in_words():
        history = list(run.scan_history(use_cache=False))
    # The client's own types of nested values become plain ones.
    config, summary = (json.loads(json.dumps(dict(part), default=dict)) for part in (run.config, run.summary))
    return Fragment(run.id, 0.0, config, history, summary)


def read_measured(run: Any, cache: Path) -> Fragment:
    """What a run measured, from `cache` where it has not changed since; its optimizer steps left out.

    Raises:
        WandbError: W&B cannot be asked.
        StoreError: the cache cannot be written.
    """
    path = cache / f"{run.id}.json"
    version = [run.state, run.heartbeatAt]
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["version"] == version:
            return Fragment(**kept["fragment"])
    fragment = read_run(run)
    curves = fragment.config.get("curves", {})
    fragment.history = [row for row in fragment.history if row.keys() & curves.keys()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"version": version, "fragment": asdict(fragment)}))
    return fragment
