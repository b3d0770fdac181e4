"""What every test needs before torch is imported: one thread, no network, and nothing of the caller's environment."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests import warm
from tests.quick import only_quick

RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

for _name in list(os.environ):
    if _name.startswith(("WANDB_", "SLURM_", "SUBMITIT_")) or _name in RANK_VARIABLES:
        del os.environ[_name]
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

# Derandomised: the same examples on every machine, so that a red test is red for everybody.
settings.register_profile("retain", deadline=None, derandomize=True, database=None)
settings.load_profile("retain")

# A shell starts what it puts in the background deaf to Ctrl-C, and what tests start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="skip whatever imports torch or starts a process")


def pytest_configure(config: pytest.Config) -> None:
    distributes = getattr(config.option, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ
    if config.option.quick and not distributes:
        settings.register_profile("quick", settings.get_profile("retain"), max_examples=20)
        settings.load_profile("quick")
        only_quick()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with many slow tests come first: a long one that begins last keeps all other processes waiting."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`shared(name, fill)`: a folder that `fill(folder)` fills once for all of pytest's processes; none changes it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = base / "shared" / name, base / "shared" / f"{name}.done"
        folder.mkdir(parents=True, exist_ok=True)
        with (base / "shared" / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                fill(folder)
                done.touch()
        return folder

    return filled


@pytest.fixture(scope="session", autouse=True)
def _warm(shared) -> None:
    """Processes that tests start through `sys.executable` start at once."""
    sys.executable = str(shared("warm", warm.make) / "python")
    multiprocessing.set_executable(sys.executable)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that this test starts are fresh, as a user's."""
    monkeypatch.setattr(sys, "executable", warm.REAL)
    multiprocessing.set_executable(warm.REAL)
    yield
    multiprocessing.set_executable(sys.executable)


@pytest.fixture(scope="session")
def sandbox(shared) -> Path:
    """The sandbox's mirror; tests that change files copy it first."""
    from trainers.sandbox import write_mirror

    return shared("sandbox", write_mirror)


@pytest.fixture(autouse=True)
def _no_rank_left_behind():
    """A stage that ran in this process leaves its rank in the environment; processes that later tests start must not
    take it for theirs."""
    yield
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch):
    """A W&B server on loopback to which the real client of this process, and of those it starts, now talks."""
    import wandb

    from tests.wandb_server import serving

    with serving() as server:
        for name, value in {"BASE_URL": server.url, "API_KEY": server.key, "ERROR_REPORTING": "false"}.items():
            monkeypatch.setenv(f"WANDB_{name}", value)
        wandb.teardown()  # the client reads its settings once a process
        yield server
        server.heal()  # what the client still waits for is answered now
        wandb.teardown()
