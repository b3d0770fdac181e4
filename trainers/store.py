"""The store: one folder a stage, plain files, the only source of truth.

    stages/<key>/stage.json      what the stage is; written first, compared on every reuse
                 claims/000001   who works on it: job, host, process; the highest number holds it
                 events.jsonl    attempts, steps, measurements, checkpoints, signals; append-only
                 checkpoints/    see trainers.checkpoint
                 encoder/ heads.safetensors predictions/ provenance.json
                 result.json     last: a stage is done if and only if this exists
    tokenised/                   see trainers.data.tokenise

Safe on NFS and Lustre: files are created exclusively or renamed into place, never locked.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from trainers.stage import Stage

CLAIM_STALE_S = 900.0
"""A claim from another host whose file has not been touched for so long belongs to a dead job."""


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message says what a person can do."""


class StageInUse(StoreError):
    """Another living job works on this stage."""


class ClaimLost(StoreError):
    """Another job has taken this stage over; nothing more may be written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever a writer raises inside (safetensors and polars have their own types) becomes one clear error.

    Raises:
        StoreError: the disk is full, read-only or broken.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot write {path}: {reason}. Free space or choose another store.") from error


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`: a reader sees the old or the new file, also after a crash or a full disk.

    Raises:
        StoreError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with writing(path):
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of an append-only file; a line torn by a crash is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue


class Store:
    """A folder of stages."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def tokenised(self) -> Path:
        return self.root / "tokenised"

    def entry(self, key: str) -> StageEntry:
        return StageEntry(self.root / "stages" / key)

    def entries(self) -> list[StageEntry]:
        """Every stage that was ever begun here."""
        folder = self.root / "stages"
        return [StageEntry(path.parent) for path in sorted(folder.glob("*/stage.json"))]

    def open(self, stage: Stage) -> StageEntry:
        """The entry of `stage`, created where new.

        Raises:
            StoreError: the store cannot be written, or the entry of this key holds another stage.
        """
        entry = self.entry(stage.key)
        if not (entry.folder / "stage.json").exists():
            with writing(entry.folder):
                entry.folder.mkdir(parents=True, exist_ok=True)
            write_json(entry.folder / "stage.json", stage.model_dump(mode="json"))
        entry.refuse_other(stage)
        return entry


class StageEntry:
    """The folder of one stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder.name

    # -- what is there ------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        return Stage.model_validate_json((self.folder / "stage.json").read_text(encoding="utf-8"))

    @property
    def done(self) -> bool:
        return (self.folder / "result.json").exists()

    @property
    def result(self) -> dict[str, Any] | None:
        path = self.folder / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def encoder(self) -> Path:
        return self.folder / "encoder"

    @property
    def heads(self) -> Path:
        return self.folder / "heads.safetensors"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Events in the order they were written, of the given kinds (all where none is given)."""
        lines = read_json_lines(self.folder / "events.jsonl")
        return [event for event in lines if not kinds or event.get("event") in kinds]

    def refuse_other(self, stage: Stage) -> None:
        """Compare full identities.

        Raises:
            StoreError: same key, other content; both are shown.
        """
        path = self.folder / "stage.json"
        try:
            stored = self.stage
        except ValueError as error:
            raise StoreError(f"{path} is not a stage of this version: {error}") from error
        ours, theirs = stage.identity(), stored.identity()
        if ours != theirs:
            different = [name for name in ours if ours[name] != theirs.get(name)]
            shown = "\n".join(f"  {name}: stored {theirs.get(name)!r}\n  {' ' * len(name)}  wanted {ours[name]!r}"
                              for name in different)
            raise StoreError(f"{path} has the key {self.key} but is another stage:\n{shown}\n"
                             "The store was edited or damaged; move this folder away and run again.")

    # -- who works on it ----------------------------------------------------------------------------------

    def claim(self, job: str) -> Claim:
        """Take the stage for this process.

        Raises:
            StageInUse: a living job holds it.
        """
        folder = self.folder / "claims"
        with writing(folder):
            folder.mkdir(exist_ok=True)
        while True:
            held = _highest(folder)
            if held and _alive(folder / f"{held:06d}"):
                raise StageInUse(f"stage {self.key} is being run by {_claimant(folder / f'{held:06d}')}")
            claim = Claim(folder, held + 1)
            if claim.create(job):
                return claim

    @property
    def claimant(self) -> dict[str, Any] | None:
        """The living holder of this stage, if any."""
        folder = self.folder / "claims"
        held = _highest(folder) if folder.is_dir() else 0
        path = folder / f"{held:06d}"
        return _claimant(path) if held and _alive(path) else None


class Claim:
    """A numbered claim; the number is the fencing token."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.path = folder / f"{number:06d}"

    def create(self, job: str) -> bool:
        """Create the claim file exclusively; False where another process was first.

        Written whole under another name and linked into place, which is atomic on NFS too.
        """
        owner = {"job": job, "host": socket.gethostname(), "pid": os.getpid(),
                 "process_started": psutil.Process().create_time(), "claimed_at": time.time()}
        temporary = self.folder / f".{uuid.uuid4().hex}"
        write_json(temporary, owner)
        with writing(self.path):
            try:
                os.link(temporary, self.path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
        return True

    def check(self) -> None:
        """Say that we still live, and stop if the stage was taken over.

        Raises:
            ClaimLost: a higher claim exists.
        """
        if _highest(self.folder) != self.number:
            raise ClaimLost(f"stage {self.folder.parent.name} was taken over by another job; this one stops")
        with writing(self.path):
            os.utime(self.path)

    def release(self) -> None:
        """Let others have the stage at once; the file stays, as a record of who worked on it."""
        if self.path.exists():
            write_json(self.path, {**_claimant(self.path), "released_at": time.time()})


def _highest(folder: Path) -> int:
    return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=0)


def _claimant(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _alive(path: Path) -> bool:
    owner = _claimant(path)
    if not owner or "released_at" in owner:
        return False
    if owner["host"] != socket.gethostname():
        return time.time() - path.stat().st_mtime < CLAIM_STALE_S
    try:
        process = psutil.Process(owner["pid"])
        return abs(process.create_time() - owner["process_started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class EventLog:
    """Appends to a stage's events.jsonl; one line an event, flushed at once."""

    def __init__(self, entry: StageEntry) -> None:
        path = entry.folder / "events.jsonl"
        torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        if torn:  # a crash cut the last line short: leave it as a line of its own
            self._file.write("\n")

    def write(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "time": time.time(), **facts}, ensure_ascii=False) + "\n"
        with writing(Path(self._file.name)):
            self._file.write(line)
            self._file.flush()

    def sync(self) -> None:
        with writing(Path(self._file.name)):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        with suppress(OSError):  # what could not be written was told by `write`
            self._file.close()
