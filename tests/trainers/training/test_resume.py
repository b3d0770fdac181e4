"""Killed or preempted at any step and run again, a stage ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.trainers.conftest import SHARDINGS
from tests.trainers.stages import (
    STEPS,
    Ranks,
    Work,
    assert_same_to_the_last_bit,
    losses,
    measurements,
    plan_stages,
    run_here,
    wait_for_step,
    weights,
)
from trainers.stage import Execution
from trainers.store import Store

EVERY_STEP = Execution(checkpoint_every_s=0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, mirror, arm) -> Store:
    """The arm, run alone and left in peace."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    for stage in arm:
        run_here(stage, store, mirror)
    return store


@pytest.fixture
def random_steps() -> tuple[int, int]:
    """Where to kill, other steps on each run; read them in the captured output of a failure."""
    seed = random.SystemRandom().randrange(1 << 32)
    chosen = random.Random(seed)
    steps = chosen.randint(1, STEPS - 2), chosen.randint(1, STEPS - 2)
    print(f"seed {seed}: kill after steps {steps}")
    return steps


def kill_once(folder: Path, world_size: int, works: list[Work], victim: int, step: int) -> Ranks:
    """Start ranks, kill -9 the last one after `step` of the stage `works[victim]`.

    Its checkpoint may be half written then; the one before it is whole: a thread writes them, and is waited for.
    """
    works[victim].hold_at = step + 1
    ranks = Ranks(folder, world_size, works)
    try:
        stage = works[victim].stage
        entry = Store(works[victim].store).entry(stage.key)
        wait_for_step(entry, "step", step, ranks)
        if step > 1:
            wait_for_step(entry, "checkpoint", step - 1, ranks)
        ranks.processes[-1].send_signal(signal.SIGKILL)
        ranks.processes[-1].wait()
    except BaseException:
        ranks.end()
        raise
    works[victim].hold_at = None
    return ranks


@pytest.mark.slow
def test_killed_run_resumes_bit_for_bit(tmp_path, mirror, arm, undisturbed, random_steps):
    store = Store(tmp_path / "store")
    works = [Work(stage, store.root, mirror.root, EVERY_STEP) for stage in arm]
    for number, step in enumerate(random_steps):
        kill_once(tmp_path / f"attempt-{number}", 1, works, number, step)
        assert not store.entry(arm[number].key).done
    Ranks(tmp_path / "last", 1, works).finish()
    for stage, step in zip(arm, random_steps, strict=True):
        entry = store.entry(stage.key)
        assert entry.events("resumed") or step == 1, "killed after step 1, it may not have had a checkpoint"
        assert_same_to_the_last_bit(entry, undisturbed.entry(stage.key))


@pytest.mark.slow
def test_run_on_two_ranks_that_lost_one_resumes_bit_for_bit(tmp_path, mirror, arm, two_ranks, random_steps):
    store = Store(tmp_path / "store")
    works = [Work(stage, store.root, mirror.root, EVERY_STEP) for stage in arm]
    for number, step in enumerate(random_steps):
        ranks = kill_once(tmp_path / f"attempt-{number}", 2, works, number, step)
        try:
            assert ranks.processes[0].wait(timeout=100) != 0, "rank 0 must notice that rank 1 is gone"
        finally:
            ranks.end()
        assert not store.entry(arm[number].key).done
    Ranks(tmp_path / "last", 2, works).finish()
    for stage, step in zip(arm, random_steps, strict=True):
        entry = store.entry(stage.key)
        assert entry.events("resumed") or step == 1, "killed after step 1, it may not have had a checkpoint"
        assert_same_to_the_last_bit(entry, two_ranks.entry("undisturbed", stage))


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, STEPS // 2])
def test_preempted_run_saves_and_resumes_bit_for_bit(tmp_path, mirror, arm, undisturbed, step):
    store = Store(tmp_path / "store")
    for stage in arm:
        asked = iter(range(STEPS))
        outcome = run_here(stage, store, mirror, should_stop=lambda asked=asked: next(asked) == step - 1)
        assert outcome == "preempted"
        entry = store.entry(stage.key)
        assert not entry.done
        assert [event["step"] for event in entry.events("checkpoint")] == [step]
        assert entry.events("ended")[-1]["outcome"] == "preempted"
        run_here(stage, store, mirror)
        assert_same_to_the_last_bit(entry, undisturbed.entry(stage.key))


def test_preempted_probes_of_several_tasks_are_those_of_the_undisturbed_run(tmp_path, mirror, encoder_folder):
    undisturbed, preempted = Store(tmp_path / "undisturbed"), Store(tmp_path / "preempted")
    for stage in plan_stages(mirror, encoder_folder("post"), "mnli+squad"):
        run_here(stage, undisturbed, mirror)
        asked = iter(range(2 * STEPS))
        stopped = run_here(stage, preempted, mirror, should_stop=lambda asked=asked: next(asked) == STEPS // 2)
        assert stopped == "preempted"
        run_here(stage, preempted, mirror)
        entry = preempted.entry(stage.key)
        assert {task for _, measure, task, *_ in measurements(entry) if measure == "stored"} == {"mnli", "squad"}
        assert_same_to_the_last_bit(entry, undisturbed.entry(stage.key))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_preempted_run_resumes_bit_for_bit_under_every_sharding_and_precision(
    tmp_path, mirror, arm, sharding, precision
):
    """bf16: the fp32 master weights and Adam's states are what must come back."""
    stores = Store(tmp_path / "undisturbed"), Store(tmp_path / "preempted")
    execution = SHARDINGS[sharding].model_copy(update={"precision": precision})
    run_here(arm[0], stores[0], mirror, execution=execution)
    asked = iter(range(STEPS))
    assert run_here(arm[0], stores[1], mirror, execution=execution, should_stop=lambda: next(asked) == 3) == "preempted"
    run_here(arm[0], stores[1], mirror, execution=execution)
    undisturbed, preempted = (store.entry(arm[0].key) for store in stores)
    assert preempted.events("resumed")[-1]["step"] == 4
    assert_same_to_the_last_bit(preempted, undisturbed)


def test_finished_stage_is_not_run_again(mirror, arm, undisturbed):
    before = undisturbed.entry(arm[0].key).events()
    assert run_here(arm[0], undisturbed, mirror) == undisturbed.entry(arm[0].key).result["outcome"]
    assert undisturbed.entry(arm[0].key).events() == before


def test_checkpoints_of_a_finished_stage_are_gone(arm, undisturbed):
    assert not list(undisturbed.entry(arm[0].key).checkpoints.glob("step-*"))


@pytest.mark.slow
@pytest.mark.parametrize("layer_norm", ["post", "pre"])
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_run_stopped_on_two_ranks_goes_on_alone(mirror, two_ranks, sharding, layer_norm):
    """Without dropout: it is drawn per micro-batch, and another world size cuts differently."""
    stage = two_ranks.calm[layer_norm]
    store = Store(two_ranks.root / f"stopped-{sharding}-{layer_norm}")
    entry = store.entry(stage.key)
    assert entry.events("ended")[-1]["outcome"] == "preempted"
    assert not entry.done
    run_here(stage, store, mirror, execution=SHARDINGS[sharding])
    assert entry.events("resumed")[-1]["step"] == STEPS // 2 + 1
    undisturbed = two_ranks.entry(f"{sharding}-{layer_norm}", stage)
    np.testing.assert_allclose(losses(entry), losses(undisturbed), rtol=1e-4)
    ours, theirs = weights(entry), weights(undisturbed)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4, err_msg=name)
