"""`pytest --quick`: what imports torch, or starts a process, is skipped at that very moment; the rest is soon run.

Nothing is listed and nothing is marked, so no list can be out of date.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

import pytest

HEAVY = ("torch", "transformers", "deepspeed", "wandb", "accelerate")
PROCESSES = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_fork")
"""What multiprocessing imports when it is about to start one."""
STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
"""What Python tells of a process that is about to be started otherwise."""


class Refused:
    """Is asked for every module before anything else is; who only asks whether there is torch, as polars does, may."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.partition(".")[0] in HEAVY or name in PROCESSES else None

    def create_module(self, spec: ModuleSpec) -> NoReturn:
        pytest.skip(f"imports {spec.name}", allow_module_level=True)

    def exec_module(self, module: ModuleType) -> None:
        """A loader has one; `create_module` comes first."""


def _no_process(event: str, _: tuple) -> None:
    if event in STARTS:
        pytest.skip("starts a process", allow_module_level=True)


def only_quick() -> None:
    """From now on, in this process."""
    loaded = sorted(set(HEAVY) & set(sys.modules))
    assert not loaded, f"{loaded} are imported by pytest itself or by tests/conftest.py: nothing would be skipped"
    sys.meta_path.insert(0, Refused())
    sys.addaudithook(_no_process)
