"""What is measured within one scale: one after another, or, of a large study, several at once in processes.

Draws of the bootstrap are a function of its root and of counts, so that pieces drawn apart are paired all the same.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from analysis.inference.statistics import Bootstrap
from analysis.measures.curves import Curve, retention_curves
from analysis.measures.multilinguality import NORMED, PLAIN, LayerCurve, layer_curves
from analysis.measures.transfer import Cell, cells
from analysis.records.examples import ExampleSource
from analysis.records.measurements import Arm, Measurements
from trainers.collector import uncollected

MANY_ARMS = 200
"""From so many on, processes are worth their start."""
MOST_PROCESSES = 4
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS")
"""What numpy and polars read when they are imported."""


@dataclass(frozen=True)
class Pieces:
    """Of one scale, or of all."""

    curves: list[Curve]
    cells: list[Cell]
    layers: list[LayerCurve]
    normed_layers: list[LayerCurve]
    has_examples: bool


@dataclass(frozen=True)
class Task:
    """One scale's rows, and the arms that are asked for."""

    frame: pl.DataFrame
    probed: Sequence[Arm]
    scored: Sequence[Arm]
    retrieved: Sequence[Arm]
    examples: ExampleSource
    bootstrap: Bootstrap
    retrieval_depth: float

    @uncollected()
    def measure(self) -> Pieces:
        measurements, bootstrap = Measurements(self.frame, self.examples), self.bootstrap
        return Pieces(
            retention_curves(self.probed, measurements, bootstrap),
            cells(self.scored, measurements, bootstrap),
            layer_curves(self.retrieved, PLAIN, measurements, bootstrap, self.retrieval_depth),
            layer_curves(self.retrieved, NORMED, measurements, bootstrap, self.retrieval_depth),
            measurements.has_examples,
        )


def measure_all(
    frame: pl.DataFrame,
    probed: Sequence[Arm],
    scored: Sequence[Arm],
    retrieved: Sequence[Arm],
    examples: ExampleSource,
    bootstrap: Bootstrap,
    retrieval_depth: float,
) -> Pieces:
    """Every scale's pieces, in the order of the arms: those whose retention, zero-shot scores and retrieval are asked.

    Args:
        examples: picklable, where there are MANY_ARMS.
    """

    def of(scale: str) -> Task:
        own_probed, own_scored, own_retrieved = (
            [arm for arm in arms if arm.scale == scale] for arms in (probed, scored, retrieved)
        )
        return Task(
            frame.filter(scale=scale), own_probed, own_scored, own_retrieved, examples, bootstrap, retrieval_depth
        )

    tasks = [of(scale) for scale in dict.fromkeys(arm.scale for arm in (*probed, *scored, *retrieved))]
    processes = min(len(tasks), len(os.sched_getaffinity(0)), MOST_PROCESSES)
    if len(probed) < MANY_ARMS or processes < 2:
        found = [task.measure() for task in tasks]
    else:
        fresh = multiprocessing.get_context("spawn")  # polars' threads do not survive a fork
        with _one_thread_each(), ProcessPoolExecutor(processes, mp_context=fresh) as pool:
            found = list(pool.map(Task.measure, tasks))
    return Pieces(
        [curve for one in found for curve in one.curves],
        [cell for one in found for cell in one.cells],
        [curve for one in found for curve in one.layers],
        [curve for one in found for curve in one.normed_layers],
        any(one.has_examples for one in found),
    )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes begun inside share the processors by being several: threads of theirs would wait for each other."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name in THREADS:
            os.environ.pop(name)
        os.environ.update(before)
