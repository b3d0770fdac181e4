"""What a stage costs and how many processes a machine holds: arithmetic on counts, bytes and FLOPs.

Sources: 6·N FLOPs per token forward and backward, 2·N forward (Kaplan et al. 2020, N without embeddings);
16 bytes per parameter for fp32 or mixed-precision Adam (ZeRO, Rajbhandari et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

TRAINING_FLOPS = 6
FORWARD_FLOPS = 2
ADAM_BYTES = 16
EXPORT_BYTES = 4
"""An exported encoder is fp32."""
PROCESS_BYTES = 1 << 30
"""Interpreter, torch and libraries."""


@dataclass(frozen=True)
class Work:
    """Size of one stage."""

    parameters: int
    non_embedding_parameters: int
    training_tokens: int
    forward_tokens: int
    """Tokens read without a backward pass: probes and evaluation."""

    @property
    def flops(self) -> float:
        """Body FLOPs."""
        per_parameter = TRAINING_FLOPS * self.training_tokens + FORWARD_FLOPS * self.forward_tokens
        return float(self.non_embedding_parameters) * per_parameter


@dataclass(frozen=True)
class Machine:
    """What one machine offers to side-by-side processes."""

    cores: int
    memory_bytes: int
    gpus: int


def slots(machine: Machine, parameters: int) -> int:
    """How many stages run side by side: one a GPU; without GPUs one a core, as far as memory reaches.

    One thread a stage beats several: small matrices do not divide well.
    """
    if machine.gpus:
        return machine.gpus
    by_memory = machine.memory_bytes // (ADAM_BYTES * parameters + PROCESS_BYTES)
    return max(1, min(machine.cores, int(by_memory)))
