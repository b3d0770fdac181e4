"""Where scales are placed: the same for every command, by what finished stages taught."""

from __future__ import annotations

import pytest
import yaml

from launch.commands import cluster
from launch.commands.cluster import Submit
from launch.commands.common import load
from launch.estimate.costs import model_size
from launch.estimate.placement import gpu_of, place, placements
from launch.job.bundle import execution_at
from launch.study.plan import Plan, make_plan
from launch.submit.forecast import forecast
from slurm.profile import Profile, ProfileError
from slurm.sizing.gpus import GIB, GPUS
from slurm.sizing.memory import Placement, peak
from tests.launch.study.test_plan import grid
from trainers.stage import Execution
from trainers.store import EventLog, Store
from trainers.store.files import write_json

PROFILE = Profile(
    cluster="big", partition="gpu", nodes=2, gpus_per_node=4, gpu="A100-40", cpus_per_rank=8, time_limit_min=1440
)


def teach(plan: Plan, held: float) -> None:
    """Leave a result of the plan's first training on a GPU, whose peak was `held` times the predicted one."""
    stage = next(stage for stage in plan.stages if stage.train)
    entry = Store(plan.sweep.store).open(stage)
    log = EventLog(entry)
    log.write("attempt", world_size=1, execution=Execution().model_dump(mode="json"))
    log.close()
    size = model_size(plan.scales[stage.scale.name].shape, 1000)
    predicted = peak(size, Placement(micro_batch_tokens=1024)).allocated
    facts = {"device": "cuda", "precision": "bf16", "micro_batch_tokens": 1024, "vocabulary": 1000}
    result = {"outcome": "completed", "evidence": None, "seconds": {"train": 1.0}, **facts}
    write_json(entry.folder / "result.json", {**result, "peak_memory_bytes": int(held * predicted)})


def test_plan_and_submit_place_alike_after_finished_stages_taught_a_correction(sweep_file, tmp_path):
    chosen = Submit(sweep_file(seeds=[1, 2]), cluster=tmp_path / "cluster.yaml")
    sweep, mirror = load(chosen)
    plan = make_plan(sweep)
    barely = PROFILE.model_copy(update={"gpu_memory_gib": place(plan, PROFILE)["sandbox-s"].peak_bytes / GIB + 1e-4})
    chosen.cluster.write_text(yaml.safe_dump({**barely.model_dump(mode="json"), "setup": []}))
    before = placements(plan, barely)
    teach(plan, held=1.2)
    after = placements(plan, barely)
    assert after != before
    assert {one.scale: one.placed.placement for one in forecast(plan, mirror, barely)} == after
    assert cluster._submitter(chosen).placements == after


def test_a_placement_set_by_hand_is_judged_by_what_was_measured(tmp_path):
    plan = make_plan(grid(store=tmp_path, scales=("xl",), intermediates=("none",), targets=("xnli",)))
    by_hand = PROFILE.model_copy(update={"gpu": "A100-80", "scales": {"xl": Placement(ranks_per_node=4, zero_stage=3)}})
    before = place(plan, by_hand)["xl"]
    assert before.peak_bytes is not None
    teach(plan, held=1.2)
    assert place(plan, by_hand)["xl"].peak_bytes > before.peak_bytes
    teach(plan, held=9.0)
    with pytest.raises(ProfileError, match="remove it"):
        place(plan, by_hand)


def test_adam_runs_on_the_host_where_nothing_else_fits_and_its_memory_is_known(tmp_path):
    plan = make_plan(grid(store=tmp_path, scales=("xxl",), intermediates=("none",), targets=("xnli",)))
    small = PROFILE.model_copy(update={"nodes": 1, "gpus_per_node": 2})
    with pytest.raises(ProfileError, match="give the host memory for each rank"):
        place(plan, small)
    known = small.model_copy(update={"memory_per_rank_gib": 240.0})
    placed = place(plan, known)["xxl"]
    assert (placed.placement.ranks, placed.placement.zero_stage, placed.placement.offload) == (1, 3, True)
    execution = execution_at(plan.sweep.execution, placed.placement)
    assert execution.offload
    by_hand = known.model_copy(update={"scales": {"xxl": placed.placement}})
    assert place(plan, by_hand)["xxl"].peak_bytes == pytest.approx(placed.peak_bytes)


def gpu(name: str | None, **changes):
    return gpu_of(PROFILE.model_copy(update={"gpu": name, **changes}))


def test_a_gpu_may_be_called_as_slurm_calls_it():
    assert gpu("nvidia_a100-sxm4-80gb") == GPUS["A100-80"]
    assert gpu("h100") == GPUS["H100-80"]
    assert gpu(None) is None
    assert gpu("a100", gpus_per_node=0) is None


def test_a_gpu_whose_name_leaves_its_memory_open_is_asked_for():
    with pytest.raises(ProfileError, match="'a100' may be A100-40 or A100-80"):
        gpu("a100")
    told = gpu("a100", gpu_memory_gib=79)
    assert (told.name, told.memory_bytes) == ("A100-80", 79 * GIB)


@pytest.mark.parametrize("name", ["l40s", "a100_3g.20gb", "v100-16gb"])
def test_a_gpu_that_is_not_known_is_told_with_those_that_are(name):
    with pytest.raises(ProfileError, match=r"not in the table of known GPUs \(V100-32, .*H200-141\)"):
        gpu(name)
