"""The synthetic study is written once: tests read it, and build smaller stores of their own where they change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.study import Study
from tests.analysis import fakes


@dataclass(frozen=True)
class Built:
    root: Path
    keys: list[str]
    study: Study


@pytest.fixture(scope="session")
def built(shared: Callable[..., Path]) -> Built:
    """The whole study, and what analysis makes of it."""
    root = shared("study", fakes.write_study)
    return Built(root, [stage.key for stage in fakes.stages()], fakes.study_of(root))


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two scales, two targets, and an intermediate of two tasks beside one of one."""
    root = tmp_path_factory.mktemp("several")
    for stage in fakes.stages((0, 1), ("none", "mnli", fakes.SEVERAL)):
        if stage.scale.name != "medium" and stage.kind != "retrieval" and stage.ending in ("", "pawsx", "xnli"):
            fakes.write_stage(root, stage)
    return fakes.study_of(root)
