"""Which kernels keep a GPU busy in one training step of a scale, and for how much of the step.

python -m bench.gpu.kernels large --vocabulary 45000
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile

from bench.gpu.attempt import synchronize
from bench.gpu.model import SEED, TASK, build_model, random_examples
from trainers.batches import batch
from trainers.encoder import Vocabulary
from trainers.engine import Engine, set_up_torch
from trainers.ranks import Ranks, connect
from trainers.recipes import recipe_for
from trainers.scales import KNOWN, Shape
from trainers.stage import Execution

WARM_UPS, TIMED, PROFILED = 20, 20, 5
"""Steps; shapes of micro-batches are recorded in the first ones."""
ROWS = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.kernels", description=__doc__.splitlines()[0])
    parser.add_argument("scale", choices=KNOWN)
    parser.add_argument("--vocabulary", type=int, help="embedding rows kept; all by default")
    chosen = parser.parse_args()
    shape = KNOWN[chosen.scale].shape
    shape = replace(shape, vocabulary=chosen.vocabulary or shape.vocabulary)
    for graphs in (True, False):
        print(kernels(shape, graphs))


def kernels(shape: Shape, graphs: bool) -> str:
    """A table of torch's profiler, below the time of a step and for how long of it the device works."""
    set_up_torch(Execution())
    ranks = Ranks()
    connect(ranks)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = recipe_for("xtreme", "target", TASK)
    engine = Engine(build_model(shape, device, False), recipe, Execution(precision="bf16", graphs=graphs), ranks)
    examples, vocabulary = random_examples(shape.vocabulary), Vocabulary(None, shape.vocabulary)

    def step(number: int) -> float:
        drawn = examples.take(batch(SEED, number, len(examples), recipe.batch_size))
        synchronize()
        started = time.perf_counter()
        engine.step(drawn, TASK, (SEED, number), vocabulary, recipe.learning_rate)
        synchronize()
        return time.perf_counter() - started

    timed = [step(number) for number in range(WARM_UPS + TIMED)][WARM_UPS:]
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for number in range(PROFILED):
            step(WARM_UPS + TIMED + number)
    engine.close()
    averages = profiler.key_averages()
    busy = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return (
        f"{'with' if graphs else 'without'} CUDA graphs: {1e3 * statistics.median(timed):.1f} ms a step; "
        f"the profiler's totals below are of {PROFILED} steps\n"
        + averages.table(sort_by=busy, row_limit=ROWS, max_name_column_width=70)
    )


if __name__ == "__main__":
    main()
