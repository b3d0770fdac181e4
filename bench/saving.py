"""How long a checkpoint holds training up: copying the states, where it used to be writing them as well.

    python -m bench.saving [SCALE] > docs/benchmarks/saving.md

The scale's own shape with random weights and the vocabulary of one stage, on one thread of a CPU; the disk is the one
of temporary files.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.gpu.measure import TRIMMED_ROWS
from bench.gpu.model import SEED, TASK, build_model, random_examples
from bench.growth import shape_of
from bench.measured import measured
from trainers.network.encoder import Vocabulary
from trainers.stage import Execution
from trainers.stage.recipes import recipe_for
from trainers.training import checkpoint
from trainers.training.checkpoint import Saver
from trainers.training.engine import make_engine, set_up_torch
from trainers.training.ranks import Ranks, connect

ROUNDS = 3
SEQUENCES = 4


def main(scale: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    ranks, execution = Ranks(), Execution(threads=1)
    connect(ranks)
    set_up_torch(execution)
    whole = shape_of(scale)
    shape = replace(whole, vocabulary=min(whole.vocabulary, TRIMMED_ROWS))
    recipe, vocabulary = recipe_for("xtreme", "target", TASK), Vocabulary(None, shape.vocabulary)
    engine = make_engine(build_model(shape, torch.device("cpu"), False), recipe, execution, ranks)
    examples = random_examples(shape.vocabulary).take(np.arange(SEQUENCES))

    def step() -> float:
        begun = time.perf_counter()
        engine.step(examples, TASK, (SEED, 0), vocabulary, recipe.learning_rate)
        return time.perf_counter() - begun

    step()
    alone = [step() for _ in range(ROUNDS)]
    rows, beside = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        saver = Saver(engine, folder, lambda: None, lambda _path: None)
        for number in range(1, ROUNDS + 1):
            begun = time.perf_counter()
            saver.begin(number)
            held_up = time.perf_counter() - begun
            while checkpoint.complete(folder)[-1:] != [folder / checkpoint.name_of(number)]:
                beside.append(step())
            rows.append((held_up, time.perf_counter() - begun))
            saver.wait()
        size = sum(path.stat().st_size for path in checkpoint.complete(folder)[-1].iterdir())
        saver.close()
    engine.close()
    print("\n".join(_page(scale, size, rows, alone, beside)))


def _page(scale: str, size: int, rows: list[tuple[float, float]], alone: list[float], beside: list[float]) -> list[str]:
    lines = [
        f"# A checkpoint of {scale} with the vocabulary of one stage, {size / 1e9:.2f} GB",
        "",
        f"{measured(f'python -m bench.saving {scale}', 'torch')}; one thread, seconds of the clock.",
        "",
        "| held up training for | until it was whole on the disk |",
        "|--:|--:|",
        *(f"| {held_up:.2f} | {whole:.2f} |" for held_up, whole in rows),
        "",
        f"A step alone took {np.mean(alone):.2f} s, beside writing {np.mean(beside):.2f} s ({len(beside)} of them). "
        "The second column is told in steps: it ends with the one in which the checkpoint was whole.",
    ]
    return lines


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "base")
