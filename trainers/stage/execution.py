"""How a stage is carried out: what changes its speed and memory, and never its result."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trainers.stage.keys import Frozen


class Execution(Frozen):
    """How a stage is carried out: this changes its speed and memory, never its result, and is not part of its key."""

    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Largest number of real tokens per micro-batch and rank; padding is not computed."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 if the device has it, fp32 on a CPU."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage; use the least that fits."""
    offload: bool = False
    """Keep fp32 weights and Adam's states in host memory, and run Adam there: the last resort; needs ZeRO-3."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them."""
    graphs: bool = True
    """If the stage has one GPU, replay short micro-batches as CUDA graphs, so that the GPU need not wait for Python."""
    trim_vocabulary: bool = True
    """Keep only the embedding rows that the stage's data use; logits, losses and kept rows stay the same."""
    checkpoint_every_s: float = Field(default=300.0, ge=0)
    """Seconds between checkpoints."""
    threads: int | None = Field(default=None, gt=0)
    """CPU threads per process; None is torch's choice."""

    @model_validator(mode="after")
    def _can_be_done(self) -> Execution:
        if self.offload and self.zero_stage != 3:
            raise ValueError(f"offload needs ZeRO-3, not stage {self.zero_stage}: set zero_stage: 3, or offload: false")
        return self
