"""The least sharding that fits: how many GPUs, which ZeRO stage, how large a micro-batch.

What is tried, in this order, ends with the first that fits:

1. fewer GPUs before more, within a node before beyond it: a sweep has many stages, and a GPU that one of them does not
   take trains another; a step of a thousand tokens does not divide well, and networks are slower than NVLink;
2. no ZeRO before ZeRO-1, -2 and -3: each stage communicates more;
3. large micro-batches before small ones: accumulation costs no FLOPs; on one GPU first with CUDA graphs, which take
   more memory and much less time;
4. then activation checkpointing.  It computes a third more FLOPs (a second forward pass for every step's forward and
   backward, Korthikanti et al. 2022), a second GPU costs a whole one.  As micro-batches shrink first, it is
   reached only where even the smallest one lacks memory for its activations;
5. offload at last, on ever more GPUs again, where the host's memory is known: Adam then runs on the host, and every
   step waits for PCIe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slurm.sizing.gpus import Gpu
from slurm.sizing.memory import MemoryParts, ModelSize, Placement, Precision, peak

LARGEST_MICRO_BATCH_TOKENS = 16_384
"""More no longer makes a GPU faster."""
SMALLEST_MICRO_BATCH_TOKENS = 1_024
"""Less leaves a GPU waiting for its kernels to be started; only a shorter step goes below."""


@dataclass(frozen=True)
class Fit:
    """A way to train that fits."""

    gpu: Gpu
    placement: Placement
    accumulation: int
    """Micro-batches per rank and step."""
    parts: MemoryParts
    why: tuple[str, ...]
    """One sentence for each lesser sharding that was rejected."""

    def __str__(self) -> str:
        host = f" and {_gb(self.parts.host)} of the host for each rank" if self.placement.offload else ""
        return (
            f"{self.placement.sharding} on {_place(self.gpu, self.placement)}: {_gb(self.parts.total)} of "
            f"{_gb(self.gpu.memory_bytes)}{host}, {self.accumulation} × {self.placement.micro_batch_tokens:,} tokens"
        )


@dataclass(frozen=True)
class Misfit:
    """Nothing fits."""

    limit: str
    """What stands in the way, and what to do."""
    why: tuple[str, ...]

    def __str__(self) -> str:
        return self.limit


def least_sharding(
    model: ModelSize,
    gpu: Gpu,
    gpus_per_node: int,
    max_gpus: int,
    step_tokens: int,
    longest_sequence: int,
    host_bytes: float | None = None,
    correction: float = 1.0,
) -> Fit | Misfit:
    """The first sharding, in this module's order, whose peak fits into `gpu`.

    Args:
        step_tokens: tokens of one optimizer step, over all ranks.
        longest_sequence: tokens of the longest example, which no micro-batch can be smaller than.
        host_bytes: host memory of one rank; None is not known: it is left unchecked, and nothing is offloaded.
        correction: what the predicted allocation is multiplied by (`calibrate` on measured peaks).

    Raises:
        ValueError: a count is below 1.
    """
    counts = {
        "gpus_per_node": gpus_per_node,
        "max_gpus": max_gpus,
        "step_tokens": step_tokens,
        "longest_sequence": longest_sequence,
    }
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, but is {value}")
    if correction <= 0 or (host_bytes is not None and host_bytes <= 0):
        raise ValueError(f"correction and host_bytes must be above 0, but are {correction} and {host_bytes}")
    precision: Precision = "bf16" if gpu.bf16 else "fp32"
    why: list[str] = []
    least: tuple[float, Placement, MemoryParts] | None = None
    for world_size, zero_stage, offload in _ladder(gpus_per_node, max_gpus, host_bytes is not None):
        placement, parts = None, None
        for tokens, checkpointing, graphs in _micro_batches(step_tokens, world_size, longest_sequence):
            placement = Placement(
                nodes=-(-world_size // gpus_per_node),
                ranks_per_node=min(world_size, gpus_per_node),
                zero_stage=zero_stage,
                offload=offload,
                activation_checkpointing=checkpointing,
                graphs=graphs,
                micro_batch_tokens=tokens,
            )
            if graphs and not placement.replays(precision):
                continue  # the same without comes later
            parts = peak(model, placement, precision)
            need = parts.reserve + correction * parts.allocated
            host_fits = host_bytes is None or parts.host <= host_bytes
            if need <= gpu.memory_bytes and host_fits:
                return Fit(gpu, placement, -(-step_tokens // (world_size * tokens)), parts, tuple(why))
            if least is None or need < least[0]:
                least = (need, placement, parts)
        assert placement is not None
        assert parts is not None
        why.append(_reason(gpu, placement, parts, correction, host_bytes))
    assert least is not None
    need, placement, parts = least
    what = f"{placement.sharding} on {_place(gpu, placement)}"
    if need <= gpu.memory_bytes:
        assert host_bytes is not None
        limit = (
            f"the hosts are too small: {what} needs {_gb(parts.host)} for each rank, {_gb(host_bytes)} are there; "
            "request more host memory per rank, or allow more GPUs"
        )
    else:
        unknown = ", or give the host memory for each rank: then Adam may run there" if host_bytes is None else ""
        limit = (
            f"nothing fits into up to {max_gpus}×{gpu.name}: the least, {what}, needs {_gb(need)} per GPU and "
            f"{_gb(gpu.memory_bytes)} are there; allow more GPUs, or take larger ones{unknown}"
        )
    return Misfit(limit, tuple(why))


def _ladder(gpus_per_node: int, max_gpus: int, may_offload: bool) -> Iterator[tuple[int, int, bool]]:
    """World size, ZeRO stage and offload of every step."""
    worlds = world_sizes(gpus_per_node, max_gpus)
    for world_size in worlds:
        # On one GPU there is nobody to share with.
        yield from ((world_size, stage, False) for stage in ((0,) if world_size == 1 else (1, 2, 3)))
    if may_offload:
        for world_size in worlds:
            yield world_size, 3, True


def world_sizes(gpus_per_node: int, max_gpus: int) -> list[int]:
    """1, 2, 4, … within a node, the whole node, then 2, 4, … whole nodes."""
    sizes, size = [], 1
    while size < gpus_per_node:
        sizes.append(size)
        size *= 2
    nodes = 1
    while nodes * gpus_per_node <= max_gpus:
        sizes.append(nodes * gpus_per_node)
        nodes *= 2
    return [size for size in sizes if size <= max_gpus]


def _micro_batches(step_tokens: int, world_size: int, longest_sequence: int) -> Iterator[tuple[int, bool, bool]]:
    """Tokens, activation checkpointing and CUDA graphs: all sizes with graphs, largest first, then all without, then
    all with checkpointing."""
    share = max(longest_sequence, -(-step_tokens // world_size))
    largest = max(longest_sequence, min(share, LARGEST_MICRO_BATCH_TOKENS))
    smallest = max(longest_sequence, min(share, SMALLEST_MICRO_BATCH_TOKENS))
    sizes, size = [], largest
    while size > smallest:
        sizes.append(size)
        size //= 2
    for checkpointing, graphs in ((False, True), (False, False), (True, False)):
        yield from ((size, checkpointing, graphs) for size in (*sizes, smallest))


def _reason(gpu: Gpu, placement: Placement, parts: MemoryParts, correction: float, host_bytes: float | None) -> str:
    """Why not even the thriftiest form of a step fits: its smallest micro-batch, with activation checkpointing."""
    need = parts.reserve + correction * parts.allocated
    plain = f"ZeRO-{placement.zero_stage}{' with offload' if placement.offload else ''} on {_place(gpu, placement)}"
    if need <= gpu.memory_bytes:
        assert host_bytes is not None
        return f"{plain} needs {_gb(parts.host)} of host memory per rank, {_gb(host_bytes)} are there"
    if correction * parts.handed_over > gpu.memory_bytes:
        whole = _gb(correction * parts.handed_over)
        return f"{plain} needs {whole} for the whole network before it is sharded, {_gb(gpu.memory_bytes)} are there"
    states = correction * parts.states
    held = "weights and gradients" if placement.offload else "weights, gradients and Adam"
    if states > gpu.memory_bytes:
        return f"{plain} needs {_gb(states)} for {held}, {_gb(gpu.memory_bytes)} are there"
    return (
        f"{plain} needs {_gb(need)}, {_gb(gpu.memory_bytes)} are there: {_gb(states)} for {held}, "
        f"{_gb(need - states)} for buffers, CUDA and activations of {placement.micro_batch_tokens:,} tokens, recomputed"
    )


def _place(gpu: Gpu, placement: Placement) -> str:
    nodes = f" on {placement.nodes} nodes" if placement.nodes > 1 else ""
    return f"{placement.ranks}×{gpu.name}{nodes}"


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
