"""Which kernels keep a GPU busy in one training step of a scale, and for how much of the step, as a page.

python -m bench.gpu.kernels large --vocabulary 45000 > docs/benchmarks/gpu-h200/kernels.md
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from dataclasses import replace

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from bench.gpu.attempt import synchronize
from bench.gpu.measure import FULL, RECIPE, Workload
from bench.gpu.model import SEED, TASK, build_model, random_examples
from bench.measured import measured
from trainers.network.encoder import Vocabulary
from trainers.stage import Execution
from trainers.stage.recipes import recipe_for
from trainers.stage.scales import KNOWN, Shape
from trainers.training.batches import batch
from trainers.training.engine import make_engine, set_up_torch
from trainers.training.ranks import Ranks, connect

WARM_UPS, TIMED, PROFILED = 8, 20, 5
"""Steps; shapes of micro-batches are recorded in the first ones."""
ROWS = 24
NAMESPACES = re.compile(r"void |at::native::|\(anonymous namespace\)::|pytorch_flash::|PyTorchMemEffAttention::|c10::")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.kernels", description=__doc__.splitlines()[0])
    parser.add_argument("scale", choices=KNOWN)
    parser.add_argument("--vocabulary", type=int, help="embedding rows kept; all by default")
    chosen = parser.parse_args()
    shape = KNOWN[chosen.scale].shape
    shape = replace(shape, vocabulary=chosen.vocabulary or shape.vocabulary)
    asked = f"{chosen.scale}{f' --vocabulary {chosen.vocabulary}' if chosen.vocabulary else ''}"
    print(
        f"# Kernels of a training step\n\n{measured(f'python -m bench.gpu.kernels {asked}', 'torch')}:"
        f" bf16, by torch's profiler, {PROFILED} steps."
    )
    for workload, graphs in ((RECIPE, True), (RECIPE, False), (FULL, True)):
        print(kernels(shape, workload, graphs))


def kernels(shape: Shape, workload: Workload, graphs: bool) -> str:
    """A table of what torch's profiler sees, below the time of a step and for how long of it the device works."""
    set_up_torch(Execution())
    ranks = Ranks()
    connect(ranks)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = recipe_for("xtreme", "target", TASK).model_copy(update={"batch_size": workload.batch_size})
    execution = Execution(precision="bf16", graphs=graphs, micro_batch_tokens=workload.micro_batch_tokens)
    engine = make_engine(build_model(shape, device, False), recipe, execution, ranks)
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
        for number in range(WARM_UPS, WARM_UPS + PROFILED):  # of shapes that are recorded
            step(number)
    engine.close()
    on = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    busy = [
        (one.self_device_time_total if on == DeviceType.CUDA else one.self_cpu_time_total, one.count, one.key)
        for one in profiler.key_averages()
        if one.device_type == on and not one.is_user_annotation
    ]
    rows = [
        f"| `{NAMESPACES.sub('', name)[:90]}` | {microseconds / PROFILED / 1000:.2f} | {count / PROFILED:.0f} |"
        for microseconds, count, name in sorted(busy, reverse=True)[:ROWS]
    ]
    return "\n".join(
        [
            f"\n## {workload.name.capitalize()}, {'with' if graphs else 'without'} CUDA graphs\n",
            f"{workload.batch_size} examples: {1e3 * statistics.median(timed):.1f} ms a step (median of {TIMED};"
            f" fastest {1e3 * min(timed):.1f}). Kernels: {sum(one[0] for one in busy) / PROFILED / 1000:.1f} ms.\n",
            "| kernel | ms a step | calls a step |",
            "|---|--:|--:|",
            *rows,
        ]
    )


if __name__ == "__main__":
    main()
