"""`<mirror>/fetched.json`: the commit each repository is pinned to, and what each file was made of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.mirror.hub import RemoteFile, Repository, sha256_of
from launch.study.sweep import SweepError
from trainers.store.files import write_json

LEDGER = "fetched.json"


@dataclass
class Ledger:
    """`fetched.json`: what came from where."""

    root: Path
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Ledger:
        path = root / LEDGER
        try:
            return cls(root, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
        except ValueError as error:
            raise SweepError(f"{path} is not readable ({error}): move it away; then intact files are kept") from None

    def commit(self, repository: str) -> str | None:
        """The commit to which a repository is pinned."""
        return self.repositories.get(repository, {}).get("commit")

    def files(self, repository: str) -> dict[str, dict[str, Any]]:
        return self.repositories.get(repository, {}).get("files", {})

    def record(self, repository: Repository, path: str, remotes: tuple[RemoteFile, ...], rows: int | None) -> None:
        """Note one file that is now in its place."""
        local = self.root / path
        known = remotes[0].sha256 if len(remotes) == 1 else None  # checked when it came
        facts: dict[str, Any] = {
            "commit": repository.commit,
            "from": [remote.path for remote in remotes],
            "bytes": local.stat().st_size,
            "sha256": known or sha256_of(local),
        }
        if rows is not None:
            facts["rows"] = rows
        if remotes[0].commit != repository.commit:
            facts["converted_commit"] = remotes[0].commit
        entry = self.repositories.setdefault(repository.name, {"commit": repository.commit, "files": {}})
        entry["commit"] = repository.commit
        entry["files"][path] = facts
        write_json(self.root / LEDGER, self.repositories)

    def intact(self, repository: str, path: str) -> bool:
        """Whether a recorded file is there as it was fetched."""
        facts, local = self.files(repository)[path], self.root / path
        return local.is_file() and local.stat().st_size == facts["bytes"] and sha256_of(local) == facts["sha256"]
