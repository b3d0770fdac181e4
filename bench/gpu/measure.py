"""Tokens/s, MFU and peak memory of whole training steps of each scale on one GPU, through trainers.training.engine.

Started by run.sh.  This process imports no torch: every attempt at a scale is a process of its own (attempt.py), so
that one that runs out of memory takes nothing with it.  results.json and results.md are rewritten after every scale.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.gpu.page import CHECKS, EAGER, STEPS, TRIMMED, markdown
from bench.gpu.page import RECIPE as RECIPE_NAME
from bench.ways import PEER_NAMES

PACKAGES = (
    "numpy",
    "pyarrow",
    "pydantic",
    "torch",
    "transformers",
    "deepspeed",
    "hjson",
    "einops",
    "msgpack",
    "ninja",
    "cpuinfo",
    "psutil",
)
"""Modules that training needs, deepspeed's own needs included."""
MINUTES = 9.0
"""Time for everything; what does not fit is left out, and the output says so."""
NO_GPU = "torch sees no GPU here"
CHECKOUT = Path(__file__).resolve().parents[2]
LEAST_S = 5.0
"""With less time left an attempt is not started."""
ATTEMPT_S = 240.0
"""Time of one attempt at the most, so that one that hangs leaves time for the others."""


@dataclass(frozen=True)
class Workload:
    """How much an optimizer step holds."""

    name: str
    batch_size: int
    micro_batch_tokens: int


@dataclass(frozen=True)
class Job:
    """One attempt: a scale, how it is executed, and what is still to be measured of it."""

    scale: str
    shape: dict[str, Any]
    """Fields of trainers.stage.scales.Shape."""
    workloads: tuple[Workload, ...]
    warmup_steps: int
    steps: int
    seconds: float
    """Timed steps of a workload end after so long, complete or not."""
    matmul_size: int
    activation_checkpointing: bool = False
    needs_gpu: bool = True
    part: str = STEPS
    """What of it this attempt does: our training steps, the checks, or a peer's steps (`bench.peers`, by name)."""
    beside: tuple[str, ...] = ()
    """The other parts, each an attempt of its own after the steps."""
    resumes: bool = False
    """Whether the checks try that resuming is exact: it writes three times the weights to the disk, twice."""


Report = dict[str, Any]
Attempt = Callable[[Job, float], Report]

MEAN_TOKENS = 35
RECIPE = Workload(RECIPE_NAME, 32, 4096)
FULL = Workload("token-filling batch", 2 * 16384 // MEAN_TOKENS, 16384)


TRIMMED_ROWS = 45_000
"""Of MNLI's and XNLI's texts in all languages (docs/performance.md)."""


def full_size_jobs() -> list[Job]:
    """The published scales that one GPU may hold, and Large with the vocabulary of one stage."""
    from trainers.stage.scales import KNOWN

    def job(name: str, shape: dict[str, Any], **more: Any) -> Job:
        return Job(name, shape, (RECIPE, FULL), warmup_steps=5, steps=30, seconds=20, matmul_size=8192, **more)

    shapes = {name: asdict(KNOWN[name].shape) for name in ("base", "large", "xl")}
    trimmed = {**shapes["large"], "vocabulary": TRIMMED_ROWS}
    return [
        job("large", shapes["large"], beside=_peers("a", "c")),
        job(f"large{TRIMMED}", trimmed, beside=(CHECKS, EAGER), resumes=True),
        job("xl", shapes["xl"], beside=(CHECKS, *_peers("d"))),
        job("base", shapes["base"], beside=(CHECKS,), resumes=True),
    ]


def _peers(*letters: str) -> tuple[str, ...]:
    return tuple(PEER_NAMES[letter] for letter in letters)


def tiny_jobs() -> list[Job]:
    """The same names, architectures and workloads, small enough for a CPU; XL starts with checkpointing on."""
    parts = {"base": (EAGER, *_peers("a", "c")), "large": (), "xl": _peers("d")}
    sizes = {"base": (2, 32, 2, "post"), "large": (3, 48, 3, "post"), "xl": (4, 64, 4, "pre")}
    workloads = (replace(RECIPE, micro_batch_tokens=512), Workload(FULL.name, 2 * 1024 // MEAN_TOKENS, 1024))
    return [
        Job(
            name,
            {
                "layers": layers,
                "hidden": hidden,
                "heads": heads,
                "feed_forward": 4 * hidden,
                "vocabulary": 500,
                "layer_norm": layer_norm,
            },
            workloads,
            warmup_steps=1,
            steps=3,
            seconds=10,
            matmul_size=256,
            activation_checkpointing=name == "xl",
            needs_gpu=False,
            beside=(CHECKS, *parts[name]),
            resumes=True,
        )
        for name, (layers, hidden, heads, layer_norm) in sizes.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/gpu/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/bench-gpu"), help="folder of results.json and .md")
    parser.add_argument("--tiny", action="store_true", help="tiny configurations, with or without a GPU")
    parser.add_argument("--scales", nargs="+", help="only these of its names")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for everything")
    parser.add_argument("--commit", help="of the code, where git does not tell")
    chosen = parser.parse_args()
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        print(
            f"{sys.executable} lacks {', '.join(missing)} (module names): install them, or set PYTHON to an "
            "interpreter that has them",
            file=sys.stderr,
        )
        return 2
    jobs = tiny_jobs() if chosen.tiny else full_size_jobs()
    jobs = [job for job in jobs if not chosen.scales or job.scale in chosen.scales]
    results = measure(jobs, run_attempt, chosen.out, time.monotonic() + 60 * chosen.minutes, chosen.commit)
    errors = [f"{name}: {found['error']['message']}" for name, found in results["scales"].items() if found["error"]]
    errors += [
        f"{name}, {part}: {report['error']['message']}"
        for name, found in results["scales"].items()
        for part, report in found["beside"].items()
        if report["error"]
    ]
    for error in errors:
        print(error, file=sys.stderr)
    for name in ("results.md", "results.json"):
        print(chosen.out / name)
    if any(NO_GPU in error for error in errors):
        print("bench/gpu/run.sh --tiny runs the same code on a CPU", file=sys.stderr)
        return 2
    return 1 if errors else 0


def measure(jobs: list[Job], attempt: Attempt, out: Path, deadline: float, commit: str | None = None) -> Report:
    """Measure every job, writing after each; what one job does never keeps the next from being tried."""
    out.mkdir(parents=True, exist_ok=True)
    results: Report = {
        "benchmark": "bench/gpu/run.sh",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "about": None,
        "scales": {},
    }

    def write() -> None:
        _write(out / "results.json", json.dumps(results, indent=1) + "\n")
        _write(out / "results.md", markdown(results))

    for job in jobs:
        found = climb(job, attempt, deadline) | {"beside": {}}
        results["scales"][job.scale] = found
        about = found.pop("about")
        results["about"] = results["about"] or about
        results["commit"] = results["commit"] or ((results["about"] or {}).get("code") or {}).get("commit")
        write()
        if found["error"] and NO_GPU in found["error"]["message"]:
            return results
    for job in jobs:  # what ours can do comes first, if time should run out
        for part in job.beside if results["scales"][job.scale]["error"] is None else ():
            report = attempt(replace(job, part=part), min(ATTEMPT_S, deadline - time.monotonic()))
            results["scales"][job.scale]["beside"][part] = report
            write()
    return results


def climb(job: Job, attempt: Attempt, deadline: float) -> Report:
    """Measure one scale with the least that fits: as the job says, then with activation checkpointing, then with
    smaller micro-batches as well."""
    smaller = {workload.name: max(1024, workload.micro_batch_tokens // 4) for workload in job.workloads}
    rungs: list[tuple[bool, bool]] = [(False, False), (True, False), (True, True)]
    found: Report = {"workloads": {}, "attempts": [], "error": None, "about": None}
    for checkpointing, small in rungs[rungs.index((job.activation_checkpointing, False)) :]:
        remaining = tuple(
            replace(workload, micro_batch_tokens=smaller[workload.name]) if small else workload
            for workload in job.workloads
            if workload.name not in found["workloads"]
        )
        now = replace(job, workloads=remaining, activation_checkpointing=checkpointing)
        started = time.monotonic()
        report = attempt(now, min(ATTEMPT_S, deadline - started))
        error = report.get("error")
        found["workloads"].update(report.get("workloads", {}))
        found["attempts"].append(
            {
                "activation_checkpointing": checkpointing,
                "error": error,
                "model": report.get("model"),
                "workloads": [asdict(workload) for workload in remaining],
                "matmul": report.get("matmul"),
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        found["about"] = found["about"] or report.get("about")
        found["error"] = error
        if error is None or error["kind"] != "out_of_memory":
            break
    return found


def run_attempt(job: Job, seconds_left: float) -> Report:
    """Run `bench.gpu.attempt` on a job; a process that dies or hangs becomes an `error` beside what it had measured."""
    if seconds_left < LEAST_S:
        return {"error": {"kind": "no_time", "message": "no time was left to measure this scale"}}
    print(
        f"{job.scale}  {', '.join(workload.name for workload in job.workloads) if job.part == STEPS else job.part}"
        f"{'  activation checkpointing' if job.activation_checkpointing else ''} …",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch) / "job.json", Path(scratch) / "report.json"
        asked.write_text(json.dumps(asdict(job)))
        # Set before CUDA starts, as trainers.training.engine sets it for every stage.
        environment = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", **os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), environment.get("PYTHONPATH")]))
        if not job.needs_gpu:  # tiny matrices do not divide among threads
            environment.setdefault("OMP_NUM_THREADS", "1")
        command = [sys.executable, "-P", "-m", "bench.gpu.attempt", str(asked), str(answered)]
        error = None
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds_left)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                error = {"kind": "crash", "message": f"ended with status {done.returncode}: {last}"}
        except subprocess.TimeoutExpired:
            error = {"kind": "timeout", "message": f"stopped after {seconds_left:.0f} s, all the time it had"}
        report: Report = json.loads(answered.read_text()) if answered.exists() else {}
    return {**report, "error": report.get("error") or error}


def _write(path: Path, text: str) -> None:
    building = path.with_name(f".{path.name}")
    building.write_text(text, encoding="utf-8")
    os.replace(building, path)


if __name__ == "__main__":
    raise SystemExit(main())
