"""How long a report waits for its data: the tidy frame of a store of many runs with many measured values each.

    python -m bench.gather [RUNS] [POINTS] > docs/benchmarks/gather.md

The store is written first, as stages write it (but for what the frame does not read), with five optimizer steps between
two measurements, and read twice: the first reading follows the writing, so that the files are in memory in both.
Beside it the same measured lines, read by `json.loads` alone, one by one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from analysis.records.frame import tidy
from analysis.records.gather import store_records
from bench.measured import measured
from launch.study.plan import make_plan
from launch.study.sweep import Sweep
from trainers.sandbox import write_mirror

STEPS_BETWEEN = 5
T = TypeVar("T")


def main(runs: int, points: int) -> None:
    with tempfile.TemporaryDirectory(prefix="retain-gather-") as folder:
        store = Path(folder) / "store"
        write_store(store, runs, points)
        frame, first = timed(lambda: tidy(store_records(store)))
        again, second = timed(lambda: tidy(store_records(store)))
        assert frame.equals(again)
        assert frame.height == runs * points
        _, plain = timed(lambda: read_plainly(store))
    print(
        f"""# Gathering a store

{measured(f"python -m bench.gather {runs} {points}")} at the end.  
Each of {runs:,} runs has {points} measured values and {points * STEPS_BETWEEN:,} optimizer steps in its events.

| what | seconds, clock | seconds, processor |
|---|--:|--:|
| `store_records`, first time | {first[0]:.1f} | {first[1]:.1f} |
| `store_records`, again | {second[0]:.1f} | {second[1]:.1f} |
| `json.loads` of the measured lines alone | {plain[0]:.1f} | {plain[1]:.1f} |

The frame has {frame.height:,} rows and takes {frame.estimated_size("mb"):.0f} MB.
Processor time, over all threads, is what can be trusted where others compute beside."""
    )


def write_store(root: Path, runs: int, points: int) -> None:
    """A store of runs that measured three curves at each of many steps."""
    mirror = root.parent / "mirror"
    write_mirror(mirror)
    arm = {"scales": ("sandbox-s",), "intermediates": ("mnli",), "targets": ("xnli",)}
    sweep = Sweep(name="bench", store=root, mirror=mirror, seeds=(0,), recipes="sandbox", **arm)
    target = next(stage for stage in make_plan(sweep).stages if stage.kind == "target")
    content = events(points)
    for number in range(runs):
        stage = target.model_copy(update={"seed": number})
        folder = root / "stages" / stage.key
        folder.mkdir(parents=True)
        (folder / "stage.json").write_text(stage.model_dump_json(indent=1))
        (folder / "events.jsonl").write_text(content)
        (folder / "result.json").write_text(json.dumps({"outcome": "completed", "seconds": {"train": 1.0}}))


def events(points: int) -> str:
    """What a run's events.jsonl holds."""
    scale = {"parameters": 196_800, "non_embedding_parameters": 84_912, "layer_norm": "post"}
    lines = [_line("attempt", job="bench", scale=scale)]
    for point in range(points):
        at = point // 3 * STEPS_BETWEEN
        for step in range(STEPS_BETWEEN):
            lines.append(_line("step", step=at + step, loss=1.0986, learning_rate=1e-5, tokens=512, seconds=0.1234))
        curve = {"measure": "stored", "task": "mnli", "language": ("en", "de", "ru")[point % 3], "metric": "accuracy"}
        lines.append(_line("measured", at=at, **curve, value=0.5 + point / 1e4, examples=500, chance=0.354))
    return "".join(lines)


def _line(event: str, **facts: Any) -> str:
    return json.dumps({"event": event, "time": 1.8e9, **facts}) + "\n"


def read_plainly(root: Path) -> int:
    count = 0
    for path in (root / "stages").glob("*/events.jsonl"):
        with path.open("rb") as file:
            count += sum(b'"measured"' in line and bool(json.loads(line)) for line in file)
    return count


def timed(work: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """A result, and its seconds of clock and of processor."""
    clock, processor = time.perf_counter(), time.process_time()
    return work(), (time.perf_counter() - clock, time.process_time() - processor)


if __name__ == "__main__":
    main(*(map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (10_000, 200)))
