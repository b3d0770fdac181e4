"""Where one stage's processor time goes: the first of a bundle, and one after it in the same warm process.

    python -m bench.stage [SCALE] > docs/benchmarks/stage.md

Trainings for XNLI of the embedded sandbox with three seeds, one after another as `launch.job` runs a bundle, on one
thread under cProfile.  Fixed is all but steps and evaluation.
"""

from __future__ import annotations

import contextlib
import cProfile
import os
import pstats
import statistics
import sys
import tempfile
import time
from pathlib import Path

from launch.plan import make_plan
from launch.sweep import Sweep
from trainers.data.mirror import Mirror
from trainers.data.sandbox import write_mirror
from trainers.stage import Stage
from trainers.store import Store
from trainers.tracking import Tracking

PARTS = {
    "claim and provenance": ("trainers/run.py", "_claim"),
    "data: fingerprints, rows, tokens": ("trainers/data/stagedata.py", "load"),
    "encoder": ("trainers/encoder.py", "load_encoder"),
    "engine": ("trainers/engine.py", "__init__"),
    "steps: drawing": ("trainers/mixing.py", "draw"),
    "steps": ("trainers/engine.py", "step"),
    "… collating": ("trainers/engine.py", "collate"),
    "… backward": ("deepspeed/runtime/engine.py", "backward"),
    "… clipping and optimizer": ("deepspeed/runtime/engine.py", "step"),
    "evaluation": ("trainers/run.py", "_evaluate"),
    "result": ("trainers/run.py", "_write_result"),
}
"""What is told apart: the function that does it.  `…` marks what is counted in the part above as well."""
VARIABLE = ("steps: drawing", "steps", "evaluation")
SEEDS = (1, 2, 3)


def main(scale: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported
    with tempfile.TemporaryDirectory() as scratch:
        stages, mirror = _planned(scale, Path(scratch))
        imports = time.process_time()
        with contextlib.redirect_stdout(sys.stderr):
            from trainers.run import Context, run
        imports = time.process_time() - imports
        context = Context(Store(Path(scratch) / "store"), mirror, tracking=Tracking(mode="disabled"))
        found = []
        for stage in stages:
            profile = cProfile.Profile(time.process_time)
            with contextlib.redirect_stdout(sys.stderr):
                profile.runcall(run, stage, context)
            found.append(parts_of(pstats.Stats(profile)))
        print("\n".join(_page(scale, imports, found)))


def _planned(scale: str, scratch: Path) -> tuple[tuple[Stage, ...], Mirror]:
    write_mirror(scratch / "mirror")
    sweep = Sweep(
        name="bench",
        store=scratch / "store",
        mirror=scratch / "mirror",
        scales=(scale,),
        targets=("xnli",),
        intermediates=("none",),
        seeds=SEEDS,
        languages=("en", "de", "ru", "sw", "zh"),
        recipes="sandbox",
        evaluation={"max_examples": 150, "development_examples": 200},
    )
    return make_plan(sweep).stages, Mirror(scratch / "mirror")


def parts_of(profile: pstats.Stats) -> dict[str, float]:
    """Processor-seconds of each part, and of the whole stage as `total`."""
    seconds = dict.fromkeys(PARTS, 0.0)
    for (path, _, function), (_, _, _, cumulative, _) in profile.stats.items():  # type: ignore[attr-defined]
        for part, (file, name) in PARTS.items():
            if function == name and path.endswith(file):
                seconds[part] += cumulative
    return seconds | {"total": profile.total_tt}  # type: ignore[attr-defined]


def fixed(seconds: dict[str, float]) -> float:
    return seconds["total"] - sum(seconds[part] for part in VARIABLE)


def _page(scale: str, imports: float, found: list[dict[str, float]]) -> list[str]:
    from bench.measured import measured

    first, later = found[0], {part: statistics.median(one[part] for one in found[1:]) for part in found[0]}
    lines = [
        f"# One stage of {scale} on the sandbox, on a CPU",
        "",
        f"{measured(f'python -m bench.stage {scale}')}; processor-seconds.",
        "",
        f"A stage's fixed cost in a warm bundle: {fixed(later):.2f} s, {fixed(later) / (fixed(first) + imports):.1%} "
        f"of the first stage's {fixed(first) + imports:.2f} s.",
        "",
        "| part | first stage | a later one |",
        "|---|--:|--:|",
        f"| imports | {imports:.2f} | 0 |",
    ]
    lines += [f"| {part} | {first[part]:.2f} | {later[part]:.2f} |" for part in PARTS]
    lines.append(f"| the whole stage, imports left out | {first['total']:.2f} | {later['total']:.2f} |")
    return lines


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sandbox-m")
