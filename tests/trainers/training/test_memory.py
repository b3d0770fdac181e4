"""Bytes that training holds, added up tensor by tensor."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from trainers.training.step import held_bytes


def test_weights_gradients_and_adams_states_are_counted():
    module = nn.Linear(10, 4, bias=False)
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    assert held_bytes(module) == 40 * 4
    module(torch.ones(1, 10)).sum().backward()
    assert held_bytes(module) == 2 * 40 * 4
    optimizer.step()
    counter = 4  # Adam's step is a tensor, too
    assert held_bytes(module, optimizer) == 4 * 40 * 4 + counter


def test_what_several_tensors_share_counts_once_and_views_count_what_they_keep_alive():
    flat = torch.zeros(100)
    holder = SimpleNamespace(whole=flat, parts=[flat[:50], flat[50:]], again={"first": flat[:1]})
    assert held_bytes(holder) == 400
    assert held_bytes(SimpleNamespace(part=torch.zeros(100)[:1])) == 400


def test_tensors_hung_on_parameters_are_found():
    module = nn.Linear(10, 4, bias=False)
    module.weight.ds_tensor = torch.zeros(8)  # as ZeRO-3 does
    assert held_bytes(module) == 160 + 32


def test_holders_that_refer_to_each_other_end():
    one = {"tensor": torch.zeros(5)}
    one["self"] = one
    assert held_bytes(SimpleNamespace(one=one, other=[one, None, "text", 3])) == 20
