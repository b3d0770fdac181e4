"""The GPUs that clusters offer, as numbers from their data sheets."""

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU."""

    name: str
    memory_bytes: int
    """What the driver offers to CUDA (`torch.cuda.get_device_properties().total_memory`), less than the name says."""
    flops_per_s: float
    """Peak dense matrix products, in bf16 where it has it, else in fp32."""
    bytes_per_s: float
    """Memory bandwidth."""
    bf16: bool = True
    """Without it training runs in fp32: fp16 overflows in XL and XXL."""

    def __post_init__(self) -> None:
        if min(self.memory_bytes, self.flops_per_s, self.bytes_per_s) <= 0:
            raise ValueError(f"the GPU {self.name!r} must have memory, FLOP/s and bytes/s above 0, but is {self}")

    @property
    def words(self) -> tuple[str, str]:
        """What its name says: the model and the memory in GB, e.g. `a100` and `40`."""
        model, _, memory = self.name.lower().rpartition("-")
        return model, memory


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("V100-32", int(31.7 * GIB), 15.7e12, 0.90e12, bf16=False),
        Gpu("A100-40", int(39.4 * GIB), 312e12, 1.56e12),
        Gpu("A100-80", int(79.2 * GIB), 312e12, 2.04e12),
        Gpu("H100-80", int(79.1 * GIB), 989e12, 3.35e12),
        Gpu("H200-141", int(139.8 * GIB), 989e12, 4.80e12),
    )
}
"""NVIDIA's data sheets (SXM versions, without sparsity); memory as PyTorch's messages report it."""

PART_OF_ONE = re.compile(r"\d+g\.\d+gb")
"""What a MIG instance is called."""
MEMORY = re.compile(r"(?<![a-z0-9])(\d{2,3})(?:gi?b?)?(?![a-z0-9])")
"""A word that is a GPU's memory in GB."""


def named(name: str) -> tuple[Gpu, ...]:
    """The known GPUs that a cluster's name may mean: one for `nvidia_a100-sxm4-80gb`, two for `a100`, none for `l40s`.

    Case and separators do not count.  A part of a GPU (MIG, `a100_3g.20gb`) is none of them.
    """
    text = name.lower()
    if PART_OF_ONE.search(text):
        return ()
    memories = MEMORY.findall(text)

    def means(gpu: Gpu) -> bool:
        model, memory = gpu.words
        if re.search(rf"(?<![a-z0-9]){model}(?!\d)", text):
            return not memories or memory in memories
        return re.search(rf"(?<![a-z0-9]){model}{memory}(?!\d)", text) is not None

    return tuple(gpu for gpu in GPUS.values() if means(gpu))
