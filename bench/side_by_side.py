"""Two stages side by side, a thread each, against one after the other on both cores.

    python -m bench.side_by_side [SCALE] > docs/benchmarks/side-by-side.md

Two trainings for XNLI of the embedded sandbox, seeds 1 and 2, in processes that have imported everything before.  This
is what `launch.local.slots` decides by on machines without GPUs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from multiprocessing import get_context
from pathlib import Path

from bench.measured import measured
from launch.job.bundle import bundle_of
from launch.job.rank import run_bundle
from launch.study.plan import Plan, make_plan, mirror_of
from launch.study.sweep import Sweep
from trainers.sandbox import write_mirror

CORES = 2


def main(scale: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        write_mirror(Path(scratch) / "mirror")
        beside = run(scale, Path(scratch), threads=1)
        after = run(scale, Path(scratch), threads=CORES)
    print("\n".join(_page(scale, beside, after)))


def run(scale: str, folder: Path, threads: int) -> float:
    """Seconds of both stages, with as many processes as there are cores for."""
    plan = make_plan(
        Sweep(
            name="bench",
            store=folder / f"threads-{threads}",
            mirror=folder / "mirror",
            scales=(scale,),
            intermediates=("none",),
            targets=("xnli",),
            seeds=tuple(range(1, CORES + 1)),
            languages=("en", "de", "ru", "sw", "zh"),
            recipes="sandbox",
        )
    )
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the processes below import torch
    with ProcessPoolExecutor(CORES // threads, get_context("spawn")) as processes:
        list(processes.map(warm_up, range(CORES // threads)))
        started = time.perf_counter()
        list(processes.map(run_stage, *zip(*((plan, number, threads) for number in range(CORES)), strict=True)))
        return time.perf_counter() - started


def warm_up(_number: int) -> None:
    """Import what a stage imports, and let the other processes come up meanwhile."""
    import trainers.run  # noqa: F401

    time.sleep(2)


def run_stage(plan: Plan, number: int, threads: int) -> None:
    """One stage of the plan, as a bundle of its own."""
    stage = plan.stages[number]
    path = plan.sweep.store / f"{stage.key}.json"
    execution = plan.sweep.execution.model_copy(update={"threads": threads})
    bundle_of(plan, mirror_of(plan.sweep), (stage,), execution).save(path)
    with redirect_stdout(sys.stderr):
        if set(run_bundle(str(path)).values()) - {"completed", "diverged"}:
            raise RuntimeError(f"{stage.label} did not end well")


def _page(scale: str, beside: float, after: float) -> list[str]:
    return [
        f"# {CORES} stages of {scale} on {CORES} cores",
        "",
        f"{measured(f'python -m bench.side_by_side {scale}', 'torch')}; seconds of the clock.",
        "",
        "| way | seconds |",
        "|---|--:|",
        f"| side by side, a thread each | {beside:.1f} |",
        f"| one after the other, {CORES} threads each | {after:.1f} |",
        "",
        f"Side by side is {after / beside:.2f} times as fast.",
    ]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sandbox-m")
