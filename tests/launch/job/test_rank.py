"""What the job of a bundle makes of its stages' ends."""

from __future__ import annotations

import sys

import pytest

from launch.job import rank
from launch.job.bundle import bundle_of
from launch.job.rank import FAILED, REQUEUE, StopFlag
from launch.study.plan import make_plan, mirror_of
from launch.study.sweep import load_sweep


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["completed", "completed"], 0),
        (["diverged", "completed"], 0),
        (["completed", "preempted"], REQUEUE),
        (["preempted"], REQUEUE),
        (["completed"], REQUEUE),  # told to stop before the second began
        ([], REQUEUE),
        (["failed", "completed"], FAILED),
        (["failed", "preempted"], FAILED),  # left to a person, who lets the other go on, too
        (["completed", "blocked"], FAILED),
    ],
)
def test_a_rank_s_exit_status_says_whether_there_is_more_to_do(sweep_file, tmp_path, monkeypatch, ends, status):
    plan = make_plan(load_sweep(sweep_file(intermediates=["none"], targets=["xnli", "pawsx"])))
    bundle_of(plan, mirror_of(plan.sweep), plan.stages, plan.sweep.execution).save(tmp_path / "bundle.json")
    keys = [stage.key for stage in plan.stages]
    assert len(keys) == 2
    monkeypatch.setattr(sys, "argv", ["job", str(tmp_path / "bundle.json")])
    monkeypatch.setattr(StopFlag, "listen", lambda flag: flag)  # the signals are pytest's
    monkeypatch.setattr(rank, "unhealthy", lambda bundle, ranks: [])
    monkeypatch.setattr(rank, "run_stages", lambda bundle, should_stop: dict(zip(keys, ends, strict=False)))
    monkeypatch.setattr(rank, "disconnect", lambda: None)
    assert rank.main() == status
