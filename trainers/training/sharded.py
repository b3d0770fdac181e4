"""The engine of several ranks, or of ZeRO: DeepSpeed shares or shards gradients, states and weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.network.model import StageModel
from trainers.stage import Execution, Recipe
from trainers.tasks.intermediates import MLM
from trainers.training.ranks import Ranks
from trainers.training.step import MOMENTS, Engine

# Saves a guess (and a warning), and protects a CUDA build of torch on a machine without a device.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed
import deepspeed.ops

logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
if not torch.cuda.is_available():
    # On a CPU DeepSpeed compiles an op that only inference uses: 84 s, and a process killed meanwhile leaves a lock on
    # which every later one hangs.  No compatible ops, no compiler.
    deepspeed.ops.__compatible_ops__ = {}

LARGEST_BUCKET = 500_000_000
"""Elements that one collective moves at the most (DeepSpeed's default)."""
BUCKET_ALIGNMENT = 1024


class Sharded(Engine):
    """DeepSpeed's engine, whose gradients are accumulated and scaled by ours."""

    def __init__(self, model: StageModel, recipe: Recipe | None, execution: Execution, ranks: Ranks) -> None:
        super().__init__(model, recipe, execution, ranks)
        size = sum(parameter.numel() for parameter in model.parameters())
        config = deepspeed_config(recipe, execution, ranks.world_size, size, self.bf16)
        self.zero_stage = config["zero_optimization"]["stage"]
        if recipe is not None:
            self.adam = torch.optim.AdamW(  # fused: DeepSpeed's own would need a compiler
                self._decay_groups(recipe), betas=recipe.adam_betas, eps=recipe.adam_epsilon, fused=True
            )
        self.module, self.optimizer, _, _ = deepspeed.initialize(model=model, optimizer=self.adam, config=config)
        if self.zero_stage == 3 and MLM in model.heads:
            # The head uses a weight of the encoder; unless registered, it would see this rank's shard only.
            word_embeddings = model.encoder.embeddings.word_embeddings
            deepspeed.zero.register_external_parameter(model.head(MLM), word_embeddings.weight)
        self.module.eval()  # all of it: an encoder is as it was loaded, what is built around it is not

    def _backward(self, loss: Tensor, last: bool) -> None:
        self.module.set_gradient_accumulation_boundary(last)  # at the last one it sums over ranks
        self.module.backward(loss, scale_wrt_gas=False)

    def _update(self) -> None:
        if self.zero_stage == 0:
            # Every rank has all gradients: one fused call clips them, where DeepSpeed asks each for its norm and all
            # ranks for the same sum.
            self._clip()
        self.module.step()

    def close(self) -> None:
        self.module.destroy()
        # DeepSpeed's autograd functions for ZeRO-3 refer to model and optimizer until the process ends, so that their
        # tensors are freed here one by one.
        for parameter in self.model.parameters():
            if hasattr(parameter, "ds_tensor"):
                parameter.ds_tensor.data = parameter.data = parameter.new_empty(0)
        if self.optimizer is not None:
            vars(self.optimizer).clear()

    # -- weights and states by name -----------------------------------------------------------------------

    @property
    def _partitioned(self) -> bool:
        """Whether DeepSpeed keeps fp32 master weights apart from the module's own."""
        return self.optimizer is not self.adam

    def full_weight(self, parameter: nn.Parameter) -> Tensor:
        if not self._partitioned:
            return super().full_weight(parameter)
        return deepspeed.utils.safe_get_full_fp32_param(parameter).detach()

    def _full_moment(self, parameter: nn.Parameter, moment: str) -> Tensor:
        if not self._partitioned:
            return super()._full_moment(parameter, moment)
        return deepspeed.utils.safe_get_full_optimizer_state(parameter, moment).detach()

    def _link_states(self) -> None:
        """ZeRO-1/2: connect each parameter with its part of the flat Adam states.

        DeepSpeed 0.19 does so once, after the first parameter group's first step, and so misses the second group.
        """
        if hasattr(self.optimizer, "_lazy_init_hp_params_optimizer_state"):
            self.optimizer._hp_optimizer_states_linked = False
            self.optimizer._lazy_init_hp_params_optimizer_state()

    def states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        self._link_states()
        return super().states()

    def _create_states(self, step: int) -> None:
        super()._create_states(step)
        self._link_states()

    def _stepped_tensors(self) -> list[Tensor]:
        # Under ZeRO-3 the optimizer's groups are filled only while it steps; the flat shards are these.
        return getattr(self.optimizer, "fp32_partitioned_groups_flat", None) or super()._stepped_tensors()

    def _restore(self, parameter: Any, values: dict[str, Tensor]) -> None:
        if hasattr(parameter, "ds_id"):
            self._restore_shard(parameter, values)
        elif self._partitioned:
            deepspeed.utils.safe_set_full_fp32_param(parameter, values["weight"])
            for moment in MOMENTS:
                deepspeed.utils.safe_set_full_optimizer_state(parameter, values[moment], moment)
            parameter.data.copy_(values["weight"])  # each rank also holds the weight itself
        else:
            super()._restore(parameter, values)

    def _restore_shard(self, parameter: Any, values: dict[str, Tensor]) -> None:
        """ZeRO-3: set this rank's part of a parameter; DeepSpeed's `safe_set_full_*` fails where parts are padded."""
        size = parameter.ds_tensor.numel()

        def part(value: Tensor) -> Tensor:
            padded = F.pad(value.flatten(), (0, size * self.ranks.world_size - value.numel()))
            return padded[size * self.ranks.rank :][:size]

        deepspeed.utils.safe_set_local_fp32_param(parameter, part(values["weight"]))
        for moment in MOMENTS:
            deepspeed.utils.safe_set_local_optimizer_state(parameter, part(values[moment]), moment)
        parameter.ds_tensor.data.copy_(part(values["weight"]))
        if parameter.numel() == parameter.ds_numel:  # small ones stay gathered between steps
            parameter.data.copy_(values["weight"].view_as(parameter))


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
