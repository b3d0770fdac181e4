"""While a stage trains, the next one's data are tokenised; what is trained does not change by it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from launch.job.bundle import bundle_of
from launch.job.pretokenise import Pretokeniser
from launch.job.rank import StopFlag, run_stages
from launch.study.plan import make_plan, mirror_of
from launch.study.sweep import Sweep
from trainers.data import tokenise
from trainers.data.mirror import Mirror
from trainers.data.stagedata import StageData
from trainers.stage import Stage
from trainers.store import Store


@pytest.fixture
def plan(sandbox, tmp_path):
    return make_plan(
        Sweep(
            name="pretokenise",
            store=tmp_path / "store",
            mirror=sandbox,
            scales=("sandbox-s",),
            intermediates=("none",),
            targets=("xquad", "xnli"),
            seeds=(1,),
            languages=("en", "de"),
            recipes="sandbox",
            overrides={"*": {"max_steps": 3}},
            evaluation={"max_examples": 20, "development_examples": 20},
            tracking={"mode": "disabled"},
        )
    )


def test_what_was_tokenised_ahead_is_what_the_stage_opens(plan, monkeypatch):
    store, stage = Store(plan.sweep.store), plan.stages[0]
    pretokeniser = Pretokeniser(store, mirror_of(plan.sweep))
    pretokeniser.start(stage)
    pretokeniser.wait()
    made = set(store.tokenised.iterdir())
    monkeypatch.setattr(tokenise, "_loaded", None)  # whoever needs a tokenizer now fails
    data = StageData.load(stage, mirror_of(plan.sweep), store.tokenised, Path(stage.scale.source))
    assert data.train
    assert set(store.tokenised.iterdir()) == made != set()


def test_data_that_cannot_be_read_are_left_to_their_stage(plan, tmp_path):
    pretokeniser = Pretokeniser(Store(plan.sweep.store), Mirror(tmp_path / "nothing"))
    pretokeniser.start(plan.stages[0])
    pretokeniser.wait()
    assert not Store(plan.sweep.store).tokenised.exists()
    pretokeniser.wait()  # nothing is waited for twice


def test_data_that_this_process_had_before_are_not_looked_at_again(plan, monkeypatch):
    looked_at: list[Stage] = []
    pretokeniser = Pretokeniser(Store(plan.sweep.store), mirror_of(plan.sweep))
    monkeypatch.setattr(pretokeniser, "_tokenise", looked_at.append)
    for stage in (*plan.stages, *plan.stages):
        pretokeniser.start(stage)
        pretokeniser.wait()
    assert looked_at == list(plan.stages)


@pytest.mark.slow
def test_a_bundle_tokenises_the_next_stage_beside_the_training(plan, monkeypatch):
    threads: dict[str, set[str]] = {}
    encode = tokenise.tokenised

    def watched(cache, mirror, task, *more):
        threads.setdefault(task.name, set()).add(threading.current_thread().name)
        return encode(cache, mirror, task, *more)

    monkeypatch.setattr("trainers.data.stagedata.tokenised", watched)
    bundle = bundle_of(plan, mirror_of(plan.sweep), plan.stages, plan.sweep.execution)
    outcomes = run_stages(bundle, StopFlag())
    assert set(outcomes) == {stage.key for stage in plan.stages}
    assert set(outcomes.values()) <= {"completed", "diverged"}
    first, second = (stage.train[0].task for stage in plan.stages)
    assert threads[first] == {"MainThread"}
    assert threads[second] == {"MainThread", "pretokenise"}
