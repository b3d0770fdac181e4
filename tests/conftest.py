"""What every test needs before torch is imported: one thread, no network, and nothing of the caller's environment."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

for _name in list(os.environ):
    if _name.startswith(("WANDB_", "SLURM_", "SUBMITIT_")) or _name in RANK_VARIABLES:
        del os.environ[_name]
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

# Derandomised: the same examples on every machine, so that a red test is red for everybody.
settings.register_profile("retain", deadline=None, derandomize=True, database=None)
settings.load_profile("retain")


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
