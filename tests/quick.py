"""`pytest --quick`: what imports torch, or starts a process, is skipped at that very moment; the rest is soon run.

Nothing is listed and nothing is marked, so no list can be out of date.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

import pytest

HEAVY = ("torch", "transformers", "deepspeed", "wandb", "accelerate")
PROCESSES = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_fork")
"""What multiprocessing imports when it is about to start one."""
STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
"""What Python tells of a process that is about to be started otherwise."""


class Refused:
    """Is asked for every module before anything else is."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name.partition(".")[0] in HEAVY or name in PROCESSES:
            pytest.skip(f"imports {name}", allow_module_level=True)
        return None


def _no_process(event: str, _: tuple) -> None:
    if event in STARTS:
        pytest.skip("starts a process", allow_module_level=True)


def only_quick() -> None:
    """From now on, in this process."""
    loaded = sorted(set(HEAVY) & set(sys.modules))
    assert not loaded, f"{loaded} are imported by pytest itself or by tests/conftest.py: nothing would be skipped"
    sys.meta_path.insert(0, Refused())
    sys.addaudithook(_no_process)
