"""Which rank this process is, and the process group between ranks.

SLURM, submitit (its tasks are SLURM's or local processes) and torchrun each set environment variables of their own;
DeepSpeed wants all five of `RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT` and otherwise looks for MPI.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun, and every launcher that speaks its language
    ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_LOCALID"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)


COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others in one collective."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that run one stage together."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the only one that writes to the store and talks to W&B."""
        return self.rank == 0

    @classmethod
    def from_environment(cls) -> Ranks:
        """Read the launcher's variables; a process that nothing launched is alone."""
        for names in LAUNCHERS:
            if all(name in os.environ for name in names):
                rank, world_size, local_rank = (int(os.environ[name]) for name in names)
                return cls(rank, world_size, local_rank)
        return cls()

    def share(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if self.world_size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def on_first(self, act: Callable[[], Any]) -> Any:
        """Let rank 0 act; its result stays there (None elsewhere), its error is raised on every rank."""
        result, error = None, None
        if self.first:
            try:
                result = act()
            except Exception as raised:  # handed on to all ranks below
                error = raised
        shared = self.share(error)
        if shared is not None:
            raise shared
        return result


def connect(ranks: Ranks) -> None:
    """Start the process group (NCCL on GPUs, gloo on a CPU); once per process."""
    import torch
    import torch.distributed as dist

    # DeepSpeed reads them at every engine, not only when the group starts.
    os.environ.update(RANK=str(ranks.rank), WORLD_SIZE=str(ranks.world_size), LOCAL_RANK=str(ranks.local_rank))
    if dist.is_initialized():
        return
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local_rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if ranks.world_size == 1:  # no port, so that bundles side by side cannot clash
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    else:
        dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)


def disconnect() -> None:
    """Leave the process group, all ranks together, when a job has done its work."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
