"""A process whose own stages are done begins those of others that nobody has begun, parents first."""

from __future__ import annotations

import pytest

import trainers.run
from launch.job.bundle import Bundle
from launch.job.rank import StopFlag, run_stages
from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from trainers.stage import Execution
from trainers.store import Store
from trainers.store.files import write_json
from trainers.store.tracking import Tracking


@pytest.fixture
def helper(sweep_file, sandbox, monkeypatch):
    """`helper(own, others)`: labels of the stages that a process runs, in their order; nothing is trained."""
    sweep = load_sweep(sweep_file())
    store, ran = Store(sweep.store), []

    def run(stage, context) -> str:
        assert stage.parent is None or store.entry(stage.parent).done, "begun before its parent was done"
        entry = store.open(stage)
        (entry.folder / "encoder").mkdir()
        write_json(entry.folder / "result.json", {"outcome": "completed"})
        ran.append(stage.label)
        return "completed"

    monkeypatch.setattr(trainers.run, "run", run)

    def work(own, others) -> list[str]:
        settings = {"execution": Execution(threads=1), "tracking": Tracking(mode="disabled")}
        bundle = Bundle(store=sweep.store, mirror=sandbox, stages=own, others=others, **settings)
        run_stages(bundle, StopFlag())
        return ran

    work.stages, work.store = make_plan(sweep).stages, store
    return work


def test_own_stages_come_first_and_then_all_others(helper):
    stages = helper.stages
    own, others = stages[:1], tuple(reversed(stages[1:]))
    ran = helper(own, others)
    assert ran[0] == own[0].label
    assert sorted(ran) == sorted(one.label for one in stages)


def test_what_somebody_has_begun_is_left_alone_with_what_starts_from_it(helper):
    begun = next(one for one in helper.stages if one.kind == "intermediate")
    helper.store.open(begun)
    ran = helper((), tuple(reversed(helper.stages)))
    assert sorted(ran) == sorted(one.label for one in helper.stages if begun.key not in (one.key, one.parent))
    assert 0 < len(ran) < len(helper.stages) - 1


def test_one_that_fails_before_it_has_a_folder_is_begun_once(helper, monkeypatch):
    tried = []

    def run(stage, context) -> str:
        assert stage.key not in tried, "begun again and again"
        tried.append(stage.key)
        raise OSError("No space left on device")

    monkeypatch.setattr(trainers.run, "run", run)
    helper((), helper.stages)
    assert sorted(tried) == sorted(stage.key for stage in helper.stages if stage.parent is None)
