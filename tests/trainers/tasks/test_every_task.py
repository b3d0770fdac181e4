"""Each intermediate and each target trains and is scored, alone and on two ranks, with the same results."""

from __future__ import annotations

import pytest

from launch.study.plan import make_plan
from launch.study.sweep import Sweep
from tests.trainers.stages import Work, losses, measurements, predictions, run_here, run_on_ranks
from trainers.stage import Execution
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.store import Store
from trainers.tasks import ALL_NINE, TARGETS

VARIANTS = ("all9", "mnli+squad", "mnli+mlm", "mnli@de-ru", "mnli@en-de+mlm")
MIXED = "mnli+squad+mlm"
SMALL = Execution(micro_batch_tokens=512, checkpoint_every_s=1e9)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def plan(mirror, intermediates, targets, **recipe):
    settings = {"max_examples": 40, "batch_size": 4, "max_steps": 3, "max_length": 96}
    sweep = Sweep(
        name="every-task",
        store=mirror.root / "unused",
        mirror=mirror.root,
        scales=(str(SANDBOX_ENCODERS / "sandbox-s"),),
        intermediates=intermediates,
        targets=targets,
        seeds=(7,),
        languages=("en", "de"),
        recipes="sandbox",
        overrides={"*": settings | recipe},
        mixing={"max_steps": 8},
        probe={"examples": 8, "examples_other": 4, "refit_examples": 8},
        evaluation={"max_examples": 8, "development_examples": 8},
    )
    return make_plan(sweep).stages


@pytest.fixture(scope="module")
def still(mirror):
    """Every intermediate, and every target from one of them; nothing is in effect learnt (see `still_stages`)."""
    trained = plan(mirror, (*ALL_NINE, *VARIANTS), ("pawsx",), learning_rate=1e-30)
    targets = plan(mirror, ("none", "ccg"), TARGETS, learning_rate=1e-30)
    return tuple({stage.key: stage for stage in (*trained, *targets)}.values())


@pytest.fixture(scope="module")
def mixed(mirror):
    """Three tasks with three kinds of head, learning for real."""
    (stage, *_) = plan(mirror, (MIXED,), ("pawsx",), learning_rate=2e-3, adam_epsilon=1e-6)
    return stage


@pytest.fixture(scope="module")
def two_ranks_did(mirror, still, mixed, tmp_path_factory):
    root = tmp_path_factory.mktemp("every-task")
    works = [Work(stage, root / "still", mirror.root, SMALL) for stage in still]
    for zero_stage in range(4):
        execution = SMALL.model_copy(update={"zero_stage": zero_stage})
        works.append(Work(mixed, root / f"mixed-{zero_stage}", mirror.root, execution))
    run_on_ranks(root / "ranks", 2, works, timeout_s=900)
    return root


def test_every_task_gives_the_same_on_one_rank_and_on_two(mirror, still, two_ranks_did, tmp_path):
    alone, together = Store(tmp_path), Store(two_ranks_did / "still")
    evaluated = set()
    for stage in still:
        run_here(stage, alone, mirror, execution=SMALL)
        ours, theirs = alone.entry(stage.key), together.entry(stage.key)
        assert measurements(ours) == measurements(theirs), stage.label
        assert predictions(ours) == predictions(theirs), stage.label
        evaluated |= {task for _, measure, task, *_ in measurements(ours) if measure in ("zero_shot", "retrieval")}
    assert evaluated == set(TARGETS)


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_tasks_that_share_an_encoder_learn_alike_under_every_zero_stage(two_ranks_did, mixed, zero_stage):
    """Heads without a part in a step get a gradient of 0: ZeRO-3 would keep their last one."""
    plain = losses(Store(two_ranks_did / "mixed-0").entry(mixed.key))
    assert len(plain) == 8
    assert losses(Store(two_ranks_did / f"mixed-{zero_stage}").entry(mixed.key)) == pytest.approx(plain, rel=1e-4)


def test_each_step_of_a_mixture_is_a_function_of_seed_and_step(mirror, mixed, tmp_path):
    """Stopped in the middle and gone on with, it makes the losses of the undisturbed run."""
    whole, parted = Store(tmp_path / "whole"), Store(tmp_path / "parted")
    run_here(mixed, whole, mirror, execution=SMALL)
    asked = iter(range(100))
    assert run_here(mixed, parted, mirror, execution=SMALL, should_stop=lambda: next(asked) == 3) == "preempted"
    run_here(mixed, parted, mirror, execution=SMALL)
    assert losses(parted.entry(mixed.key)) == losses(whole.entry(mixed.key))
    assert parted.entry(mixed.key).heads.read_bytes() == whole.entry(mixed.key).heads.read_bytes()
