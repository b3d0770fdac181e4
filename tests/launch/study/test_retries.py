"""What diverges is run again with other random numbers, in the same command, and the first good attempt counts."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from analysis.records.frame import stage_table, with_planned
from analysis.records.gather import store_records
from analysis.records.measurements import arms
from launch.job.bundle import Bundle, bundle_of
from launch.job.rank import StopFlag, run_stages
from launch.status import survey
from launch.study.plan import make_plan, mirror_of
from launch.study.retries import as_it_stands, with_retries
from launch.study.sweep import SweepError, load_sweep
from tests.launch.study.test_plan import grid
from tests.launch.test_cli import retain
from trainers.stage import Execution, Stage
from trainers.stage.random import seed_for
from trainers.store import Store
from trainers.store.tracking import Tracking


@pytest.fixture
def stages(sweep_file) -> tuple[Stage, ...]:
    return make_plan(load_sweep(sweep_file(targets=["xnli", "pawsx", "tatoeba"], seeds=[1, 2]))).stages


def test_without_a_retry_or_a_divergence_the_plan_is_as_it_was(stages):
    assert with_retries(stages, lambda key: "diverged", 0) == stages
    assert with_retries(stages, lambda key: "completed", 3) == stages
    assert with_retries(stages, lambda key: None, 3) == stages


def test_children_start_from_the_attempt_that_did_not_diverge(stages):
    bad = next(stage for stage in stages if stage.kind == "intermediate" and stage.seed == 2)
    ends = {bad.key: "diverged", bad.model_copy(update={"retry": 1}).key: "diverged"}
    found = with_retries(stages, ends.get, 2)
    attempts = [stage for stage in found if stage.first_attempt == bad.key]
    assert [stage.retry for stage in attempts] == [0, 1, 2]
    assert [stage.label for stage in attempts] == [bad.label, f"{bad.label} · attempt 2", f"{bad.label} · attempt 3"]
    children = [stage for stage in found if stage.intermediate == "mnli" and stage.seed == 2 and stage.parent]
    assert {stage.parent for stage in children} == {attempts[-1].key}
    assert len(children) == 3
    others = {stage.key for stage in stages if stage.seed != 2 or stage.intermediate == "none"}
    assert others < {stage.key for stage in found}


@pytest.mark.slow
@given(st.sets(st.integers(0, 40)), st.integers(0, 3))
def test_every_attempt_once_and_parents_first_whatever_diverges(diverged, retries):
    stages = make_plan(grid(intermediates=("none", "mnli"), targets=("xnli", "tatoeba"), seeds=(1, 2))).stages

    def ends(key: str) -> str:
        return "diverged" if int(key, 16) % 41 in diverged else "completed"

    found = with_retries(stages, ends, retries)
    seen: set[str] = set()
    for stage in found:
        assert stage.key not in seen
        assert stage.parent is None or stage.parent in seen
        seen.add(stage.key)
    assert with_retries(found, ends, retries) == found
    last = {stage.first_attempt: stage for stage in found}
    assert len(last) == len(stages)
    for stage in last.values():
        hopeless = stage.parent is not None and ends(stage.parent) == "diverged"
        assert ends(stage.key) == "completed" or stage.retry == (0 if hopeless else retries)
        assert stage.parent is None or stage.parent in {one.key for one in last.values()}


def test_an_attempt_is_a_stage_of_its_own_with_other_random_numbers(stages):
    first = stages[0]
    second, third = (first.model_copy(update={"retry": retry}) for retry in (1, 2))
    assert len({first.key, second.key, third.key}) == 3
    assert len({seed_for(one, "mnli", "order") for one in (first, second, third)}) == 3
    assert first.identity.get("retry") is None  # keys from before there were retries stay


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"retries": -1}, "diverged.retries: input should be greater than or equal to 0 (found -1)"),
        ({"retries": 1000}, "diverged.retries: input should be less than or equal to 10"),
        ({"retry": 1}, "diverged.retry: unknown key; did you mean 'retries'?"),
        (1, "diverged: "),
    ],
)
def test_a_wrong_policy_is_told(sweep_file, policy, told):
    with pytest.raises(SweepError) as caught:
        load_sweep(sweep_file(diverged=policy))
    assert told in str(caught.value)


@pytest.mark.slow
def test_a_job_goes_on_with_the_retry_and_its_children(sweep_file, monkeypatch):
    """The first training of the intermediate is declared diverged; all else is as it is."""
    import trainers.run

    verdicts = iter(["not above chance, the test says"])
    monkeypatch.setattr(trainers.run, "not_above_chance", lambda scores: next(verdicts, None))
    path = sweep_file(intermediates=["mnli"], diverged={"retries": 1})
    sweep = load_sweep(path)
    store, plan = Store(sweep.store), make_plan(sweep)
    untracked = Tracking(mode="disabled")
    bundle = Bundle(
        store=sweep.store,
        mirror=sweep.mirror,
        execution=Execution(threads=1),
        tracking=untracked,
        stages=plan.stages,
        retries=sweep.diverged.retries,
    )
    outcomes = run_stages(bundle, StopFlag())
    extended = as_it_stands(plan, store)
    first, second, *children = extended.stages
    assert [one.state for one in survey(extended, store)] == ["diverged", *["completed"] * 3]
    assert outcomes.keys() == {stage.key for stage in extended.stages}  # no child was trained from the diverged attempt
    assert {child.parent for child in children} == {second.key}
    weights = [load_file(store.entry(stage.key).heads) for stage in (first, second)]
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])
    table = stage_table(with_planned(store_records(sweep.store), extended.stages))
    (arm,) = arms(table, "target")
    assert arm.keys == {1: next(child.key for child in children if child.kind == "target")}
    assert run_stages(bundle, StopFlag()) == outcomes


def test_a_job_of_children_starts_from_the_attempt_that_another_job_made(sweep_file, monkeypatch):
    """As on a cluster: the intermediate is one job, its targets are another."""
    import trainers.run

    verdicts = iter(["not above chance, the test says"])
    monkeypatch.setattr(trainers.run, "not_above_chance", lambda scores: next(verdicts, None))
    sweep = load_sweep(sweep_file(intermediates=["mnli"], diverged={"retries": 1}))
    store, plan = Store(sweep.store), make_plan(sweep)
    first, *children = plan.stages
    for stages in ((first,), tuple(children)):
        run_stages(bundle_of(plan, mirror_of(sweep), stages, Execution(threads=1)), StopFlag())
    extended = as_it_stands(plan, store)
    _, second, *moved = extended.stages
    assert {child.parent for child in moved} == {second.key}
    assert all(store.entry(child.key).done for child in moved)
    assert not any(store.entry(child.key).done for child in children)
    assert [extended.place_of(child.key) for child in moved] == [child.key for child in children]
    assert extended.place_of(second.key) == first.key


@pytest.mark.slow
def test_what_diverges_in_every_attempt_is_shown_and_never_averaged(sweep_file):
    """With such a learning rate the loss is soon infinite, whatever the random numbers."""
    path = sweep_file(
        intermediates=["none"],
        targets=["xnli"],
        overrides={"*": {"max_steps": 6, "learning_rate": 1e20}},
        diverged={"retries": 1},
    )
    ran = retain("run", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 stages: 2 diverged" in ran.stdout
    states = json.loads(retain("status", path, "--json").stdout)
    assert [one["stage"].rpartition(" · ")[2] for one in states] == ["seed 1", "attempt 2"]
    assert "2 stages, 2 trainings, 2 done" in retain("plan", path).stdout
    reported = retain("report", path)
    assert reported.returncode == 0, reported.stderr
    page = (load_sweep(path).store / "report" / "report.html").read_text()
    assert "diverged, retried, attempt 2 diverged, too" in page
    records = store_records(load_sweep(path).store)
    assert stage_table(records).filter(pl.col("retry") == 1).height == 1
    assert arms(stage_table(records), "target") == []
