"""One engine for every phase, door and world size, with DeepSpeed where ranks share or shard anything.

A step takes a recipe's whole batch, cuts it into micro-batches (trainers.training.batches), and weighs every term of
the loss by 1/terms over all ranks, so that neither the cut nor the number of ranks changes the gradient.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainers.network.encoder import Vocabulary
from trainers.network.model import Batch, Layers, StageModel
from trainers.stage import Execution, Recipe, digest
from trainers.tasks.intermediates import MLM
from trainers.tokens.sets import TokenisedSet
from trainers.training.adamw import AdamW
from trainers.training.batches import cut
from trainers.training.graphs import Graphs
from trainers.training.masters import Masters
from trainers.training.memory import held_bytes
from trainers.training.ranks import Ranks

LARGEST_BUCKET = 500_000_000
"""Elements that one collective moves at the most (DeepSpeed's default)."""
BUCKET_ALIGNMENT = 1024
LINEAR = nn.functional.linear
"""Torch's own: DeepSpeed puts another in its place for ZeRO-3, and leaves it there."""


def set_up_torch(execution: Execution) -> None:
    """Threads and determinism of every stage."""
    if execution.threads:
        torch.set_num_threads(execution.threads)
    # "Bit for bit" needs it on a GPU; operations without a deterministic version only warn.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # `use_deterministic_algorithms` would import the compiler, to tell it.
    torch.set_deterministic_debug_mode("warn")
    # It would also fill every torch.empty, among them DeepSpeed's buckets in each ZeRO-1/2 step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step did, over all ranks."""

    loss: float
    tokens: int
    """Real tokens, padding left out."""
    votes: tuple[int, ...]
    """Sum over ranks of the votes handed in (to stop, to save): the same on every rank."""


class Engine:
    """A model, its optimizer, and DeepSpeed where several ranks or ZeRO take part."""

    def __init__(self, model: StageModel, recipe: Recipe | None, execution: Execution, ranks: Ranks) -> None:
        """Without a recipe the engine only infers."""
        self.ranks, self.recipe, self.execution = ranks, recipe, execution
        nn.functional.linear = LINEAR  # a stage rounds as it would alone, whatever ran here before
        self.device = torch.device("cuda", ranks.local_rank) if torch.cuda.is_available() else torch.device("cpu")
        self.largest_micro_batch_tokens = 0
        """Real ones, on this rank."""
        self._steps, self._held_bytes = 0, 0
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.masters: Masters | None = None
        if recipe is not None and self.bf16 and ranks.world_size == 1 and execution.zero_stage == 0:
            self.masters = Masters([*model.to(self.device, torch.bfloat16).parameters()])
            if self.device.type == "cuda" and execution.graphs and not execution.activation_checkpointing:
                model.graphs = Graphs(model.encoder, self.masters)
        size = sum(parameter.numel() for parameter in model.parameters())
        config = deepspeed_config(recipe, execution, ranks.world_size, size, self.bf16 and self.masters is None)
        zero_stage = config["zero_optimization"]["stage"]
        self.model = model
        self.deepspeed: Any = None
        self.plain_optimizer: Any = None
        """`optimizer` itself, or what DeepSpeed's is built around where that keeps weights or states apart."""
        if zero_stage or ranks.world_size > 1:
            from trainers.training.quiet_deepspeed import deepspeed

            if recipe is not None:
                self.plain_optimizer = torch.optim.AdamW(  # fused: DeepSpeed's own would need a compiler
                    self._decay_groups(recipe), betas=recipe.adam_betas, eps=recipe.adam_epsilon, fused=True
                )
            self.deepspeed, self.optimizer, _, _ = deepspeed.initialize(
                model=model, optimizer=self.plain_optimizer, config=config
            )
            if zero_stage == 3 and MLM in model.heads:
                # A head that uses the encoder's weight must say so, or it finds its shard alone.
                embeddings = model.encoder.embeddings
                deepspeed.zero.register_external_parameter(model.head(MLM), embeddings.word_embeddings.weight)
        else:
            model.to(self.device, torch.bfloat16 if self.bf16 else torch.float32)
            if recipe is not None:
                self.plain_optimizer = AdamW(self._decay_groups(recipe), recipe)
            self.optimizer = self.plain_optimizer
        self._called: Any = self.deepspeed or model
        self._called.eval()  # all of it: an encoder is as it was loaded, what is built around it is not
        # Without ZeRO every rank has all gradients: one fused call clips them, where DeepSpeed asks each for its norm
        # and all ranks for the same sum.
        self._clipping = recipe.gradient_clipping if recipe is not None and zero_stage == 0 else 0.0

    @property
    def bf16(self) -> bool:
        """Whether weights and activations are bf16 (master weights and Adam states are fp32 anyway)."""
        wanted = self.execution.precision
        return wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda" and torch.cuda.is_bf16_supported())

    def master(self, parameter: nn.Parameter) -> nn.Parameter:
        """What the optimizer steps for a parameter, where DeepSpeed shards nothing: its fp32 weight, or itself."""
        return self.masters.of(parameter) if self.masters else parameter

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
        assert self.optimizer is not None
        tokens, terms = examples.tokens, self.model.head(task).terms(examples)
        pieces = cut(tokens, self.ranks.world_size, self.execution.micro_batch_tokens)[self.ranks.rank]
        total_terms = max(1, int(terms.sum()))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if not self.model.training:  # going through all modules takes its time
            self._called.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, places in enumerate(pieces):
            # Counted over all ranks.
            piece = number * self.ranks.world_size + self.ranks.rank
            torch.manual_seed(int(digest([*key, piece], 15), 16))
            units = places if len(places) else np.zeros(1, np.int64)
            losses = self._called(Batch.collate(examples, units, vocabulary, self.device), task, with_losses=True)
            # DeepSpeed averages gradients over ranks; a rank without examples joins with weight 0.
            weight = self.ranks.world_size / total_terms if len(places) else 0.0
            self._backward(losses.sum() * weight, last=number == len(pieces) - 1)
            loss_sum += losses.detach().double().sum() * bool(len(places))
            self.largest_micro_batch_tokens = max(self.largest_micro_batch_tokens, int(tokens[units].sum()))
            if self.masters:
                self.masters.collect()
        if self._steps < 2 and self.device.type == "cpu":  # from the second step on Adam's states are there
            self._held_bytes = max(self._held_bytes, self._holds())
        self._steps += 1
        self._apply()
        # One small all-reduce carries the loss and every rank's votes: all ranks decide alike, at step boundaries.
        totals = torch.tensor([float(loss_sum) / total_terms, *map(float, votes)], dtype=torch.float64)
        totals = self.sum_over_ranks(totals)
        return StepReport(float(totals[0]), int(tokens.sum()), tuple(int(vote) for vote in totals[1:]))

    def _backward(self, loss: Tensor, last: bool) -> None:
        """
        Args:
            last: whether it is the step's last micro-batch, at whose end DeepSpeed sums over ranks.
        """
        if self.deepspeed:
            self.deepspeed.set_gradient_accumulation_boundary(last)
            self.deepspeed.backward(loss, scale_wrt_gas=False)
        else:
            loss.backward()

    def _apply(self) -> None:
        """Clip the gradients, step the optimizer, and let the gradients go."""
        if self._clipping:
            stepped = [tensor for group in self.optimizer.param_groups for tensor in group["params"]]
            nn.utils.clip_grad_norm_(stepped, self._clipping, foreach=True)
        if self.deepspeed:
            self.deepspeed.step()
        else:
            self.optimizer.step()
            if self.masters:
                self.masters.publish()  # they have taken all gradients
            else:
                self.optimizer.zero_grad()

    def _decay_groups(self, recipe: Recipe) -> list[dict]:
        """Two parameter groups: biases and LayerNorm weights (everything one-dimensional) are not decayed."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return [
            {"params": [self.master(p) for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
            {"params": [self.master(p) for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        """All-reduce of a CPU tensor."""
        if self.ranks.world_size == 1:
            return values
        moved = values.to(self.device)
        dist.all_reduce(moved)
        return moved.cpu()

    @torch.no_grad()
    def infer(self, micro_batch: Batch, task: str | None = None, layers: Layers | None = None) -> Any:
        """`StageModel.forward` without dropout or gradient; every rank must call it equally often (ZeRO-3)."""
        if self.model.training:
            self._called.eval()
        return self._called(micro_batch, task, layers=layers)

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
        own = torch.cuda.max_memory_allocated() if on_gpu else max(self._held_bytes, self._holds())
        return int(self.largest_over_ranks(own))

    def _holds(self) -> int:
        return held_bytes(self.model, *filter(None, (self.optimizer, self.plain_optimizer)))

    def close(self) -> None:
        """Give memory back, so that a bundle can build the next stage's engine."""
        self.masters = self.model.graphs = None
        if self.deepspeed:
            self.deepspeed.destroy()
        # DeepSpeed's autograd functions for ZeRO-3 keep the model and the optimizer alive for good: what can be
        # freed is what they hold.
        for parameter in self.model.parameters():
            if hasattr(parameter, "ds_tensor"):
                parameter.ds_tensor.data = parameter.data = parameter.new_empty(0)
        if self.optimizer is not None:  # there is none where nothing is trained
            vars(self.optimizer).clear()


def learning_rate_at(recipe: Recipe, step: int, total_steps: int) -> float:
    """Linear warm-up, then linear decay to 0 at `total_steps`; `step` counts from 0."""
    warmup_steps = recipe.warmup_steps(total_steps)
    if step < warmup_steps:
        return recipe.learning_rate * (step + 1) / (warmup_steps + 1)
    return recipe.learning_rate * (total_steps - step) / max(1, total_steps - warmup_steps)


def deepspeed_config(recipe: Recipe | None, execution: Execution, world_size: int, parameters: int, bf16: bool) -> dict:
    """DeepSpeed's configuration; accumulation is ours (`set_gradient_accumulation_boundary`), hence the ones.

    Without a recipe there are no gradients or states to shard: only ZeRO-3, which shards weights, means something.
    """
    zero_stage = execution.zero_stage
    if recipe is None and zero_stage < 3:
        zero_stage = 0
    elif recipe is not None and bf16:
        # Without ZeRO, DeepSpeed 0.19 takes its fp16 optimizer for bf16: one Adam step too many, and no way to
        # its master weights.  ZeRO-1 shards states over the ranks there are.
        zero_stage = max(1, zero_stage)
    bucket = min(-(-parameters // BUCKET_ALIGNMENT) * BUCKET_ALIGNMENT, LARGEST_BUCKET)
    zero: dict[str, Any] = {"stage": zero_stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket}
    if recipe is not None and execution.offload:
        # Only ZeRO-3 accumulates gradients in fp32 there (ZeRO-2's buffers are bf16).  Not pinned: PyTorch rounds
        # pinned memory up to powers of two, and the host's is what is short.
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_batch_size": world_size,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": recipe.gradient_clipping if recipe is not None and zero_stage else 0.0,
        # DeepSpeed's default buckets of 2 GB would be made for a model of a megabyte, too.
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # its own Adam for the host needs a compiler
        "bf16": {"enabled": bf16},
        "data_types": {"grad_accum_dtype": "fp32"},
        "steps_per_print": 10**9,
    }
