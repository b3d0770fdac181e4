"""What a report rests on, its fingerprint, and the way back from there to the report.

    basis.keep(store)                                  # <store>/reports/<fingerprint>.json
    Basis.kept(store, fingerprint).restored(records)   # the records as they were then

A stage's result never changes once it is there, so a report is the same again when it leaves out what came later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from analysis.records.frame import NOTHING, Record
from trainers.stage import Frozen, digest
from trainers.store.files import write_json, writing

DIGITS = 12
RUNNING, MISSING = "running", "missing"
UNFINISHED = (RUNNING, MISSING)


class Basis(Frozen):
    """Everything that decides a report's numbers and figures, but the code."""

    sweep: str
    source: str
    """`store`, `wandb` or `wandb://…`."""
    retrieval_depth: float
    resamples: int
    seed: int
    """Of the bootstrap."""
    results: dict[str, str]
    """By stage: the digest of its result, or `running` or `missing`, where it had none."""

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits."""
        return digest(self.model_dump(mode="json"), DIGITS)

    def keep(self, store: Path) -> Path:
        """Write it down, so that `kept` finds it.

        Raises:
            StoreError: the store cannot be written.
        """
        folder = folder_of(store)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{self.fingerprint}.json", self.model_dump(mode="json"))
        return folder / f"{self.fingerprint}.json"

    @classmethod
    def kept(cls, store: Path, fingerprint: str) -> Basis:
        """
        Args:
            fingerprint: or its first digits.

        Raises:
            ValueError: no report of this store has it, or several have, or its file was changed.
        """
        known = sorted(path.stem for path in folder_of(store).glob("*.json"))
        matches = [name for name in known if fingerprint and name.startswith(fingerprint.lower())]
        if len(matches) != 1:
            shown = f"; known are {', '.join(known)}" if known else ""
            raise ValueError(f"{fingerprint!r} is the fingerprint of {len(matches)} reports of {store}{shown}")
        path = folder_of(store) / f"{matches[0]}.json"
        try:
            found = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        if found.fingerprint != path.stem:
            raise ValueError(f"{path} was changed: what it holds has the fingerprint {found.fingerprint}")
        return found

    def restored(self, records: Iterable[Record]) -> list[Record]:
        """The records as they were when the report was made: of stages that had no result then, nothing is left.

        Args:
            records: as they are now.

        Raises:
            ValueError: stages that it rests on are gone, or have another result now.
        """
        now = {record.stage.key: record for record in records}
        found = results_of(now.values())
        changed = [key for key, result in self.results.items() if result not in UNFINISHED and result != found.get(key)]
        if changed:
            raise ValueError(
                f"{len(changed)} stages of report {self.fingerprint} are gone or have another result now; the first is "
                f"{changed[0]}"
            )
        return [_as_it_was(now[key], result) for key, result in self.results.items() if key in now]


def results_of(records: Iterable[Record]) -> dict[str, str]:
    """As `Basis.results`."""
    return {
        record.stage.key: record.outcome if record.result is None else digest(dict(record.result), DIGITS)
        for record in records
    }


def _as_it_was(record: Record, result: str) -> Record:
    if result == MISSING:
        return Record(record.stage, {}, None, NOTHING, begun=False)
    return replace(record, result=None, measured=NOTHING, provenance={}) if result == RUNNING else record


def folder_of(store: Path) -> Path:
    """Where a store keeps what its reports rest on."""
    return store / "reports"
