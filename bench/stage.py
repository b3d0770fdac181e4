"""Where one stage's processor time goes: the first of a process, and those after it in the same warm process.

    python -m bench.stage [SCALE] > docs/benchmarks/stage.md

MNLI, then XNLI from it, of the embedded sandbox with three seeds, one after another as `launch.job.rank` runs a
bundle, on one thread under cProfile.  Fixed is all but steps, probes and evaluation.
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

from launch.study.plan import make_plan, mirror_of
from launch.study.sweep import load_sweep
from trainers.data.mirror import Mirror
from trainers.sandbox import write_mirror
from trainers.stage import Stage
from trainers.store import Store
from trainers.store.tracking import Tracking

SWEEP = Path(__file__).parents[1] / "launch" / "sweeps" / "sandbox.yaml"
PARTS = {
    "claim and provenance": ("trainers/run.py", "_claim"),
    "data: fingerprints, rows, tokens": ("trainers/data/stagedata.py", "load"),
    "encoder": ("trainers/network/encoder.py", "load_encoder"),
    "engine": ("trainers/training/engine.py", "make_engine"),
    "steps: drawing": ("trainers/training/mixing.py", "draw"),
    "steps: recording": ("trainers/store/record.py", "step"),
    "steps: telling": ("trainers/store/progress.py", "step"),
    "steps": ("trainers/training/step.py", "step"),
    "… collating": ("trainers/network/batch.py", "collate"),
    "… backward": ("trainers/training/one_device.py", "_backward"),
    "… clipping and optimizer": ("trainers/training/one_device.py", "_update"),
    "probes": ("trainers/run.py", "_probe"),
    "evaluation": ("trainers/run.py", "_evaluate"),
    "export": ("trainers/assembly.py", "export"),
    "result": ("trainers/run.py", "_write_result"),
}
"""What is told apart: the function that does it.  `…` marks what is counted in the part above as well."""
FORWARD = "… forward and loss"
WITHIN_STEPS = ("… collating", "… backward", "… clipping and optimizer")
VARIABLE = ("steps: drawing", "steps: recording", "steps: telling", "steps", "probes", "evaluation")
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
    """The sandbox sweep's own stages of one arm, each intermediate before its target."""
    whole = load_sweep(SWEEP, store=scratch / "store")
    write_mirror(scratch / "mirror")
    arm = {"scales": (scale,), "intermediates": ("mnli",), "targets": ("xnli",), "seeds": SEEDS}
    sweep = whole.model_copy(update=arm | {"mirror": scratch / "mirror"})
    return tuple(sorted(make_plan(sweep).stages, key=lambda stage: stage.seed)), mirror_of(sweep)


def parts_of(profile: pstats.Stats) -> dict[str, float]:
    """Processor-seconds of each part, and of the whole stage as `total`."""
    seconds = dict.fromkeys(PARTS, 0.0)
    for (path, _, function), (_, _, _, cumulative, _) in profile.stats.items():  # type: ignore[attr-defined]
        for part, (file, name) in PARTS.items():
            if function == name and path.endswith(file):
                seconds[part] += cumulative
    seconds[FORWARD] = seconds["steps"] - sum(seconds[part] for part in WITHIN_STEPS)
    return seconds | {"total": profile.total_tt}  # type: ignore[attr-defined]


def fixed(seconds: dict[str, float]) -> float:
    return seconds["total"] - sum(seconds[part] for part in VARIABLE)


def _page(scale: str, imports: float, found: list[dict[str, float]]) -> list[str]:
    """The profiles are of intermediate and target in turn."""
    from bench.measured import measured

    first, intermediate, target = found[0], _median(found[2::2]), _median(found[1::2])
    cold = fixed(first) + imports
    lines = [
        f"# One stage of {scale} on the sandbox, on a CPU",
        "",
        f"{measured(f'python -m bench.stage {scale}')}; processor-seconds.",
        "",
        f"A stage's fixed cost in a warm bundle, of the first stage's {cold:.2f} s: "
        f"{fixed(intermediate):.2f} s ({fixed(intermediate) / cold:.1%}) of an intermediate with its export, "
        f"{fixed(target):.2f} s ({fixed(target) / cold:.1%}) of a target with its parent's encoder and head.",
        "",
        "| part | mnli, first of the process | mnli later | mnli → xnli |",
        "|---|--:|--:|--:|",
        f"| imports | {imports:.2f} | 0 | 0 |",
    ]
    rows = [(part, part) for part in PARTS]
    rows.insert(list(PARTS).index(WITHIN_STEPS[-1]) + 1, (FORWARD, FORWARD))
    rows.append(("the whole stage, imports left out", "total"))
    return lines + [
        f"| {name} | {first[part]:.2f} | {intermediate[part]:.2f} | {target[part]:.2f} |" for name, part in rows
    ]


def _median(found: list[dict[str, float]]) -> dict[str, float]:
    return {part: statistics.median(one[part] for one in found) for part in found[0]}


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sandbox-m")
