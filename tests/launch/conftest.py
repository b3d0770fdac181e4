"""Sweeps that tests vary, on the sandbox's data."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from trainers.stage import Stage
    from trainers.store import Store

SMALL: dict[str, Any] = {
    "name": "small",
    "scales": ["sandbox-s"],
    "intermediates": ["none", "mnli"],
    "targets": ["xnli", "tatoeba"],
    "seeds": [1],
    "languages": ["en", "de"],
    "recipes": "sandbox",
    "overrides": {"*": {"max_steps": 4}},
    "probe": {"examples": 12, "examples_other": 6, "refit_examples": 12},
    "evaluation": {"max_examples": 20, "development_examples": 20},
    "tracking": {"mode": "disabled"},
}


@dataclass(frozen=True)
class Ran:
    """A sweep that was carried out, and what is left of it."""

    file: Path
    stages: tuple[Stage, ...]
    store: Store

    @classmethod
    def here(cls, folder: Path, mirror: Path, **changes: Any) -> Ran:
        """Run a small sweep in this process, some of its fields changed."""
        from launch.commands.common import load
        from launch.commands.run import Run
        from trainers.run import Context, run

        file = folder / "sweep.yaml"
        file.write_text(yaml.safe_dump({**SMALL, "mirror": str(mirror), "store": str(folder / "store"), **changes}))
        sweep, sets = load(Run(file))
        ran = cls.of(file)
        context = Context(ran.store, sets, tracking=sweep.tracking.model_copy(update={"group": sweep.name}))
        for stage in ran.stages:
            run(stage, context)
        return ran

    @classmethod
    def of(cls, file: Path) -> Ran:
        """What the sweep of a file has left."""
        from launch.commands.common import load, planned
        from launch.commands.run import Run
        from trainers.store import Store

        sweep, _ = load(Run(file))
        return cls(file, planned(sweep).stages, Store(sweep.store))

    def copied(self, folder: Path) -> Ran:
        """The same with a store of its own, to be changed."""
        from trainers.store import Store

        return Ran(self.file, self.stages, Store(shutil.copytree(self.store.root, folder / "store")))


@pytest.fixture(scope="session")
def ran(shared, sandbox, tmp_path_factory) -> Ran:
    """An intermediate, two targets and two retrievals that were tracked offline and learned something; not to be
    changed."""
    enough = {"max_examples": 20, "development_examples": 200}
    settings = {"overrides": {}, "evaluation": enough, "tracking": {"mode": "offline"}}
    made = shared("ran", lambda folder: Ran.here(folder, sandbox, **settings))
    mine = shutil.copytree(made, tmp_path_factory.mktemp("ran") / "ran")  # commands leave their marks in a store
    file = mine / "sweep.yaml"
    file.write_text(file.read_text().replace(str(made), str(mine)))
    return Ran.of(file)


@pytest.fixture
def mirror_copy(sandbox, tmp_path) -> Path:
    return Path(shutil.copytree(sandbox, tmp_path / "mirror"))


@pytest.fixture
def sweep_file(sandbox, tmp_path):
    """Writes a sweep file: the small one, with some fields changed (None removes a field)."""

    def write(**changes: Any) -> Path:
        content = {**SMALL, "mirror": str(sandbox), "store": str(tmp_path / "store"), **changes}
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
        return path

    return write
