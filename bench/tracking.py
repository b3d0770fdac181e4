"""What W&B beside the store costs: processor time of a logged step, and seconds of a stage's wall time.

    python -m bench.tracking [ROUNDS] > docs/benchmarks/tracking.md

The same short stage of the sandbox is run untracked and with W&B offline in turn, its first round left out; the best of
each counts, as other work on the machine only ever slows them.  A step's cost is that of one row on its way from
`Recorder.step` to W&B's own process: in the thread that trains, and in the client's thread beside it.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path

from bench.measured import measured
from launch.study.plan import make_plan, mirror_of
from launch.study.sweep import Sweep
from trainers.run import Context, run
from trainers.sandbox import write_mirror
from trainers.stage import Stage
from trainers.store import Store
from trainers.store.record import Recorder
from trainers.store.tracking import Patience, Tracker, Tracking

ROWS = 5_000
OFFLINE, UNTRACKED = Tracking(mode="offline"), Tracking(mode="disabled")


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="retain-tracking-") as name:
        folder = Path(name)
        write_mirror(folder / "mirror")
        sweep = Sweep(
            name="bench",
            store=folder / "unused",
            mirror=folder / "mirror",
            scales=("sandbox-s",),
            intermediates=("none",),
            targets=("xnli",),
            languages=("en", "de"),
            seeds=(1,),
            recipes="sandbox",
        )
        (stage,) = make_plan(sweep).stages
        walls: dict[str, list[float]] = {OFFLINE.mode: [], UNTRACKED.mode: []}
        for number in range(rounds + 1):
            for tracking in (UNTRACKED, OFFLINE):
                store = Store(folder / f"{tracking.mode}-{number}")
                began = time.perf_counter()
                with contextlib.redirect_stdout(sys.stderr):
                    run(stage, Context(store, mirror_of(sweep), tracking=tracking))
                if number:
                    walls[tracking.mode].append(time.perf_counter() - began)
        training_s, beside_s = row_costs(stage, folder)
    best = {mode: min(times) for mode, times in walls.items()}
    print(
        f"""# What tracking costs

{measured(f"python -m bench.tracking {rounds}", "wandb")}.

| a stage of {stage.train[0].recipe.max_steps} steps | best of {rounds}, seconds |
|---|--:|
| untracked | {best["disabled"]:.2f} |
| W&B offline | {best["offline"]:.2f} |
| difference | {best["offline"] - best["disabled"]:+.2f} |

| a step's row | processor time |
|---|--:|
| in the thread that trains | {training_s * 1e6:.0f} µs |
| in the client's thread | {beside_s * 1e6:.0f} µs |

Both together are at most 1 % of every step of {(training_s + beside_s) * 1e5:.0f} ms or more;
the client's thread works while the device computes."""
    )


def row_costs(stage: Stage, folder: Path) -> tuple[float, float]:
    """Processor seconds of one row, in the thread that trains and in the client's."""
    tracker = Tracker(stage, {}, OFFLINE, folder, Patience())
    recorder = Recorder(stage, None, tracker)
    thread, process = time.thread_time(), time.process_time()
    for step in range(ROWS):
        recorder.step(step, loss=1.0, learning_rate=1e-5, tokens=512, seconds=0.1)
    training = time.thread_time() - thread
    tracker.finish({"outcome": "completed"})
    return training / ROWS, (time.process_time() - process - training) / ROWS


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
