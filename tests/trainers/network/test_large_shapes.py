"""XL and XXL with their real shapes, scaled down: ZeRO-3 on four ranks learns and holds what it should."""

from __future__ import annotations

import numpy as np
import pytest

from launch.estimate.costs import model_size
from slurm.sizing.memory import Placement, peak
from tests.trainers.conftest import sandbox_shape, save_encoder
from tests.trainers.stages import Work, losses, plan_stages, run_here, run_on_ranks, weights
from trainers.stage import Execution
from trainers.stage.scales import KNOWN, Shape
from trainers.store import Store

STOP_AFTER = 2
ZERO_3 = Execution(zero_stage=3, precision="fp32", checkpoint_every_s=1e9, threads=1)


def scaled_down(name: str) -> Shape:
    """An eighth of the width, a twelfth of the layers.  Narrower matrices ZeRO-3 would no longer shard."""
    shape = KNOWN[name].shape
    return sandbox_shape(
        layers=shape.layers // 12,
        hidden=shape.hidden // 8,
        heads=shape.heads // 4,
        feed_forward=shape.feed_forward // 8,
        layer_norm=shape.layer_norm,
    )


SHAPES = {name: scaled_down(name) for name in ("xl", "xxl")}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stages(mirror, tmp_path_factory):
    """MNLI by scale, without dropout, which is drawn per micro-batch."""
    root = tmp_path_factory.mktemp("large")
    settings = {
        "max_steps": 3,
        "adam_epsilon": 1e-4,  # far above what rounding leaves of a gradient of 0
        "probe": {"examples": 4, "examples_other": 0, "refit_examples": 4},
        "evaluation": {"max_examples": 4, "development_examples": 4},
    }
    folders = {name: save_encoder(root / name, shape, dropout=0.0) for name, shape in SHAPES.items()}
    return {name: plan_stages(mirror, folder, **settings)[0] for name, folder in folders.items()}


@pytest.fixture(scope="module")
def ranks_did(mirror, stages, tmp_path_factory):
    """The folder of the stores `whole` (on four ranks) and `parted` (stopped there, and gone on with on two)."""
    root = tmp_path_factory.mktemp("large-ranks")
    whole = [Work(stage, root / "whole", mirror.root, ZERO_3) for stage in stages.values()]
    parted = [Work(stage, root / "parted", mirror.root, ZERO_3) for stage in stages.values()]
    stopped = [Work(stage, root / "parted", mirror.root, ZERO_3, stop_at=STOP_AFTER - 1) for stage in stages.values()]
    run_on_ranks(root / "four", 4, whole + stopped)
    run_on_ranks(root / "two", 2, parted)
    return root


@pytest.mark.parametrize("name", SHAPES)
def test_zero_3_on_four_ranks_and_then_two_learns_as_one_rank_does(mirror, stages, ranks_did, tmp_path, name):
    stage, alone = stages[name], Store(tmp_path)
    run_here(stage, alone, mirror, execution=Execution(checkpoint_every_s=1e9))
    expected = alone.entry(stage.key)
    for store in ("whole", "parted"):
        found = Store(ranks_did / store).entry(stage.key)
        np.testing.assert_allclose(losses(found), losses(expected), rtol=1e-4)
        for weight, value in weights(expected).items():
            np.testing.assert_allclose(weights(found)[weight], value, atol=1e-4, err_msg=weight)
    assert [event["step"] for event in found.events("resumed")] == [STOP_AFTER]
    assert [event["world_size"] for event in found.events("attempt")] == [4, 2]


@pytest.mark.parametrize("name", SHAPES)
def test_a_rank_holds_what_the_memory_model_predicts(stages, ranks_did, name):
    """Weights, gradients and Adam states of the rank that holds the most."""
    result = Store(ranks_did / "whole").entry(stages[name].key).result
    model = model_size(SHAPES[name], result["vocabulary"])
    assert model.persistent_parameters < 0.05 * model.parameters, "nearly all of it is sharded, as at full size"
    predicted = peak(model, Placement(ranks_per_node=4, zero_stage=3), "fp32").states
    assert predicted == pytest.approx(result["peak_memory_bytes"], rel=0.10)
