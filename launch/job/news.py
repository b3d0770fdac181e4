"""Mail or a webhook when a sweep starts, first fails or is over: told by whichever job notices, once.

slurm/news/<sweep>.json      whom to tell, and of which stages; written by each submission
           <sweep>.told/     a file for each thing that was told; created exclusively, so that only one job tells it
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from launch.status import SETTLED, failure, since_last_attempt
from launch.study.retries import with_retries
from slurm.notify import Notifier, changes
from trainers.stage import Frozen, Stage
from trainers.store import StageEntry, Store
from trainers.store.files import write_atomically, writing


class News(Frozen):
    """Whom a sweep's news go to."""

    stages: tuple[Stage, ...]
    """All that were planned, parents first."""
    retries: int = 0
    """Attempts that each has after one that diverged."""
    mail: str | None = None
    webhook_file: Path | None = None
    """Holds the URL, which is a secret: it is in no job file."""


def announce(store: Path, sweep: str, news: News) -> None:
    """Write down whom to tell; what was told of an earlier submission may be told again of this one."""
    folder = store / "slurm" / "news"
    with writing(folder):
        told = folder / f"{sweep}.told"
        told.mkdir(parents=True, exist_ok=True)
        for path in told.iterdir():
            path.unlink(missing_ok=True)
    write_atomically(folder / f"{sweep}.json", news.model_dump_json())


def tell(store: Store, sweep: str) -> list[str]:
    """Tell what is new, if anything is; what went wrong in telling, a line each.  Nothing is raised for it.

    Args:
        sweep: its name.
    """
    folder = store.root / "slurm" / "news"
    try:
        news = News.model_validate_json((folder / f"{sweep}.json").read_text(encoding="utf-8"))
        notifier = Notifier(_url(news.webhook_file), news.mail)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        return [f"no news could be sent: {error}"]
    after = Counter(_states(news, store).values())
    change = changes({}, after)
    if change is None or not _first(folder / f"{sweep}.told" / re.sub(r"\W+", "-", change.partition(":")[0])):
        return []
    return notifier.send(sweep, change)


def _url(file: Path | None) -> str | None:
    return file.expanduser().read_text(encoding="utf-8").strip() if file else None


def _states(news: News, store: Store) -> dict[str, str]:
    """Of every stage as the plan stands by now; what waits for one that failed waits for ever."""
    found: dict[str, str] = {}
    for stage in with_retries(news.stages, store.outcome, news.retries):
        state = _state(store.entry(stage.key))
        hopeless = state == "waiting" and stage.parent is not None and found.get(stage.parent) in ("failed", "blocked")
        found[stage.key] = "blocked" if hopeless else state
    return found


def _state(entry: StageEntry) -> str:
    """As far as news go: how it ended, or that it has not."""
    if result := entry.result:
        return result["outcome"] if result["outcome"] in SETTLED else "failed"
    if not entry.folder.is_dir():
        return "waiting"
    return "failed" if failure(since_last_attempt(entry)) else "running"


def _first(marker: Path) -> bool:
    """Whether nobody told it before."""
    try:
        marker.parent.mkdir(exist_ok=True)
        marker.touch(exist_ok=False)
    except OSError:
        return False
    return True
