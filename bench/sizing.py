"""What fits where, and how far the memory model is to be trusted, as a Markdown page.

python -m bench.sizing > docs/benchmarks/sizing.md          # about two minutes: it trains the sandbox's scales
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.gpu.page import EAGER
from bench.held import CHECKOUT, Held, measure
from bench.measured import measured
from launch.estimate.costs import model_size
from slurm.sizing.fitting import Fit, least_sharding, world_sizes
from slurm.sizing.gpus import GPUS, Gpu
from slurm.sizing.memory import ModelSize, Placement, peak
from trainers.stage.scales import KNOWN, Shape

GPU_RESULTS = CHECKOUT / "docs" / "benchmarks"
GPUS_PER_NODE, MOST_GPUS = 8, 16
HOST_BYTES = 250e9
"""Of each rank; nodes of eight GPUs have 2 TB."""
STEP_TOKENS, LONGEST, MICRO_BATCH_TOKENS = 32 * 128, 512, 1_024
TRIMMED = 50_000
"""Rows that a stage in fifteen languages keeps of the vocabulary, about."""
GB = 1e9


@dataclass(frozen=True)
class Published:
    """Model states per GPU in GB, as the project's reference notes computed them from ZeRO's paper."""

    adam: float
    zero1_of_8: float
    zero2_of_8: float
    zero3_of_8: float


PUBLISHED = {
    "base": Published(4.4, 1.5, 1.0, 0.6),
    "large": Published(8.9, 3.1, 2.1, 1.1),
    "xl": Published(55.6, 19.1, 13.0, 6.9),
    "xxl": Published(171, 58.8, 40.1, 21.4),
}


def paper_bytes(zero_stage: int, ranks: int) -> float:
    """Bytes a parameter, section 5 of Rajbhandari et al. 2020: bf16 weights and gradients, 12 for fp32 states."""
    return (16.0, 4 + 12 / ranks, 2 + 14 / ranks, 16 / ranks)[zero_stage]


def peers(parameters: int, largest_layer: int, ranks: int) -> dict[str, float]:
    """What others' estimators say of the states, in bytes per GPU."""
    with contextlib.redirect_stdout(io.StringIO()):
        from accelerate.commands.estimate import estimate_training_usage
        from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
        from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs
    plain = estimate_training_usage(4 * parameters, "bfloat16")
    return {
        "accelerate, one GPU": plain["model"] + plain["optimizer"] + plain["gradients"],
        "Megatron, ZeRO-1": (6 + 12 / ranks) * parameters,
        "DeepSpeed, ZeRO-2": estimate_zero2_model_states_mem_needs(parameters, ranks, cpu_offload=False)[1],
        "DeepSpeed, ZeRO-3": estimate_zero3_model_states_mem_needs(
            parameters, largest_layer, ranks, cpu_offload=False, cpu_offload_params=False
        )[1],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        held = measure(Path(scratch))
    sections = [_heading(), _fits(), _by_count(), _published(), _held(held), gpu_check(GPU_RESULTS)]
    print("\n\n".join("\n".join(lines) for lines in sections))


def _heading() -> list[str]:
    return [
        "# What fits where",
        "",
        f"{measured('python -m bench.sizing')}. The tables of GPUs are computed (`slurm/sizing/memory.py`, "
        "`slurm/sizing/fitting.py`), not measured; the last two sections say how far that is to be trusted. "
        "GB are 10⁹ bytes; a card's memory is what CUDA offers of it.",
    ]


def _fits() -> list[str]:
    rows = []
    for name, known in KNOWN.items():
        for gpu in GPUS.values():
            cells = [name, gpu.name]
            for rows_kept in (None, TRIMMED):
                found = _least(model_size(known.shape, rows_kept), gpu)
                cells.append(str(found) if isinstance(found, Fit) else f"– {found}")
            rows.append(cells)
    lines = [
        "## The least sharding",
        "",
        f"A step of {STEP_TOKENS:,} tokens, sequences of up to {LONGEST}, up to {MOST_GPUS} GPUs, {GPUS_PER_NODE} a "
        "node. Fewest GPUs first, then the lowest ZeRO stage, then the largest micro-batch.",
        "",
        *_table(["scale", "GPU", "whole vocabulary", f"{TRIMMED:,} rows kept"], rows),
        "",
        "Why XL is not trained on fewer A100-40:",
        "",
    ]
    return lines + [f"- {why}" for why in _least(model_size(KNOWN["xl"].shape), GPUS["A100-40"]).why]


def _least(model: ModelSize, gpu: Gpu) -> Any:
    return least_sharding(model, gpu, GPUS_PER_NODE, MOST_GPUS, STEP_TOKENS, LONGEST, HOST_BYTES)


def _by_count() -> list[str]:
    counts = world_sizes(GPUS_PER_NODE, MOST_GPUS)
    rows = []
    for name, known in KNOWN.items():
        for gpu in GPUS.values():
            cells = [_lowest_stage(model_size(known.shape), gpu, count) for count in counts]
            rows.append([name, gpu.name, *cells])
    return [
        "## By number of GPUs",
        "",
        f"The lowest ZeRO stage that fits, and the GB of each GPU that it needs: whole vocabulary, micro-batches of "
        f"{MICRO_BATCH_TOKENS:,} tokens, nothing recomputed, nothing offloaded. A dash: not even ZeRO-3 fits.",
        "",
        *_table(["scale", "GPU", *map(str, counts)], rows),
    ]


def _lowest_stage(model: ModelSize, gpu: Gpu, count: int) -> str:
    need = 0.0
    for stage in (0,) if count == 1 else (1, 2, 3):
        precision = "bf16" if gpu.bf16 else "fp32"
        placement = Placement(
            ranks_per_node=count, zero_stage=stage, graphs=False, micro_batch_tokens=MICRO_BATCH_TOKENS
        )
        need = peak(model, placement, precision).total
        if need <= gpu.memory_bytes:
            return f"ZeRO-{stage} {need / GB:.1f}"
    return f"– {need / GB:.1f}"


def _published() -> list[str]:
    rows = []
    for name, known in KNOWN.items():
        size, told = model_size(known.shape), PUBLISHED[name]
        for stage, ranks, published in zip(
            range(4), (1, 8, 8, 8), (getattr(told, field.name) for field in fields(told)), strict=True
        ):
            paper = paper_bytes(stage, ranks) * known.shape.parameters / GB
            ours = peak(size, Placement(ranks_per_node=ranks, zero_stage=stage)).states / GB
            other = {
                who: value / GB
                for who, value in peers(size.parameters, size.embedding_parameters, ranks).items()
                if who.endswith(f"ZeRO-{stage}" if stage else "one GPU")
            }
            said = ", ".join(f"{value:.1f} ({who.split(',')[0]})" for who, value in other.items())
            rows.append([name, f"ZeRO-{stage} × {ranks}", f"{published:g}", f"{paper:.1f}", said, f"{ours:.1f}"])
    return [
        "## Against published numbers: weights, gradients and Adam, GB a GPU",
        "",
        "The paper's 16 bytes a parameter count bf16 gradients. This engine accumulates them in fp32, so that a step "
        "of many micro-batches loses nothing: 18 on one GPU; under ZeRO-1 DeepSpeed's bf16 optimizer keeps the bf16 "
        "ones beside them, 8 + 12 / ranks; under ZeRO-2 it is 2 + 16 / ranks, under ZeRO-3 18 / ranks. DeepSpeed's own "
        "estimators count 2 + 18 / ranks and 18 / ranks with the largest layer twice, which here is among the buffers.",
        "",
        *_table(["scale", "", "published", "the paper's formula", "peers' estimators", "this model"], rows),
    ]


def _held(found: list[Held]) -> list[str]:
    rows = []
    for one in found:
        sizes = (f"{value / one.parameters:.2f}" for value in (one.predicted, one.measured))
        zero = f"{one.execution.zero_stage}{', offload' * one.execution.offload}"
        rows.append(
            [one.scale, one.execution.precision, zero, f"{one.world_size}", *sizes, f"{100 * one.error:+.1f} %"]
        )
    worst = max(abs(one.error) for one in found)
    return [
        "## Checked on a CPU: what the real engine holds",
        "",
        "Weights, gradients and Adam states that DeepSpeed holds on each rank after the second backward pass, in bytes "
        f"a parameter (`bench/held.py`). Largest error: {worst:.1%}.",
        "",
        *_table(["scale", "precision", "ZeRO", "ranks", "predicted", "measured", "error"], rows),
    ]


def gpu_check(folder: Path) -> list[str]:
    """Peaks in the committed results of bench/gpu against the model; says so where there are none."""
    lines = ["## Checked on a GPU: whole peaks", ""]
    rows = []
    for path in sorted(folder.rglob("results.json")):
        for scale, workload, predicted, seen in gpu_peaks(json.loads(path.read_text(encoding="utf-8"))):
            numbers = (f"{value / GB:.2f}" for value in (predicted, seen))
            rows.append([scale, workload, *numbers, f"{100 * (predicted / seen - 1):+.1f} %"])
    if not rows:
        return [*lines, "No result of `bench/gpu/run.sh` is committed yet; this page reads it from docs/benchmarks/."]
    return [*lines, *_table(["scale", "step", "predicted, GB", "measured, GB", "error"], rows)]


def gpu_peaks(results: dict[str, Any]) -> Iterable[tuple[str, str, float, float]]:
    """Scale, workload, predicted and measured bytes of every peak that bench/gpu measured on a GPU."""
    names = {field.name for field in fields(Shape)}
    for scale, found in results["scales"].items():
        models = [attempt["model"] for attempt in found["attempts"] if attempt["model"]]
        eager = found.get("beside", {}).get(EAGER, {}).get("workloads", {})
        measured_ones = [(name, one, True) for name, one in found["workloads"].items()]
        measured_ones += [(f"{name}, no CUDA graphs", one, False) for name, one in eager.items()]
        for workload, one, graphs in measured_ones:
            if one["memory"]["peak_bytes"]:
                shape = Shape(**{name: value for name, value in models[0].items() if name in names})
                placement = Placement(
                    zero_stage=one["zero_stage"],
                    activation_checkpointing=one["activation_checkpointing"],
                    micro_batch_tokens=one["memory"]["largest_micro_batch_tokens"],
                    graphs=graphs,
                )
                yield scale, workload, peak(model_size(shape), placement).allocated, one["memory"]["peak_bytes"]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    line: Callable[[list[str]], str] = lambda cells: f"| {' | '.join(cells)} |"
    return [line(head), line(["---"] * len(head)), *map(line, rows)]


if __name__ == "__main__":
    main()
