"""Whether a report would be written again as it lies there: by sizes and times of files, which takes no reading."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import analysis
import launch
import trainers
from launch.study.plan import Plan
from trainers.stage import digest
from trainers.store import Store
from trainers.store.files import write_json

NAME = ".made-from.json"
"""Beside the page."""
DRAWN_BY = ("numpy", "scipy", "polars", "vl-convert-python", "Jinja2")
"""Packages whose versions can change what a report looks like."""


@dataclass(frozen=True)
class MadeFrom:
    """A report's folder, and what the report in it is made from now: sweep, stages, code, packages."""

    out: Path
    kept: Path
    """Folder where the store keeps what its reports rest on."""
    inputs: str
    """Digest."""

    @classmethod
    def of(cls, plan: Plan, out: Path, figures: bool | None) -> MadeFrom:
        """
        Args:
            figures: as `retain report --figures` was asked.
        """
        store = Store(plan.sweep.store)
        inputs = {
            "sweep": plan.sweep.model_dump(mode="json"),
            "figures": figures,
            "stages": {stage.key: _listing([store.entry(stage.key).folder]) for stage in plan.stages},
            "code": _listing(Path(package.__path__[0]) for package in (analysis, launch, trainers)),
            "packages": [version(name) for name in DRAWN_BY],
        }
        return cls(out, store.root / "reports", digest(inputs))

    @property
    def page(self) -> Path:
        return self.out / "report.html"

    @property
    def written(self) -> bool:
        """Whether the report there is made from the same, and nobody has touched it since."""
        try:
            known = json.loads((self.out / NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return self.page.is_file() and known == {"inputs": self.inputs, "outputs": self._outputs()}

    def keep(self) -> None:
        """Remember it, after the report was written.

        Raises:
            StoreError: the folder cannot be written.
        """
        write_json(self.out / NAME, {"inputs": self.inputs, "outputs": self._outputs()})

    def _outputs(self) -> str:
        return digest(_listing([self.out, self.kept]))


def _listing(folders: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of every file below, compiled code and our own note left out."""
    return [
        (str(path), stat.st_size, stat.st_mtime_ns)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and path.name != NAME
        for stat in [path.stat()]
    ]
