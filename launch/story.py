"""What an operator asks of a running sweep: its queue, the story of a stage, and changes to either."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from launch.job.records import ArrayFolder, array_folders, in_queue
from launch.study.plan import Plan
from launch.verdicts import verdict_of
from slurm.commands import QueuedJob, SlurmError, queue
from trainers.stage import Stage
from trainers.store import EventLog, StageEntry, Store
from trainers.store.files import read_json_lines, writing

FREQUENT_EVENTS = ("step", "measured")
"""Of these a story tells only the last of each attempt: there are thousands."""
LOOK_EVERY_S = 0.5
"""For what a log has grown by."""


def queue_of(store: Path, console: Any) -> dict[str, QueuedJob] | None:
    """The jobs that hold stages of this store, by key; None where nothing was ever submitted from it.

    A queue that cannot be asked is told, and the store shown alone: what is done is not SLURM's to say.
    """
    if not (store / "slurm").is_dir():
        return None
    try:
        return in_queue(store, queue())
    except SlurmError as error:
        console.print(f"the queue cannot be asked, so this shows only the store: {error}", style="yellow", markup=False)
        return None


def jobs_to_cancel(plan: Plan, queued: dict[str, QueuedJob], stages: Iterable[Stage]) -> list[str]:
    """Ids of the jobs that hold the stages, and of those that hold what descends from them."""
    doomed = {stage.key for stage in stages}
    for stage in plan.stages:  # parents first
        if stage.parent in doomed:
            doomed.add(stage.key)
    return sorted({queued[place].job_id for key in doomed if (place := plan.place_of(key)) in queued})


def story(stage: Stage, store: Store) -> list[tuple[float, str]]:
    """Everything that is known of one stage, oldest first: Unix time and a line each."""
    entry = store.entry(stage.key)
    return sorted([*_events(entry), *_submissions(stage.key, store.root)], key=lambda pair: pair[0])


def _events(entry: StageEntry) -> Iterator[tuple[float, str]]:
    """The stage's own log; of steps and measurements only how far each attempt came."""
    last: dict[str, Any] | None = None
    for event in read_json_lines(entry.folder / "events.jsonl"):
        if event.get("event") in FREQUENT_EVENTS:
            last = event if event["event"] == "step" else last
            continue
        if last is not None:
            yield last["time"], f"reached step {last['step']}, loss {last['loss']:.3f}"
            last = None
        yield event["time"], _sentence(event)
    if last is not None:
        yield last["time"], f"reached step {last['step']}, loss {last['loss']:.3f}"


def _sentence(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "attempt":
        scheduler = " ".join(f"{name}={value}" for name, value in event.get("scheduler", {}).items())
        where = f"{event['host']}, {', '.join(event['devices'])}"
        return (
            f"attempt {event['claim']} by {event['job']} on {where}, {event['world_size']} rank(s) {scheduler}".rstrip()
        )
    if kind == "judged":
        decision = verdict_of(event).decision
        return f"job ended {decision.cause}: {decision.because}"
    facts = {name: value for name, value in event.items() if name not in ("event", "time")}
    if kind == "ended":
        evidence = f": {event['evidence']}" if event.get("evidence") else ""
        return f"ended {event['outcome']}{evidence}"
    return f"{kind.replace('_', ' ')}  " + ", ".join(f"{name} {value}" for name, value in facts.items())


def _submissions(key: str, store: Path) -> Iterator[tuple[float, str]]:
    for folder, index in elements_of(key, store):
        record = folder.record
        placed = f"{record.placement.ranks} rank(s) on {record.placement.nodes} node(s)"
        written = (folder.folder / "array.json").stat().st_mtime
        yield written, f"submitted by {record.user} as element {index} of {folder.name}: {placed}, {record.minutes} min"


def elements_of(key: str, store: Path) -> Iterator[tuple[ArrayFolder, int]]:
    """Every submitted element that holds a stage, oldest first."""
    folders = sorted(array_folders(store), key=lambda folder: (folder.folder / "array.json").stat().st_mtime)
    for folder in folders:
        for index, keys in enumerate(folder.record.elements):
            if key in keys:
                yield folder, index


def newest_log(key: str, store: Path) -> Path | None:
    """What rank 0 of the latest job with this stage prints; None where it was never submitted or has not begun."""
    logs = [folder.rank_logs(index) / "rank-0.txt" for folder, index in elements_of(key, store)]
    return next((log for log in reversed(logs) if log.exists()), None)


class GrowingFile:
    """A text file that another process appends to."""

    def __init__(self, path: Path) -> None:
        self._path, self._read_to = path, 0
        self.begun = ""
        """What there is of the last line, which may still be written."""

    def new_lines(self) -> list[str]:
        """The whole lines since the last look; none where the file is not there yet."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            *whole, begun = file.read().split(b"\n")
        self._read_to += sum(len(line) + 1 for line in whole)
        self.begun = begun.decode("utf-8", "replace")
        return [line.decode("utf-8", "replace") for line in whole]


def lines_of(log: Path, most: int, ended: Callable[[], bool]) -> Iterator[str]:
    """The last lines of a log, `most` of them, and those that come until it has ended; each is whole, but the last."""
    file = GrowingFile(log)
    before = file.new_lines()
    yield from before[max(0, len(before) - most) :]
    last = False
    while not last:
        last = ended()  # before reading: what comes between is read
        yield from file.new_lines()
        if not last:
            time.sleep(LOOK_EVERY_S)
    if file.begun:
        yield file.begun


def allow_retry(entry: StageEntry) -> bool:
    """Let a failed stage be run again, or one whose encoder was pruned; whether there was anything to do."""
    if entry.done and not _pruned(entry):
        return False
    if not entry.folder.is_dir():
        return False
    log = EventLog(entry)
    log.write("retry")
    log.close()
    if entry.done:
        with writing(entry.folder):
            (entry.folder / "result.json").rename(entry.folder / f"result-before-{int(time.time())}.json")
    return True


def _pruned(entry: StageEntry) -> bool:
    return bool(entry.events("pruned")) and not entry.encoder.is_dir()


def prunable(plan: Plan, store: Store) -> list[tuple[StageEntry, Path, int]]:
    """What can go: encoders of intermediates all of whose children in the store and the plan are settled, and
    checkpoints of stages that have a result; with sizes in bytes."""
    needed: set[str] = set()
    for stage in (*plan.stages, *_known(store)):
        if stage.parent and not store.entry(stage.key).done:
            needed.add(stage.parent)
    prunables: list[tuple[StageEntry, Path, int]] = []
    for stage in plan.stages:
        entry = store.entry(stage.key)
        if not entry.done:
            continue
        folders = [entry.checkpoints]
        if stage.kind == "intermediate" and stage.key not in needed:
            folders.append(entry.encoder)
        prunables += [(entry, folder, _size(folder)) for folder in folders if folder.is_dir()]
    return prunables


def prune(entry: StageEntry, folder: Path) -> None:
    """Delete one folder of a stage, and write down that it was."""
    log = EventLog(entry)
    log.write("pruned", folder=folder.name)
    log.close()
    with writing(folder):
        shutil.rmtree(folder)


def _known(store: Store) -> Iterator[Stage]:
    for entry in store.entries():
        try:
            yield entry.stage
        except ValueError:  # of another version: it can need nothing of this one
            continue


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
