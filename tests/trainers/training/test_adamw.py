"""Our AdamW steps as torch's does, to the last bit."""

from __future__ import annotations

import torch

from trainers.stage import Recipe
from trainers.training.adamw import AdamW

RECIPE = Recipe(batch_size=8, epochs=1, learning_rate=1e-3, weight_decay=0.1, max_length=32)
SHAPES = ((7, 5), (300, 11), (5,), (1,))


def trained(make) -> list[torch.Tensor]:
    """Parameters after 20 steps, the last of which has no gradient in every other step."""
    random = torch.Generator().manual_seed(1)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]
    groups = [{"params": parameters[:2], "weight_decay": 0.1}, {"params": parameters[2:], "weight_decay": 0.0}]
    optimizer = make(groups)
    for step in range(20):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (step + 1)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random)
        if step % 2:
            parameters[-1].grad = None
        optimizer.step()
        optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in parameters)
    moments = [optimizer.state[one][name] for one in parameters for name in ("step", "exp_avg", "exp_avg_sq")]
    return [*(parameter.detach() for parameter in parameters), *moments]


def test_weights_and_states_are_those_of_torch():
    ours = trained(lambda groups: AdamW(groups, RECIPE))
    theirs = trained(
        lambda groups: torch.optim.AdamW(groups, lr=1.0, betas=RECIPE.adam_betas, eps=RECIPE.adam_epsilon, fused=True)
    )
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert ours[4 + 3 * 3] == 10, "steps of the parameter that had a gradient in every other one"
