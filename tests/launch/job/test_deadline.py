"""Close to the time limit nothing is begun that could not be saved any more."""

from __future__ import annotations

import time

import pytest

from launch.job.bundle import bundle_of
from launch.job.rank import Deadline, StopFlag, run_stages, to_save_s
from launch.study.plan import make_plan, mirror_of
from launch.study.sweep import load_sweep
from slurm.job import DEADLINE
from trainers.store import EventLog, Store


@pytest.fixture
def plan(sweep_file):
    return make_plan(load_sweep(sweep_file(intermediates=["none"], targets=["xnli", "pawsx"])))


@pytest.fixture
def entry(plan, tmp_path):
    return Store(tmp_path / "store").open(plan.stages[0])


def log(entry, *events: tuple[str, float]) -> None:
    """Events and when they came."""
    one = EventLog(entry)
    for event, when in events:
        one.write(event, time=when)
    one.close()


@pytest.mark.parametrize(
    ("limit_s", "left_s", "late"),
    [(3600, 3600, False), (3600, 121, False), (3600, 119, True), (60, 13, False), (60, 11, True), (60, -5, True)],
)
def test_a_first_stage_needs_two_minutes_or_a_fifth_of_a_short_job(monkeypatch, limit_s, left_s, late):
    now = time.time()
    monkeypatch.setenv(DEADLINE, str(now + limit_s))
    deadline = Deadline()
    monkeypatch.setattr(time, "time", lambda: now + limit_s - left_s)
    assert deadline.too_late("target") == late


def test_without_a_limit_it_is_never_too_late(monkeypatch, entry):
    monkeypatch.delenv(DEADLINE, raising=False)
    deadline = Deadline()
    log(entry, ("attempt", 0.0), ("step", 1e9))
    deadline.learn("target", entry)
    assert not deadline.too_late("target")


def test_what_a_stage_took_until_it_could_be_saved_is_what_the_next_of_its_kind_needs(monkeypatch, entry):
    monkeypatch.setenv(DEADLINE, str(time.time() + 1000))
    deadline = Deadline()
    assert not deadline.too_late("target")
    log(entry, ("attempt", 0.0), ("attempt", 100.0), ("step", 800.0), ("step", 900.0), ("ended", 901.0))
    deadline.learn("target", entry)
    assert deadline.too_late("target")  # 700 s and half as much again
    assert not deadline.too_late("retrieval")
    log(entry, ("attempt", 1000.0), ("ended", 1010.0))
    deadline.learn("target", entry)
    assert not deadline.too_late("target")


def test_what_never_came_so_far_teaches_nothing(entry):
    assert to_save_s(entry) is None
    log(entry, ("step", 1.0), ("attempt", 2.0), ("step", 3.0), ("attempt", 4.0))
    assert to_save_s(entry) is None


@pytest.mark.parametrize(("limit_s", "begun"), [(-1, 0), (140, 1), (1000, 2)])
def test_a_job_begins_what_it_can_still_save(plan, monkeypatch, limit_s, begun):
    def took_100_s(stage, context):
        log(context.store.open(stage), ("attempt", 0.0), ("step", 100.0), ("ended", 101.0))
        return "completed"

    monkeypatch.setattr("trainers.run.run", took_100_s)
    monkeypatch.setenv(DEADLINE, str(time.time() + limit_s))
    bundle = bundle_of(plan, mirror_of(plan.sweep), plan.stages, plan.sweep.execution)
    assert list(run_stages(bundle, StopFlag())) == [stage.key for stage in plan.stages[:begun]]
