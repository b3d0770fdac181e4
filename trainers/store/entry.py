"""The store: one folder a stage, plain files, the only source of truth.

    stages/<key>/stage.json      what the stage is; written first, compared on every reuse
                 claims/000001   who works on it: job, host, process; the highest number holds it
                 events.jsonl    attempts, steps, measurements, checkpoints, signals; append-only
                 checkpoints/    see trainers.training.checkpoint
                 encoder/ heads.safetensors predictions/ provenance.json
                 result.json     last: a stage is done if and only if this exists
    tokenised/                   see trainers.data.tokenise

Safe on NFS and Lustre: files are created exclusively or renamed into place, never locked.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainers.stage import Stage
from trainers.store.claims import Claim, Judge, claim, living_holder, nobody_knows
from trainers.store.files import StoreError, read_json_lines, write_json, writing

TAIL_BYTES = 65_536


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
        keys = sorted(os.listdir(folder)) if folder.is_dir() else []
        return [StageEntry(folder / key) for key in keys if os.path.exists(f"{folder}/{key}/stage.json")]

    def outcome(self, key: str) -> str | None:
        """How a stage ended; None where it has not."""
        result = self.entry(key).result
        return result["outcome"] if result else None

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
        return Stage.model_validate_json((self.folder / "stage.json").read_bytes())

    @property
    def done(self) -> bool:
        return (self.folder / "result.json").exists()

    @property
    def result(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / "result.json").read_bytes())
        except FileNotFoundError:
            return None

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

    def last_events(self) -> list[dict[str, Any]]:
        """The end of the log, without reading a long one whole."""
        path = self.folder / "events.jsonl"
        if not path.exists():
            return []
        with path.open("rb") as file:
            start = max(0, path.stat().st_size - TAIL_BYTES)
            file.seek(start)
            lines = file.read().split(b"\n")[1 if start else 0 :]
        events = []
        for line in lines:
            with suppress(ValueError):
                events.append(json.loads(line))
        return events

    @property
    def saved_step(self) -> int:
        """Optimizer steps that an unfinished stage need not do again; 0 where none is saved."""
        if not self.checkpoints.is_dir():
            return 0
        steps = (path.name.removeprefix("step-") for path in self.checkpoints.iterdir())
        return max((int(step) for step in steps if step.isdigit()), default=0)

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
        ours, theirs = stage.identity, stored.identity
        if ours != theirs:
            different = [name for name in ours if ours[name] != theirs.get(name)]
            shown = "\n".join(
                f"  {name}: stored {theirs.get(name)!r}\n  {' ' * len(name)}  wanted {ours[name]!r}"
                for name in different
            )
            raise StoreError(
                f"{path} has the key {self.key} but is another stage:\n{shown}\n"
                "The store was edited or damaged; move this folder away and run again."
            )

    # -- who works on it ----------------------------------------------------------------------------------

    def claim(self, job: str, judge: Judge = nobody_knows) -> Claim:
        """Take the stage for this process.

        Raises:
            StageInUse: a living job holds it.
        """
        return claim(self.folder / "claims", job, judge)

    def claimant(self, judge: Judge = nobody_knows) -> dict[str, Any] | None:
        """The living holder of this stage, if any."""
        return living_holder(self.folder / "claims", judge)


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
        with suppress(OSError):  # `write` has reported what could not be written
            self._file.close()
