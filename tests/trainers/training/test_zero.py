"""The engine, however its states are shared and on how many ranks, trains as forty lines of plain torch do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainers.conftest import BF16, SHARDINGS
from tests.trainers.stages import assert_same_to_the_last_bit, losses, run_here, weights
from trainers.data.stagedata import StageData
from trainers.stage import Execution, Stage
from trainers.stage.random import seed_for
from trainers.store import Store
from trainers.tasks import TASKS
from trainers.training.batches import batch
from trainers.training.step import LINEAR

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def plain_torch(mirror, two_ranks, tmp_path_factory):
    """`plain_torch("post" or "pre")`: losses, final weights and the token ids that the data hold."""
    made = {}

    def train(layer_norm: str):
        if layer_norm not in made:
            stage = two_ranks.calm[layer_norm]
            folder = Path(stage.scale.source)
            data = StageData.load(stage, mirror, tmp_path_factory.mktemp("tokenised"), folder)
            made[layer_norm] = (*_train_plainly(stage, data.train["mnli"], folder), data.token_ids)
        return made[layer_norm]

    return train


def _train_plainly(stage: Stage, examples, folder: Path) -> tuple[list[float], dict[str, np.ndarray]]:
    """One padded batch a step, the whole vocabulary, one process, no DeepSpeed."""
    from torch.nn import functional as F
    from transformers import AutoModel

    from trainers.network.heads import build_head

    recipe = stage.recipe
    encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    torch.manual_seed(seed_for(stage, "mnli", "head"))
    head = build_head(TASKS["mnli"], encoder.config, encoder.embeddings.word_embeddings)
    named = [*encoder.named_parameters(), *((f"heads.mnli.{name}", p) for name, p in head.named_parameters())]
    undecayed = [p for name, p in named if name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name]
    decayed = [p for _, p in named if not any(p is other for other in undecayed)]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=recipe.adam_betas, eps=recipe.adam_epsilon, fused=False)
    total = recipe.total_steps(len(examples))
    warmup = int(recipe.warmup * total)
    found, norms = [], []
    for step in range(total):
        chosen = batch(seed_for(stage, "mnli", "order"), step, len(examples), recipe.batch_size)
        sequences = [examples.sequence(place) for place in chosen]
        ids = torch.ones(len(chosen), 96, dtype=torch.long)
        mask = torch.zeros(len(chosen), 96, dtype=torch.long)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.from_numpy(np.array(sequence))
            mask[row, : len(sequence)] = 1
        first = encoder(ids, attention_mask=mask).last_hidden_state[:, 0]
        logits = head.projection(torch.tanh(head.dense(first)))
        loss = F.cross_entropy(logits, torch.from_numpy(examples.targets[chosen, 0].astype(np.int64)))
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_([p for _, p in named], recipe.gradient_clipping).item())
        for group in optimizer.param_groups:  # rises to its peak at `warmup`, falls to 0 at `total`
            group["lr"] = float(np.interp(step, [-1, warmup, total], [0, recipe.learning_rate, 0]))
        optimizer.step()
        found.append(loss.item())
    assert max(norms) > recipe.gradient_clipping, "clipping would not be tested"
    return found, {name: p.detach().numpy() for name, p in named}


@pytest.mark.slow
@pytest.mark.parametrize("layer_norm", ["post", "pre"])
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_two_ranks_agree_with_plain_torch(two_ranks, plain_torch, sharding, layer_norm):
    entry = two_ranks.entry(f"{sharding}-{layer_norm}", two_ranks.calm[layer_norm])
    expected_losses, expected, used = plain_torch(layer_norm)
    np.testing.assert_allclose(losses(entry), expected_losses, rtol=2e-5)
    found = weights(entry)
    assert found.keys() == expected.keys()
    for name in expected.keys() - {WORD_EMBEDDINGS}:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
    np.testing.assert_allclose(found[WORD_EMBEDDINGS][used], expected[WORD_EMBEDDINGS][used], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("layer_norm", ["post", "pre"])
@pytest.mark.parametrize("precision", ["", "bf16-"])
def test_what_the_host_steps_is_what_the_device_would_have(two_ranks, precision, layer_norm):
    stage = two_ranks.calm[layer_norm]
    away, here = (two_ranks.entry(f"{precision}{name}-{layer_norm}", stage) for name in ("offload", "zero3"))
    used = [event["execution"]["offload"] for entry in (away, here) for event in entry.events("attempt")]
    assert used == [True, False]
    np.testing.assert_allclose(losses(away), losses(here), rtol=1e-6)
    ours, theirs = weights(away), weights(here)
    for name, weight in theirs.items():
        np.testing.assert_allclose(ours[name], weight, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_rows_that_no_example_uses_leave_as_they_came(two_ranks, plain_torch, sharding):
    """Plain torch decays them; here they are not in the optimizer at all."""
    from safetensors.numpy import load_file

    stage = two_ranks.calm["post"]
    *_, used = plain_torch("post")
    before = load_file(Path(stage.scale.source) / "model.safetensors")[WORD_EMBEDDINGS]
    after = weights(two_ranks.entry(f"{sharding}-post", stage))[WORD_EMBEDDINGS]
    unused = np.setdiff1d(np.arange(len(before)), [*used, 0, 1, 2, 3])
    assert len(unused) > len(before) // 10
    np.testing.assert_array_equal(after[unused], before[unused])


@pytest.mark.slow
@pytest.mark.parametrize("layer_norm", ["post", "pre"])
@pytest.mark.parametrize("sharding", BF16)
def test_bf16_stays_near_fp32(two_ranks, plain_torch, sharding, layer_norm):
    """bf16 has 8 bits of mantissa; what is exported are the fp32 master weights."""
    entry = two_ranks.entry(f"bf16-{sharding}-{layer_norm}", two_ranks.calm[layer_norm])
    expected_losses, expected, _ = plain_torch(layer_norm)
    np.testing.assert_allclose(losses(entry), expected_losses, rtol=0.05)
    found = weights(entry)
    assert all(weight.dtype == np.float32 for weight in found.values())
    rounded = sum(
        (weight.view(np.uint32) & 0xFFFF == 0).mean() > 0.9
        for name, weight in found.items()
        if name.endswith("weight") and name != WORD_EMBEDDINGS
    )
    assert rounded == 0, "weights that are multiples of bf16's grain were not exported from the master weights"
    for name in expected.keys() - {WORD_EMBEDDINGS}:
        np.testing.assert_allclose(found[name], expected[name], atol=2e-2, err_msg=name)


def test_a_stage_after_one_under_zero_3_is_as_it_is_alone(arm, mirror, tmp_path):
    """DeepSpeed puts a linear layer of its own into torch, for good."""
    key = arm[0].key
    alone, sharded, after = (Store(tmp_path / name) for name in ("alone", "sharded", "after"))
    for store, zero_stage in ((alone, 0), (sharded, 3), (after, 0)):
        run_here(arm[0], store, mirror, execution=Execution(zero_stage=zero_stage, checkpoint_every_s=1e9))
        assert (torch.nn.functional.linear is LINEAR) == (zero_stage == 0)
    assert_same_to_the_last_bit(alone.entry(key), after.entry(key))
