"""A process finds its rank whoever launched it, and an error on rank 0 reaches all."""

from __future__ import annotations

import pytest

from trainers.store.claims import StageInUse
from trainers.training.ranks import Ranks


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"},
        {"SUBMITIT_LOCAL_GLOBALID": "3", "SUBMITIT_LOCAL_NTASKS": "8", "SUBMITIT_LOCAL_LOCALID": "1"},
        {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"},
    ],
    ids=["torchrun", "submitit", "SLURM"],
)
def test_rank_is_read_from_every_launcher(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Ranks.from_environment() == Ranks(3, 8, 1)


def test_process_that_nothing_launched_is_alone(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")  # e.g. left over in a shell; the others are missing
    assert Ranks.from_environment() == Ranks(0, 1, 0)
    assert Ranks().first


def test_torchrun_inside_a_slurm_job_counts(monkeypatch):
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "1",
        "SLURM_LOCALID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    assert Ranks.from_environment() == Ranks(1, 2, 1)


def test_error_of_the_first_rank_is_raised():
    def refuse() -> None:
        raise StageInUse("stage abc is being run by another job")

    with pytest.raises(StageInUse, match="another job"):
        Ranks().on_first(refuse)


def test_what_the_first_rank_returns_stays_there():
    assert Ranks().on_first(lambda: 7) == 7
