"""Attention's two kernels for sequences of different lengths on a GPU, by their lengths, as a page.

python -m bench.gpu.attention > docs/benchmarks/gpu-h200/attention.md
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch

from bench.gpu.model import SEED, random_examples
from bench.measured import measured
from trainers.network.attention import SHORT_HEAD, SHORT_TOKENS, VariableLengthAttention
from trainers.stage import Execution
from trainers.stage.scales import KNOWN
from trainers.training.engine import set_up_torch

SCALES = ("base", "large", "xl")
TOKENS = 64_000
"""So many that the GPU does not wait for Python."""
LENGTHS = {"like XNLI's": None, "all 32": 32, "all 64": 64, "all 96": 96, "all 128": 128, "all 384": 384}
REPEATS = 20
DROPOUT = 0.1


def main() -> None:
    argparse.ArgumentParser(prog="python -m bench.gpu.attention", description=__doc__.splitlines()[0]).parse_args()
    set_up_torch(Execution())
    print(
        f"# Attention's kernels by length\n\n{measured('python -m bench.gpu.attention', 'torch')}: about"
        f" {TOKENS:,} tokens in bf16, dropout {DROPOUT}; milliseconds forwards + backwards, medians of {REPEATS}."
        f" The efficient kernel is taken up to {SHORT_TOKENS} tokens and {SHORT_HEAD} dimensions a head; both backward"
        " passes are run twice, and must be equal to the last bit.\n\n"
        "| scale | heads | lengths | FlashAttention | efficient | times |\n|---|---|---|--:|--:|--:|"
    )
    for scale in SCALES:
        shape = KNOWN[scale].shape
        heads, dimensions = shape.heads, shape.hidden // shape.heads
        for name, length in LENGTHS.items():
            lengths = xnli_like() if length is None else np.full(TOKENS // length, length)
            flash, efficient = (passes(short, lengths, heads, dimensions) for short in (False, True))
            print(
                f"| {scale} | {heads} × {dimensions} | {name} | {flash[0]:.3f} + {flash[1]:.3f} |"
                f" {efficient[0]:.3f} + {efficient[1]:.3f} | {sum(flash) / sum(efficient):.2f} |"
            )


def xnli_like() -> np.ndarray:
    """Lengths as `bench.gpu.model` draws them, to the number of tokens."""
    lengths = random_examples(vocabulary=100).lengths
    return np.sort(lengths[: int(np.searchsorted(np.cumsum(lengths), TOKENS))])[::-1].copy()


def passes(short: bool, lengths: np.ndarray, heads: int, dimensions: int) -> list[float]:
    """Milliseconds of the forward and of the backward pass, by FlashAttention or the kernel for `short` ones."""
    bounds = torch.tensor(np.concatenate([[0], np.cumsum(lengths)]), dtype=torch.int32, device="cuda")
    torch.manual_seed(SEED)
    query, key, value, gradient = (
        torch.randn(int(lengths.sum()), heads, dimensions, device="cuda", dtype=torch.bfloat16) for _ in range(4)
    )
    inputs = [one.requires_grad_() for one in (query, key, value)]

    def forward() -> torch.Tensor:
        return VariableLengthAttention.apply(*inputs, bounds, int(lengths.max()), DROPOUT, None, short)

    attended = forward()

    def backward() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(attended, inputs, gradient, retain_graph=True)

    assert all(map(torch.equal, backward(), backward()))
    return [milliseconds(forward), milliseconds(backward)]


def milliseconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        started.record()
        work()
        ended.record()
        torch.cuda.synchronize()
        taken.append(started.elapsed_time(ended))
    return statistics.median(taken)


if __name__ == "__main__":
    main()
