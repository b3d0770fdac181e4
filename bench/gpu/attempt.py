"""One attempt of the GPU benchmark, in its own process: build one scale, train, time, and write what was found.

python -m bench.gpu.attempt JOB.json REPORT.json        # measure.py does this
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.gpu.checks import check
from bench.gpu.measure import CHECKS, EAGER, NO_GPU, STEPS, Job, Workload
from bench.gpu.model import SEED, TASK, build_model, config_of, random_examples
from bench.peers import PEERS, SHARDED, train
from launch.estimate.costs import model_size
from slurm.sizing.memory import Placement, peak
from trainers.network.encoder import Vocabulary
from trainers.stage import Execution
from trainers.stage.recipes import recipe_for
from trainers.stage.scales import Shape
from trainers.store.record import provenance
from trainers.tasks import TASKS
from trainers.tokens.sets import TokenisedSet
from trainers.training.batches import batch, cut
from trainers.training.engine import make_engine, set_up_torch
from trainers.training.ranks import Ranks, connect
from trainers.training.step import Engine

MIN_STEPS = 3


def main(asked: Path, answered: Path) -> None:
    fields = json.loads(asked.read_text())
    fields["workloads"] = tuple(Workload(**workload) for workload in fields["workloads"])
    job = Job(**fields)
    report: dict[str, Any] = {"workloads": {}, "error": None}

    def write() -> None:
        building = answered.with_suffix(".building")
        building.write_text(json.dumps(report))
        os.replace(building, answered)

    try:
        attempt(job, report, write)
    except RuntimeError as error:  # torch.OutOfMemoryError is one; cuBLAS has another way to say it
        text = str(error)
        if not isinstance(error, torch.OutOfMemoryError) and "ALLOC_FAILED" not in text:
            raise
        report["error"] = {"kind": "out_of_memory", "message": text.splitlines()[0]}
    write()


def attempt(job: Job, report: dict[str, Any], write: Callable[[], None]) -> None:
    """Fill `report`, writing it after every workload.

    Raises:
        RuntimeError: out of memory; what was measured before is in the report.
    """
    gpu = torch.cuda.is_available()
    report["about"] = _about(gpu)
    if job.needs_gpu and not gpu:
        report["error"] = {"kind": "no_gpu", "message": NO_GPU}
        return
    set_up_torch(Execution())  # as every stage does: what is timed is what users run
    ranks = Ranks()
    if job.part not in {peer.name for peer in PEERS}:  # a plain Trainer has no process group
        connect(ranks)
    device = torch.device("cuda", 0) if gpu else torch.device("cpu")
    if job.part == CHECKS:
        report["checks"] = check(job, device)
    elif job.part in (STEPS, EAGER):
        report["matmul"] = matmul_rate(device, job.matmul_size)
        write()
        measure_steps(job, device, ranks, report, write)
    else:
        report["peer"] = measure_peer(job)


def measure_steps(
    job: Job, device: torch.device, ranks: Ranks, report: dict[str, Any], write: Callable[[], None]
) -> None:
    """Whole training steps of every workload by the engine."""
    gpu = device.type == "cuda"
    shape, recipe = Shape(**job.shape), recipe_for("xtreme", "target", TASK)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    model = build_model(shape, device, job.activation_checkpointing)
    # bf16 on a CPU too, so that there the GPU's path through DeepSpeed runs.
    executions = [
        Execution(
            micro_batch_tokens=workload.micro_batch_tokens,
            precision="bf16",
            activation_checkpointing=job.activation_checkpointing,
            graphs=job.part == STEPS,
        )
        for workload in job.workloads
    ]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    engine = make_engine(model, recipe, executions[0], ranks)
    report["model"] = {
        **asdict(shape),
        "parameters": parameters,
        "non_embedding_parameters": shape.non_embedding_parameters,
        "build_seconds": time.perf_counter() - started,
        "build_peak_bytes": torch.cuda.max_memory_allocated() if gpu else None,
    }
    examples = random_examples(shape.vocabulary)
    for workload, execution in zip(job.workloads, executions, strict=True):
        # The engine reads both at every step, so one engine serves all batches.
        engine.recipe, engine.execution = recipe.model_copy(update={"batch_size": workload.batch_size}), execution
        timed = _time_steps(engine, examples, job)
        report["workloads"][workload.name] = {
            **asdict(workload),
            **timed,
            **_rates(timed["steps"], shape, report["matmul"]["flops_per_s"]["median"]),
            "parameters": parameters,
            "activation_checkpointing": job.activation_checkpointing,
            "precision": execution.precision,
            "zero_stage": engine.zero_stage,
            "optimizer": type(engine.optimizer).__name__,
        }
        write()


def measure_peer(job: Job) -> dict[str, Any]:
    """The same steps by Hugging Face's Trainer, on the recipe's batch."""
    (peer,) = (peer for peer in (*PEERS, SHARDED) if peer.name == job.part)
    shape, recipe = Shape(**job.shape), recipe_for("xtreme", "target", TASK)
    config = config_of(shape, len(TASKS[TASK].labels))
    examples = random_examples(shape.vocabulary)
    spent = train(peer, config, examples, recipe, SEED, job.steps, job.warmup_steps)
    return {
        "steps": [asdict(step) for step in spent],
        "tokens_per_s": _summary([step.tokens / step.clock_s for step in spent]),
        "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


def _about(gpu: bool) -> dict[str, Any]:
    """Code, packages and hardware, without the machine's name."""
    facts = provenance()
    hardware: dict[str, Any] = {"gpu": None, "cpu": _cpu(), "cores": os.cpu_count(), "threads": facts["threads"]}
    if gpu:
        properties = torch.cuda.get_device_properties(0)
        hardware.update(gpu=properties.name, gpu_memory_bytes=properties.total_memory, cuda=torch.version.cuda)
    return {"code": facts["code"], "python": facts["python"], "packages": facts["packages"], "hardware": hardware}


def _cpu() -> str | None:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return None


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_rate(device: torch.device, size: int) -> dict[str, Any]:
    """FLOP/s of square bf16 products of random matrices: 5 timings of 10 products."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = left @ right
    rates = []
    for timing in range(6):
        synchronize()
        started = time.perf_counter()
        for _ in range(10):
            torch.matmul(left, right, out=product)
        synchronize()
        if timing:  # the first one warms up
            rates.append(10 * 2 * size**3 / (time.perf_counter() - started))
    return {"size": size, "flops_per_s": _summary(rates)}


def _time_steps(engine: Engine, examples: TokenisedSet, job: Job) -> dict[str, Any]:
    """Warm-up steps, then timed ones, each from one idle device to the next."""
    assert engine.recipe is not None
    vocabulary = Vocabulary(None, job.shape["vocabulary"])
    gpu = engine.device.type == "cuda"
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    steps: list[dict[str, Any]] = []
    largest = 0
    timed_from = time.perf_counter()
    for step in range(job.warmup_steps + job.steps):
        if step == job.warmup_steps:
            timed_from = time.perf_counter()
        if len(steps) >= MIN_STEPS and time.perf_counter() - timed_from > job.seconds:
            break
        drawn = examples.take(batch(SEED, step, len(examples), engine.recipe.batch_size))
        synchronize()
        started = time.perf_counter()
        done = engine.step(drawn, TASK, (SEED, step), vocabulary, engine.recipe.learning_rate)
        synchronize()
        seconds = time.perf_counter() - started
        if not math.isfinite(done.loss):
            raise ValueError(f"the loss of step {step} is {done.loss}")
        lengths = drawn.lengths
        pieces = cut(lengths, 1, engine.execution.micro_batch_tokens)[0]
        largest = max(largest, *(int(lengths[places].sum()) for places in pieces))
        if step >= job.warmup_steps:
            steps.append(
                {
                    "seconds": seconds,
                    "loss": done.loss,
                    "tokens": done.tokens,
                    "squared_lengths": int((lengths**2).sum()),
                    "micro_batches": len(pieces),
                }
            )
    placement = Placement(
        micro_batch_tokens=largest,
        activation_checkpointing=job.activation_checkpointing,
        graphs=engine.model.graphs is not None,
    )
    predicted = peak(model_size(Shape(**job.shape)), placement).allocated
    measured = torch.cuda.max_memory_allocated() if gpu else None
    memory = {
        "peak_bytes": measured,
        "peak_reserved_bytes": torch.cuda.max_memory_reserved() if gpu else None,
        "between_steps_bytes": torch.cuda.memory_allocated() if gpu else None,
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "largest_micro_batch_tokens": largest,
        "predicted_bytes": predicted,
        "measured_over_predicted": measured / predicted if measured else None,
    }
    return {"warmup_steps": job.warmup_steps, "steps": steps, "memory": memory}


def _rates(steps: list[dict[str, Any]], shape: Shape, matmul_flops_per_s: float) -> dict[str, Any]:
    body = [step_flops(shape, step["tokens"], step["squared_lengths"]) for step in steps]
    return {
        "step_seconds": _summary([step["seconds"] for step in steps]),
        "tokens_per_s": _summary([step["tokens"] / step["seconds"] for step in steps]),
        "mfu": _summary(
            [flops / step["seconds"] / matmul_flops_per_s for flops, step in zip(body, steps, strict=True)]
        ),
        "micro_batches_per_step": statistics.mean(step["micro_batches"] for step in steps),
    }


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def step_flops(shape: Shape, tokens: int, squared_lengths: int) -> float:
    """Body FLOPs, forward and backward, of sequences of lengths T: sum of T · (6·N + 12·L·d·T)."""
    attention = 12 * shape.layers * shape.hidden * squared_lengths
    return float(6 * shape.non_embedding_parameters * tokens + attention)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
