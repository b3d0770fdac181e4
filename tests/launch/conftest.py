"""Sweeps that tests vary, and a sandbox mirror made once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

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


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory) -> Path:
    """The sandbox's mirror; tests that change files copy it first."""
    from trainers.data.sandbox import write_mirror

    folder = tmp_path_factory.mktemp("sandbox") / "mirror"
    write_mirror(folder)
    return folder


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
