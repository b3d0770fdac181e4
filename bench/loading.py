"""How long a stage waits for its encoder: the first of a process, and those after it.

    python -m bench.loading [SCALE] > docs/benchmarks/loading.md

Random weights of the scale's whole size are written as a Hugging Face folder and loaded as a stage loads its parent's,
with the embedding rows of one stage kept, on one thread.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.gpu.measure import TRIMMED_ROWS
from bench.gpu.model import build_model, config_of
from bench.growth import shape_of
from bench.measured import measured
from trainers.network.encoder import Vocabulary, export_encoder, load_encoder
from trainers.stage import Execution

TIMES = 5


def main(scale: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    shape = shape_of(scale)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / scale
        whole = build_model(shape, torch.device("cpu"), False).encoder
        config_of(shape, 1).save_pretrained(scratch)
        export_encoder(folder, whole.state_dict(), Path(scratch))
        size = (folder / "model.safetensors").stat().st_size
        rows = [_load(folder, shape.vocabulary) for _ in range(TIMES)]
    print("\n".join(_page(scale, size, rows)))


def _load(folder: Path, vocabulary: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    encoder = load_encoder(folder, Execution())
    Vocabulary(np.arange(min(TRIMMED_ROWS, vocabulary)), vocabulary).trim(encoder)
    return time.perf_counter() - clock, time.process_time() - processor


def _page(scale: str, size: int, rows: list[tuple[float, float]]) -> list[str]:
    return [
        f"# Loading the encoder of {scale}, {size / 1e9:.2f} GB",
        "",
        f"{measured(f'python -m bench.loading {scale}', 'torch', 'transformers')}; one thread; the file is in the "
        "page cache, as a parent's is that was just written.",
        "",
        "| time in this process | seconds | processor-seconds |",
        "|--:|--:|--:|",
        *(f"| {number} | {clock:.2f} | {processor:.2f} |" for number, (clock, processor) in enumerate(rows, 1)),
    ]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "base")
