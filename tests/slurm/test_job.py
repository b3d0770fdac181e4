"""What a job finds out about its own allocation."""

from __future__ import annotations

import os
import time

import pytest

from slurm import job as allocation
from slurm.commands import SlurmError

START, END = "2026-11-23T10:00:00", "2026-11-23T10:05:00"


@pytest.mark.parametrize(
    ("facts", "after_s"),
    [
        ({"StartTime": START, "TimeLimit": "01:00:00", "EndTime": END}, 3600),  # a preemption has moved its end
        ({"StartTime": START, "TimeLimit": "2-00:00:00"}, 2 * 86400),
        ({"StartTime": START, "TimeLimit": "UNLIMITED"}, None),
        ({"StartTime": "Unknown", "TimeLimit": "01:00:00"}, None),
        ({"StartTime": START}, None),
        ({}, None),
    ],
)
def test_the_deadline_is_that_of_the_time_limit(monkeypatch, facts, after_s):
    monkeypatch.setattr(allocation, "job_facts", lambda job_id: facts)
    began = time.mktime(time.strptime(START, "%Y-%m-%dT%H:%M:%S"))
    assert allocation.deadline("1") == (None if after_s is None else began + after_s)


def test_a_controller_that_is_away_says_nothing_of_the_end(monkeypatch):
    def away(job_id: str) -> dict[str, str]:
        raise SlurmError("slurmctld is away")

    monkeypatch.setattr(allocation, "job_facts", away)
    assert allocation.deadline("1") is None


@pytest.mark.parametrize(
    ("user", "error", "runs"),
    [
        (os.getuid(), "Invalid job id specified", False),
        (os.getuid() + 1, "Invalid job id specified", None),  # PrivateData=jobs: it may well run
        (os.getuid(), "Unable to contact slurm controller", None),
    ],
)
def test_a_job_that_slurm_does_not_show_has_ended_if_it_is_ours(monkeypatch, user, error, runs):
    def refuse(job_id: str) -> dict[str, str]:
        raise SlurmError(error)

    monkeypatch.setattr(allocation, "job_facts", refuse)
    assert allocation.job_runs({"user": user, "scheduler": {"SLURM_JOB_ID": "7"}}) is runs
