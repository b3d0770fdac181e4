"""fp32 master weights of a bf16 network that one rank trains without ZeRO.

DeepSpeed's optimizer for bf16 does the same one parameter after the other, with a copy and a hook for each: on one GPU
a step of a short batch waits for those.  Here all parameters share a few calls, and DeepSpeed is handed an optimizer of
the masters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Masters:
    """Adds up the network's gradients in fp32, and rounds what the optimizer made of the masters to its weights."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        """Of bf16 parameters, on their device."""
        self.parameters = list(parameters)
        self.masters = [nn.Parameter(parameter.detach().float()) for parameter in self.parameters]
        for master in self.masters:
            master.grad = torch.zeros_like(master)
        self._of = dict(zip(map(id, self.parameters), self.masters, strict=True))
        self._old = set(self._of)
        """Ids of the parameters that have no gradient of this step yet."""

    def of(self, parameter: nn.Parameter) -> nn.Parameter:
        """The fp32 weight of one of the network's parameters; its gradient is always the same tensor."""
        return self._of[id(parameter)]

    def collect(self) -> None:
        """Take the gradients of a backward pass from the network."""
        found = [parameter for parameter in self.parameters if parameter.grad is not None]
        for are_old in (True, False):
            alike = [parameter for parameter in found if (id(parameter) in self._old) == are_old]
            self.add(alike, [parameter.grad for parameter in alike if parameter.grad is not None], are_old)
        self.have_come(identities(found))
        for parameter in found:
            parameter.grad = None

    def are_old(self, parameters: frozenset[int]) -> bool:
        """Whether all these masters' gradients are still those of the last step."""
        return parameters <= self._old

    def have_come(self, parameters: frozenset[int]) -> None:
        """Gradients of these parameters were added."""
        self._old -= parameters

    @torch.no_grad()
    def add(self, parameters: Sequence[nn.Parameter], gradients: list[Tensor], are_old: bool) -> None:
        """Add gradients to the masters', or replace them where they `are_old`."""
        add: Any = torch._foreach_copy_ if are_old else torch._foreach_add_
        if gradients:
            add([self.of(parameter).grad for parameter in parameters], gradients)

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters to the network's weights, after the optimizer's step."""
        torch._foreach_copy_([*self.parameters], [*self.masters])
        self._old = set(self._of)


def identities(parameters: Iterable[nn.Parameter]) -> frozenset[int]:
    """By which `Masters` knows parameters."""
    return frozenset(map(id, parameters))
