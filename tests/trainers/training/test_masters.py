"""A bf16 network on one rank is trained by fp32 masters, as DeepSpeed's optimizer for bf16 would train it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.trainers.stages import losses, run_here, weights
from trainers.network.attention import FIRST_POSITION, PAD_ID, Packing
from trainers.stage import Execution
from trainers.store import Store
from trainers.training.one_device import FILLER_TOKENS, Masters, Recording

CPU = torch.device("cpu")


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)).to(torch.bfloat16)


def passed(network: nn.Module, seed: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """One backward pass on random input, and its gradients."""
    (network(torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)).bfloat16()).sum() * scale).backward()
    return {name: one.grad.clone() for name, one in network.named_parameters()}


@settings(max_examples=20)
@given(passes=st.integers(1, 4), steps=st.integers(1, 3))
def test_the_gradients_of_a_step_are_added_in_fp32_and_those_of_the_last_are_gone(passes, steps):
    network = two_layers()
    masters = Masters([*network.parameters()])
    places = {name: masters.of(one).grad.data_ptr() for name, one in network.named_parameters()}
    for step in range(steps):
        expected = {name: torch.zeros(one.shape) for name, one in network.named_parameters()}
        for number in range(passes):
            found = passed(network, 10 * step + number, scale=1 / 3)
            masters.accumulate()
            expected = {name: total + found[name].float() for name, total in expected.items()}
        for name, one in network.named_parameters():
            torch.testing.assert_close(masters.of(one).grad, expected[name], rtol=0, atol=0)
            assert masters.of(one).grad.data_ptr() == places[name]  # a graph writes there
            assert one.grad is None
        masters.copy_to_model()


def test_small_steps_are_not_lost_in_bf16():
    network = two_layers()
    masters = Masters([*network.parameters()])
    before = [one.detach().clone() for one in network.parameters()]
    for _ in range(100):  # one such step is less than half of what separates neighbouring weights
        with torch.no_grad():
            for master in masters.masters:
                master.mul_(1 + 1e-4)
        masters.copy_to_model()
    for old, new in zip(before, network.parameters(), strict=True):
        torch.testing.assert_close(new.float(), old.float() * 1.01, rtol=5e-3, atol=1e-6)
        assert not torch.equal(new, old)


@pytest.mark.slow
def test_one_rank_trains_as_deepspeeds_optimizer_for_bf16_does(tmp_path, mirror, arm):
    """To rounding: the norm that clips is summed in another order."""
    found = []
    for zero_stage in (0, 1):
        store = Store(tmp_path / f"zero{zero_stage}")
        run_here(arm[0], store, mirror, execution=Execution(precision="bf16", zero_stage=zero_stage))
        found.append(store.entry(arm[0].key))
    masters, deepspeed = found
    np.testing.assert_allclose(losses(masters), losses(deepspeed), rtol=2e-3)
    ours, theirs = weights(masters), weights(deepspeed)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4, err_msg=name)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20).map(np.array),
    spare_tokens=st.integers(0, 2 * FILLER_TOKENS),
    fillings=st.integers(2, 6),
)
def test_what_a_graph_is_filled_up_with_is_seen_by_no_sequence(lengths, spare_tokens, fillings):
    """The bounds are those of the real sequences, then of others that are not too long, then of empty ones."""
    packing = Packing.of(np.append(lengths, 31 - lengths[0]), CPU)  # never all equally long
    if packing is None:
        return
    tokens, total = int(packing.bounds[-1]), int(packing.bounds[-1]) + spare_tokens
    ids = torch.randint(4, 90, packing.shape)
    empty = torch.zeros(1, total, dtype=torch.int64)
    bounds = torch.full((len(packing.lengths) + fillings + 1,), 7, dtype=torch.int32)
    inside = Packing((len(bounds) - 1, FILLER_TOKENS), empty[0], empty.clone(), bounds, np.zeros(0, np.int64))
    Recording(empty.clone(), inside, *[None] * 4).fill(ids, packing)
    recording = Recording(empty.clone(), inside, *[None] * 4)
    for _ in range(2):  # what was there before does not matter
        recording.fill(ids, packing)
    assert inside.bounds[: len(packing.bounds)].tolist() == packing.bounds.tolist()
    sizes = inside.bounds.diff()
    assert sizes.min() >= 0
    assert sizes.max() <= FILLER_TOKENS
    assert inside.bounds[-1] == total
    torch.testing.assert_close(recording.ids[:, :tokens], packing.inputs(ids)["input_ids"])
    assert (recording.ids[:, tokens:] == PAD_ID).all()
    torch.testing.assert_close(inside.positions[:, :tokens], packing.positions)
    assert (inside.positions[:, tokens:] == FIRST_POSITION).all()
