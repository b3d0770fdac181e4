"""A whole sweep, against one process for each chain of stages, which share nothing.

    python -m bench.chains [SWEEP] [--seeds N …] > docs/benchmarks/chains.md

A chain is what scripts without a plan run for one cell of the grid: import, train the intermediate, train the target or
evaluate retrieval, end.  It runs on the same engine with the same probes and evaluations, in a store of its own, and as
many chains run at once as the sweep has processes.  At the end each stage of the sweep is compared with the same stage
of every chain, measurement for measurement.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import polars as pl
from rich.console import Console

from analysis.records.frame import tidy
from analysis.records.gather import store_records
from bench.measured import measured
from launch.job.bundle import bundle_of
from launch.job.rank import run_bundle
from launch.local import run_local, slots, this_machine
from launch.study.plan import make_plan, mirror_of
from launch.study.sweep import Sweep, load_sweep
from trainers.sandbox import write_mirror
from trainers.store import Store

SWEEP = Path(__file__).parents[1] / "launch" / "sweeps" / "sandbox.yaml"
MEASUREMENT = ("key", "measure", "task", "language", "metric", "at")


@dataclass(frozen=True)
class Took:
    """What one way of running a sweep took."""

    seconds: float
    """From its start to its end, by the clock."""
    trainings: int
    processes: int
    parts: Counter[str]
    """Seconds of all its stages by part (`trainers.store.record`)."""

    def outside(self, at_once: int) -> float:
        """Process-seconds in no stage: starting, importing, ending, and waiting for the last process."""
        return self.seconds * at_once - self.parts.total()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, nargs="?", default=SWEEP)
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the sweep's own")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        sweep = load_sweep(asked.sweep, store=Path(scratch) / "sweep")
        if asked.seeds:
            sweep = sweep.model_copy(update={"seeds": tuple(asked.seeds)})
        if sweep.mirror is None:
            sweep = sweep.model_copy(update={"mirror": Path(scratch) / "mirror"})
            write_mirror(Path(scratch) / "mirror")
        at_once = slots(this_machine(), max(scale.shape.parameters for scale in make_plan(sweep).scales.values()))
        cells = chains_of(sweep, Path(scratch) / "chains")
        with redirect_stdout(sys.stderr):
            ours = shared(sweep, at_once)
            theirs = alone(cells, at_once)
        compared = same_results(sweep.store, [cell.store for cell in cells])
    print("\n".join(_page(sweep, ours, theirs, at_once, compared)))


def chains_of(sweep: Sweep, folder: Path) -> list[Sweep]:
    """One sweep of a single cell for each scale, intermediate, target and seed."""
    grid = itertools.product(sweep.scales, sweep.intermediates, sweep.targets, sweep.seeds)
    names = ("scales", "intermediates", "targets", "seeds")
    return [
        sweep.model_copy(
            update={name: (value,) for name, value in zip(names, cell, strict=True)}
            | {"store": folder / f"{number:04d}"}
        )
        for number, cell in enumerate(grid)
    ]


def shared(sweep: Sweep, at_once: int) -> Took:
    """The sweep as `retain run` runs it."""
    started = time.perf_counter()
    plan = make_plan(sweep)
    run_local(plan, mirror_of(sweep), Console(file=sys.stderr))
    return Took(time.perf_counter() - started, plan.trainings, at_once, parts_of(sweep.store))


def alone(cells: list[Sweep], at_once: int) -> Took:
    """Each chain in a process of its own."""
    started = time.perf_counter()
    with ProcessPoolExecutor(at_once, get_context("spawn"), max_tasks_per_child=1) as processes:
        running = [processes.submit(run_chain, cell) for cell in cells]
        for number, chain in enumerate(as_completed(running), 1):
            outcomes = chain.result()
            print(
                f"[{time.perf_counter() - started:5.0f} s] chain {number} of {len(cells)}: {outcomes}", file=sys.stderr
            )
    seconds = time.perf_counter() - started
    trainings = sum(make_plan(cell).trainings for cell in cells)
    return Took(seconds, trainings, len(cells), parts_of(*(cell.store for cell in cells)))


def run_chain(cell: Sweep) -> list[str]:
    """All stages of one chain; their outcomes."""
    plan = make_plan(cell)
    bundle = bundle_of(plan, mirror_of(cell), plan.stages, cell.execution.model_copy(update={"threads": 1}))
    bundle.save(cell.store / "bundle.json")
    with redirect_stdout(sys.stderr):
        return list(run_bundle(str(cell.store / "bundle.json")).values())


def parts_of(*stores: Path) -> Counter[str]:
    """Seconds of all stages of these stores by part."""
    found: Counter[str] = Counter()
    for entry in (entry for store in stores for entry in Store(store).entries()):
        if entry.result is not None:
            found.update(entry.result["seconds"])
    return found


def same_results(store: Path, others: list[Path]) -> tuple[int, int]:
    """How many measured values the chains hold, and how many of them are not exactly the sweep's."""
    ours, theirs = values_of(store), pl.concat([values_of(other) for other in others])
    met = theirs.join(ours, on=[*MEASUREMENT], how="left", nulls_equal=True, suffix="_ours")
    return met.height, met.filter(pl.col("value").ne_missing(pl.col("value_ours"))).height


def values_of(store: Path) -> pl.DataFrame:
    return tidy(store_records(store)).select(*MEASUREMENT, "value")


def _page(sweep: Sweep, ours: Took, theirs: Took, at_once: int, compared: tuple[int, int]) -> list[str]:
    values, different = compared
    command = " ".join(["python -m bench.chains", *map(shlex.quote, sys.argv[1:])])
    lines = [
        f"# The sweep `{sweep.name}`, and the same cells as chains that share nothing",
        "",
        f"{measured(command, 'torch')}.  ",
        f"{at_once} processes of one thread side by side, both ways; seconds of the clock.  ",
        f"Of {values:,} values that the chains measured {different:,} are not exactly the sweep's.",
        "",
        "| | chains that share nothing | the sweep | times |",
        "|---|--:|--:|--:|",
        f"| wall time | {theirs.seconds:,.0f} | {ours.seconds:,.0f} | **{theirs.seconds / ours.seconds:.2f}** |",
        f"| trainings | {theirs.trainings} | {ours.trainings} | {theirs.trainings / ours.trainings:.2f} |",
        f"| processes started | {theirs.processes} | {ours.processes} | {theirs.processes / ours.processes:.1f} |",
    ]
    spent = [(f"stages: {part}", theirs.parts[part], ours.parts[part]) for part in theirs.parts]
    outside = (
        "outside of stages: starting, importing, waiting at the end",
        theirs.outside(at_once),
        ours.outside(at_once),
    )
    return lines + [
        f"| {name}, process-seconds | {chains:,.0f} | {own:,.0f} | {chains / own if own else float('nan'):.2f} |"
        for name, chains, own in [*spent, outside]
    ]


if __name__ == "__main__":
    main()
