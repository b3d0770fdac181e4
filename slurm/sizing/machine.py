"""How many processes one machine holds, side by side, and how large an exported encoder is."""

from __future__ import annotations

from dataclasses import dataclass

ADAM_BYTES = 16
"""Per parameter, in fp32 on one rank (slurm.sizing.memory): weights, gradients, two moments."""
EXPORT_BYTES = 4
"""An exported encoder is fp32."""
PROCESS_BYTES = 1 << 30
"""Interpreter, torch and libraries."""


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
