"""What is learnt does not depend on the number of ranks: one stage for each family of heads."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.trainers.stages import Work, losses, plan_stages, run_here, run_on_ranks, weights
from trainers.stage import Execution
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.store import Store

FAMILIES = {"pair": "mnli", "choice": "hellaswag", "tagging": "ccg", "span": "squad", "mlm": "mnli+mlm"}
"""An intermediate that trains each family's head."""
SHARDED = "tagging"
"""The family that is trained under ZeRO-2 as well; terms differ most between its examples."""
SMALL = Execution(micro_batch_tokens=100, checkpoint_every_s=1e9)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stages(mirror, tmp_path_factory):
    """By family, with odd batches, which two ranks cannot share equally.

    Without dropout, which is drawn per micro-batch; with large heads, or the choices' logits would all be near 0.
    """
    encoder = tmp_path_factory.mktemp("encoder") / "without-dropout"
    shutil.copytree(SANDBOX_ENCODERS / "sandbox-s", encoder)
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2}
    (encoder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    probe = {"examples": 8, "examples_other": 0, "refit_examples": 8}
    return {
        family: plan_stages(mirror, encoder, name, batch_size=5, max_steps=4, adam_epsilon=1e-4, probe=probe)[0]
        for family, name in FAMILIES.items()
    }


@pytest.fixture(scope="module")
def two_ranks_did(mirror, stages, tmp_path_factory):
    """The folder of the stores `zero-0` and `zero-2`."""
    root = tmp_path_factory.mktemp("world-size")
    works = [Work(stage, root / "zero-0", mirror.root, SMALL) for stage in stages.values()]
    works.append(Work(stages[SHARDED], root / "zero-2", mirror.root, SMALL.model_copy(update={"zero_stage": 2})))
    run_on_ranks(root / "ranks", 2, works)
    return root


@pytest.mark.parametrize(("family", "store"), [*((family, "zero-0") for family in FAMILIES), (SHARDED, "zero-2")])
def test_every_head_learns_alike_on_one_rank_and_on_two(mirror, stages, two_ranks_did, tmp_path, family, store):
    stage, alone = stages[family], Store(tmp_path)
    run_here(stage, alone, mirror, execution=SMALL)
    ours, theirs = alone.entry(stage.key), Store(two_ranks_did / store).entry(stage.key)
    np.testing.assert_allclose(losses(theirs), losses(ours), rtol=1e-5)
    expected, found = weights(ours), weights(theirs)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        np.testing.assert_allclose(found[name], weight, atol=1e-5, err_msg=name)
