"""The engine of a stage: one device on its own, or DeepSpeed where several ranks or ZeRO take part."""

from __future__ import annotations

import os

import torch

from trainers.network.model import StageModel
from trainers.stage import Execution, Recipe
from trainers.training.ranks import Ranks
from trainers.training.step import Engine


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


def make_engine(model: StageModel, recipe: Recipe | None, execution: Execution, ranks: Ranks) -> Engine:
    """An engine that trains by `recipe`; without one it only infers, and ZeRO-1 and -2 have nothing to shard.

    All ranks must call it.
    """
    shards = execution.zero_stage > (0 if recipe is not None else 2)
    if ranks.world_size == 1 and not shards:
        from trainers.training.one_device import OneDevice

        return OneDevice(model, recipe, execution, ranks)
    from trainers.training.sharded import Sharded  # DeepSpeed takes seconds to import

    return Sharded(model, recipe, execution, ranks)
