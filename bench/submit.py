"""How long the front of the system takes: planning 100,000 stages, the state of 10,000, submitting 1,000.

    python -m bench.submit > docs/benchmarks/submit.md

Submission goes to a real SLURM that this script brings up and takes down (root and Debian's packages; see
`retain devcluster`), into a partition that starts nothing.  Its peer is one sbatch call a stage, as scripts do it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from bench.measured import measured
from launch import status
from launch.estimate.placement import place
from launch.study.plan import Plan, make_plan, mirror_of
from launch.study.sweep import Sweep
from launch.submit.reconcile import Submitter
from launch.submit.snapshot import take_snapshot
from slurm.devcluster import DevCluster
from slurm.profile import Profile
from trainers.store import Store
from trainers.tasks import ALL_NINE, TARGETS

PEER_CALLS = 50
PROFILE = Profile(
    cluster="devcluster",
    partition="main",
    nodes=4,
    gpus_per_node=2,
    cpus_per_rank=1,
    time_limit_min=1200,
)


def study(store: Path, seeds: int, scales: tuple[str, ...] = ("base", "large", "xl", "xxl")) -> Sweep:
    """A whole study: scales × (none, nine tasks, all of them) × nine targets × seeds."""
    return Sweep(
        name="bench",
        store=store,
        mirror=store / "no-mirror",
        scales=scales,
        intermediates=("none", *ALL_NINE, "all9"),
        targets=TARGETS,
        seeds=tuple(range(seeds)),
    )


def timed(act):
    """What it returns, and how many seconds it took."""
    started = time.perf_counter()
    value = act()
    return value, time.perf_counter() - started


def finish(plan: Plan, store: Store) -> None:
    """Results for every stage, as they look when all is done."""
    result = {"outcome": "completed", "evidence": None, "seconds": {"start": 1.0, "train": 60.0}, "tokens": 1}
    for stage in plan.stages:
        folder = store.entry(stage.key).folder
        folder.mkdir(parents=True)
        (folder / "stage.json").write_text(stage.model_dump_json())
        (folder / "result.json").write_text(json.dumps(result))


def calls_and_seconds(folder: Path) -> tuple[int, int, float, float]:
    """Stages, sbatch calls and seconds of one submission; and seconds of one sbatch call of the peer's."""
    with DevCluster(folder / "slurm") as cluster:
        cluster.up()
        os.environ.update(cluster.env)
        cluster.run("scontrol", "update", "PartitionName=main", "State=DOWN")
        plan = make_plan(study(folder / "store", seeds=3))
        placements = {scale: one.placement for scale, one in place(plan, PROFILE).items()}
        mirror = mirror_of(plan.sweep)
        done, seconds = timed(
            lambda: Submitter(plan, mirror, PROFILE, placements, take_snapshot(folder / "store")).submit()
        )
        _, peer = timed(
            lambda: [cluster.run("sbatch", "--output=/dev/null", "--wrap", "true") for _ in range(PEER_CALLS)]
        )
        assert done.left == 0
        return done.stages, done.arrays, seconds, peer / PEER_CALLS


def main() -> None:
    print(f"# Planning, state and submission\n\n{measured('python -m bench.submit')}.\n")
    print("| what | measured | target |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as name:
        folder = Path(name)
        plan, seconds = timed(lambda: make_plan(study(folder / "large", seeds=216)))
        print(f"| plan {len(plan.stages):,} stages | {seconds:.1f} s | 10 s |", flush=True)
        plan = make_plan(study(folder / "many", seeds=26))
        store = Store(folder / "many")
        finish(plan, store)
        _, seconds = timed(lambda: status.survey(plan, store))
        print(f"| state of {len(plan.stages):,} finished stages | {seconds:.1f} s | 2 s |", flush=True)
        stages, calls, seconds, peer = calls_and_seconds(folder)
        print(f"| submit {stages:,} stages, {calls} sbatch calls | {seconds:.1f} s | 20 s, 12 calls |")
        print(f"| the same by one sbatch a stage ({peer * 1e3:.0f} ms each) | {peer * stages:.1f} s | |")


if __name__ == "__main__":
    main()
