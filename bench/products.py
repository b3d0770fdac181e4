"""How fast one core multiplies matrices as large as a training step's: the limit of any implementation of the step.

    python -m bench.products [SCALE TOKENS] > docs/benchmarks/products.md

Forward and both products backward of a feed-forward layer in fp32, a row for each real token; processor-seconds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from bench.growth import shape_of
from bench.measured import measured

TIMES = 20


def main(scale: str, tokens: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    shape = shape_of(scale)
    states, weights = torch.randn(tokens, shape.hidden), torch.randn(shape.hidden, shape.feed_forward)
    inner = torch.randn(tokens, shape.feed_forward)
    products = {
        "forward": lambda: states @ weights,
        "backward, states": lambda: inner @ weights.T,
        "backward, weights": lambda: states.T @ inner,
    }
    operations = 2 * tokens * shape.hidden * shape.feed_forward
    print(f"# Products of a step's matrices: {scale}, {tokens:,} tokens\n")
    print(f"{measured(f'python -m bench.products {scale} {tokens}', 'torch')}; one thread, {TIMES} times each.\n")
    print("| product | GFLOP/s: median (lowest–highest) |")
    print("|---|--:|")
    for name, product in products.items():
        rates = operations / 1e9 / np.array([_seconds(product) for _ in range(TIMES)])
        print(f"| {name} | {np.median(rates):.0f} ({rates.min():.0f}–{rates.max():.0f}) |")


def _seconds(product: Callable[[], object]) -> float:
    begun = time.process_time()
    product()
    return time.process_time() - begun


if __name__ == "__main__":
    scale, tokens = sys.argv[1:] or ("base", "1577")
    main(scale, int(tokens))
