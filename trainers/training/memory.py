"""How much memory training holds where no GPU counts it: the tensors themselves are added up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def held_bytes(*holders: Any) -> int:
    """Bytes of all tensors that modules, optimizers and other objects hold: weights, gradients, states, buffers.

    Attributes are followed, and lists and dictionaries in them, so that no private name of DeepSpeed's is needed.
    A storage that several tensors share counts once.
    """
    storages: dict[int, int] = {}
    for tensor in _tensors([_parts(holder) for holder in holders], {}):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _parts(holder: Any) -> Any:
    return [*holder.parameters(), *holder.buffers()] if isinstance(holder, torch.nn.Module) else vars(holder)


def _tensors(value: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    """Every tensor in `value`; `seen` keeps what was visited alive, so that no other object gets its id."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, Tensor):
        yield value
        if value.is_leaf:
            yield from _tensors(value.grad, seen)
        yield from _tensors(vars(value), seen)  # ZeRO hangs its shards on the parameters
    elif isinstance(value, torch.optim.Optimizer):
        yield from _tensors([value.param_groups, value.state], seen)
    elif isinstance(value, dict):
        yield from _tensors([*value.values()], seen)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, seen)
