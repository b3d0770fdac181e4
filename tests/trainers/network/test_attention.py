"""Packed sequences have the hidden states and the gradients of padded ones, alone and in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from trainers.network.attention import Packing, attend
from trainers.network.encoder import load_encoder
from trainers.stage import Execution

PAD = 1
CPU = torch.device("cpu")
both_norms = pytest.mark.parametrize("layer_norm", ["post", "pre"])


def encoders(folder):
    """The same encoder with packed attention, and Hugging Face's with its own."""
    eager = AutoModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager")
    return load_encoder(folder, Execution()).eval().double(), eager.double()


def padded_ids(lengths: np.ndarray, vocabulary: int = 400) -> torch.Tensor:
    ids = torch.full((len(lengths), int(lengths.max())), PAD)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(4, vocabulary, (int(length),), generator=torch.Generator().manual_seed(row))
    return ids


@both_norms
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 60), min_size=2, max_size=9).map(np.array))
def test_packed_hidden_states_are_those_of_the_padded_sequences(encoder_folder, layer_norm, lengths):
    packed, padded = encoders(encoder_folder(layer_norm, dropout=0.0))
    ids = padded_ids(lengths)
    packing = Packing.of(lengths, CPU)
    if packing is None:
        assert (lengths == lengths[0]).all()
        return
    with torch.no_grad():
        found = packing.restored(packed(**packing.inputs(ids)).last_hidden_state)
        expected = padded(ids, attention_mask=(ids != PAD).long()).last_hidden_state
    real = ids != PAD
    torch.testing.assert_close(found[real], expected[real])
    assert not found[~real].any()


@both_norms
def test_packed_gradients_are_those_of_the_padded_sequences(encoder_folder, layer_norm):
    packed, padded = encoders(encoder_folder(layer_norm, dropout=0.0))
    lengths = np.array([7, 40, 12, 12, 3, 39])
    ids, packing = padded_ids(lengths), Packing.of(lengths, CPU)
    real = ids != PAD
    packing.restored(packed(**packing.inputs(ids)).last_hidden_state)[real].square().sum().backward()
    padded(ids, attention_mask=real.long()).last_hidden_state[real].square().sum().backward()
    expected = dict(padded.named_parameters())
    for name, parameter in packed.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-9, atol=1e-9, msg=name)


def test_positions_begin_at_two_in_every_sequence():
    packing = Packing.of(np.array([2, 4, 3]), CPU)
    assert packing.positions.tolist() == [[2, 3, 4, 5, 2, 3, 4, 2, 3]]
    assert packing.bounds.tolist() == [0, 4, 7, 9]


@pytest.mark.parametrize(("lengths", "padded"), [([5, 9, 8], [True]), ([60, 60, 4, 60, 4], [False, False])])
def test_no_sequence_sees_another(encoder_folder, lengths, padded):
    """Neither in a group that is padded to its longest nor in one that has nothing to pad."""
    packed, _ = encoders(encoder_folder("post", dropout=0.0))
    ids, packing = padded_ids(np.array(lengths)), Packing.of(np.array(lengths), CPU)
    assert [group.mask is not None for group in packing.groups] == padded
    other = ids.clone()
    other[1, : lengths[1]] = 77
    with torch.no_grad():
        first, second = (packing.restored(packed(**packing.inputs(one)).last_hidden_state) for one in (ids, other))
    others = [row for row in range(len(lengths)) if row != 1]
    assert torch.equal(first[others], second[others])
    assert not torch.equal(first[1], second[1])


def test_equally_long_sequences_need_no_packing():
    assert Packing.of(np.array([8, 8, 8]), CPU) is None


def test_attention_drops_what_the_recipe_says():
    """The share of probabilities that dropout sets to 0, seen through values that are 1 at one token only."""
    torch.manual_seed(0)
    packing = Packing.of(np.array([40, 39, 20]), CPU)
    query = torch.zeros(1, 50, 99, 4)
    value = torch.zeros(1, 50, 99, 4)
    value[:, :, 0] = 1  # the first token of the longest sequence
    attended = attend(query, query, value, dropout=0.25, scaling=None, packing=packing)
    first, others = attended[0, :40, :, 0], attended[0, 40:]
    assert (first == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert not others.any()
