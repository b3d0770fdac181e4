"""One optimizer step on a recipe's whole batch, whatever the device and the number of ranks.

A step cuts the batch into micro-batches (trainers.training.batches) and weighs every term of the loss by 1/terms over
all ranks, so that neither the cut nor the number of ranks changes the gradient.  `Engine` is the interface;
`trainers.training.engine` chooses between its two implementations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainers.network.batch import Batch
from trainers.network.encoder import Vocabulary
from trainers.network.model import Layers, StageModel
from trainers.stage import Execution, Recipe, digest
from trainers.tokens.sets import TokenisedSet
from trainers.training.batches import cut
from trainers.training.ranks import Ranks

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's states of a parameter."""
LINEAR = nn.functional.linear
"""Torch's own: DeepSpeed puts another in its place for ZeRO-3, and leaves it there."""


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step did, over all ranks."""

    loss: float
    tokens: int
    """Real tokens, padding left out."""
    votes: tuple[int, ...]
    """Sum over ranks of the votes handed in (to stop, to save): the same on every rank."""


class Engine(ABC):
    """A model, its optimizer, and the device and ranks that they are on."""

    module: Any
    """What a forward pass calls: the model, or DeepSpeed's engine around it."""
    zero_stage: int = 0
    optimizer: Any = None
    """Has `param_groups`, of which the step sets the learning rate; None where nothing is trained."""
    adam: Any = None
    """AdamW: `optimizer` itself, or what DeepSpeed's is built around where that keeps weights or states apart."""

    def __init__(self, model: StageModel, recipe: Recipe | None, execution: Execution, ranks: Ranks) -> None:
        """Without a recipe the engine only infers."""
        self.model, self.recipe, self.execution, self.ranks = model, recipe, execution, ranks
        nn.functional.linear = LINEAR  # a stage rounds as it would alone, whatever ran here before
        self.device = torch.device("cuda", ranks.local_rank) if torch.cuda.is_available() else torch.device("cpu")
        self.largest_micro_batch_tokens = 0
        """Real ones, on this rank."""
        self._steps, self._held_bytes = 0, 0
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    @property
    def bf16(self) -> bool:
        """Whether weights and activations are bf16 (master weights and Adam states are fp32 anyway)."""
        wanted = self.execution.precision
        return wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda" and torch.cuda.is_bf16_supported())

    @property
    def hidden_size(self) -> int:
        return self.model.encoder.config.hidden_size

    def step(
        self,
        examples: TokenisedSet,
        task: str,
        key: tuple[int, int],
        vocabulary: Vocabulary,
        learning_rate: float,
        votes: Iterable[bool] = (),
    ) -> StepReport:
        """One optimizer step on a whole batch.

        Args:
            examples: the step's batch, the same on every rank.
            key: dropout's seed and the step's number, of which dropout is a pure function.
            votes: this rank's, to be counted over all.
        """
        tokens, terms = examples.tokens, self.model.head(task).terms(examples)
        pieces = cut(tokens, self.ranks.world_size, self.execution.micro_batch_tokens)[self.ranks.rank]
        total_terms = max(1, int(terms.sum()))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if not self.model.training:  # `train` visits every module
            self.module.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, places in enumerate(pieces):
            # Counted over all ranks.
            piece = number * self.ranks.world_size + self.ranks.rank
            torch.manual_seed(int(digest([*key, piece], 15), 16))
            units = places if len(places) else np.zeros(1, np.int64)
            losses = self.module(Batch.collate(examples, units, vocabulary, self.device), task, with_losses=True)
            # DeepSpeed averages gradients over ranks; a rank without examples joins with weight 0.
            weight = self.ranks.world_size / total_terms if len(places) else 0.0
            self._backward(losses.sum() * weight, last=number == len(pieces) - 1)
            loss_sum += losses.detach().double().sum() * bool(len(places))
            self.largest_micro_batch_tokens = max(self.largest_micro_batch_tokens, int(tokens[units].sum()))
        if self._steps < 2 and self.device.type == "cpu":  # Adam's states exist from the second step on
            self._held_bytes = max(self._held_bytes, self._holds())
        self._steps += 1
        self._update()
        # One small all-reduce carries the loss and every rank's votes: all ranks decide alike, at step boundaries.
        totals = torch.tensor([float(loss_sum) / total_terms, *map(float, votes)], dtype=torch.float64)
        totals = self.sum_over_ranks(totals)
        return StepReport(float(totals[0]), int(tokens.sum()), tuple(int(vote) for vote in totals[1:]))

    @torch.no_grad()
    def infer(self, micro_batch: Batch, task: str | None = None, layers: Layers | None = None) -> Any:
        """`StageModel.forward` without dropout or gradient; every rank must call it equally often (ZeRO-3)."""
        if self.model.training:
            self.module.eval()
        return self.module(micro_batch, task, layers=layers)

    # -- what each implementation does its own way ------------------------------------------------------------------

    @abstractmethod
    def _backward(self, loss: Tensor, last: bool) -> None:
        """Add a micro-batch's gradients to the step's; `last` tells the step's last micro-batch."""

    @abstractmethod
    def _update(self) -> None:
        """Clip the gradients, step the optimizer, and free the gradients."""

    @abstractmethod
    def close(self) -> None:
        """Free memory for the next stage of the bundle."""

    def stepped(self, parameter: nn.Parameter) -> nn.Parameter:
        """What the optimizer steps for a parameter that no rank shares: its fp32 master weight, or itself."""
        return parameter

    def full_weight(self, parameter: nn.Parameter) -> Tensor:
        """The whole fp32 weight, on every rank; all ranks must ask for the same parameter."""
        return self.stepped(parameter).detach().float()

    def _full_moment(self, parameter: nn.Parameter, moment: str) -> Tensor:
        return self.adam.state[self.stepped(parameter)][moment].detach()

    def _create_states(self, step: int) -> None:
        """Adam makes its states in its first step; where a checkpoint is loaded they must exist before any."""
        for tensor in self._stepped_tensors():
            self.adam.state[tensor] = {
                "step": torch.tensor(float(step), device=tensor.device),
                **{moment: torch.zeros_like(tensor) for moment in MOMENTS},
            }

    def _stepped_tensors(self) -> list[Tensor]:
        return [tensor for group in self.adam.param_groups for tensor in group["params"]]

    def _restore(self, parameter: nn.Parameter, values: dict[str, Tensor]) -> None:
        """Put in whole values: `weight` and `MOMENTS`."""
        parameter.data.copy_(values["weight"])
        self.stepped(parameter).data.copy_(values["weight"])
        for moment in MOMENTS:
            self.adam.state[self.stepped(parameter)][moment].copy_(values[moment])

    # -- weights and states by name -----------------------------------------------------------------------

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Those that are trained."""
        return [(name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad]

    def states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Each parameter's name, whole fp32 `weight` and `MOMENTS`; all ranks must go through all, after a step."""
        for name, parameter in self.named_parameters():
            moments = {moment: self._full_moment(parameter, moment) for moment in MOMENTS}
            yield name, {"weight": self.full_weight(parameter), **moments}

    def restore(self, step: int, values_of: Callable[[str], dict[str, Tensor]]) -> None:
        """Go on from after `step`, with what `states` gave then, by a parameter's name.  All ranks must call it."""
        self._create_states(step)
        for name, parameter in self.named_parameters():
            self._restore(parameter, values_of(name))

    def _decay_groups(self, recipe: Recipe) -> list[dict]:
        """Two parameter groups: biases and LayerNorm weights (everything one-dimensional) are not decayed."""
        parameters = [parameter for _, parameter in self.named_parameters()]
        return [
            {"params": [self.stepped(p) for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
            {"params": [self.stepped(p) for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]

    def _clip(self) -> None:
        """Clip whole gradients to the recipe's norm, in one fused call."""
        assert self.recipe is not None
        nn.utils.clip_grad_norm_(self._stepped_tensors(), self.recipe.gradient_clipping, foreach=True)

    # -- over ranks ---------------------------------------------------------------------------------------

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        """All-reduce of a CPU tensor."""
        if self.ranks.world_size == 1:
            return values
        moved = values.to(self.device)
        dist.all_reduce(moved)
        return moved.cpu()

    def largest_over_ranks(self, value: float) -> float:
        """The maximum of one number over all ranks."""
        if self.ranks.world_size == 1:
            return value
        largest = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return float(largest)

    def peak_memory_bytes(self) -> int:
        """Of the rank that needed the most: on a GPU what CUDA allocated at the most since this engine was begun, on a
        CPU the weights, gradients and Adam states.  All ranks must call it."""
        on_gpu = self.device.type == "cuda"
        held = torch.cuda.max_memory_allocated() if on_gpu else max(self._held_bytes, self._holds())
        return int(self.largest_over_ranks(held))

    def _holds(self) -> int:
        return held_bytes(self.model, *filter(None, [self.optimizer]))


def learning_rate_at(recipe: Recipe, step: int, total_steps: int) -> float:
    """Linear warm-up, then linear decay to 0 at `total_steps`; `step` counts from 0."""
    warmup_steps = recipe.warmup_steps(total_steps)
    if step < warmup_steps:
        return recipe.learning_rate * (step + 1) / (warmup_steps + 1)
    return recipe.learning_rate * (total_steps - step) / max(1, total_steps - warmup_steps)


def held_bytes(*holders: Any) -> int:
    """Bytes of all tensors that modules, optimizers and other objects hold: weights, gradients, states, buffers.

    Attributes are followed, and lists and dictionaries in them, so that no private name of DeepSpeed's is needed.  A
    storage that several tensors share counts once.
    """
    storages: dict[int, int] = {}
    seen: dict[int, Any] = {}
    """Kept alive, so that no other object gets the id of one that was visited."""
    waiting = [holder if isinstance(holder, nn.Module) else vars(holder) for holder in holders]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        match value:
            case Tensor():
                storage = value.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
                waiting += [vars(value), value.grad if value.is_leaf else None]  # ZeRO hangs its shards on parameters
            case nn.Module():
                waiting += [*value.parameters(), *value.buffers()]
            case torch.optim.Optimizer():
                waiting += [value.param_groups, value.state]
            case dict():
                waiting += value.values()
            case list() | tuple():
                waiting += value
    storages.pop(0, None)  # of tensors without memory (torch's meta device)
    return sum(storages.values())
