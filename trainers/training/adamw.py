"""AdamW on parameters that one process holds whole: torch's own fused kernel, without torch's optimizer around it.

`torch.optim.Optimizer` imports the compiler (torch._dynamo, 2 processor-seconds), which no stage needs.  Groups, states
and results equal those of `torch.optim.AdamW` to the last bit (tests/trainers/training/test_adamw.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from trainers.stage import Recipe


class AdamW:
    """Steps groups of parameters; the engine sets `lr` of each group before a step."""

    def __init__(self, groups: list[dict[str, Any]], recipe: Recipe) -> None:
        """Groups of `params` and `weight_decay`."""
        self.param_groups: list[dict[str, Any]] = [{**group, "lr": recipe.learning_rate} for group in groups]
        self.betas, self.epsilon = recipe.adam_betas, recipe.adam_epsilon
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        """Of each parameter that had a gradient: `step`, `exp_avg` and `exp_avg_sq`."""

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            states = [self._state_of(parameter) for parameter in moved]
            adamw(
                moved,
                [parameter.grad for parameter in moved],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=self.epsilon,
                maximize=False,
            )

    def zero_grad(self) -> None:
        """Free the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.state[parameter]
