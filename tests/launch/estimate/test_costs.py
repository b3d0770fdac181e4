"""What a plan predicts: first from numbers, then from what its finished stages took and held."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launch.estimate.costs import learn_memory, model_size, predict, work_of
from launch.study.plan import Plan, make_plan, mirror_of
from launch.study.sweep import load_sweep
from launch.submit.forecast import show_plan
from slurm.sizing.gpus import GPUS
from slurm.sizing.memory import Placement, peak
from slurm.sizing.timing import CPU_CORE, Speed, expected_s
from trainers.stage import Execution
from trainers.store import EventLog, Store
from trainers.store.files import write_json

VOCABULARY, MICRO_BATCH_TOKENS = 400, 900


@pytest.fixture
def planned(sweep_file):
    """A plan of nine trainings, its store and its mirror."""
    sweep = load_sweep(sweep_file(seeds=[1, 2, 3], targets=["xnli"]))
    return make_plan(sweep), Store(sweep.store), mirror_of(sweep)


def keys_of(plan: Plan) -> list[str]:
    return [stage.key for stage in plan.stages]


def finish(planned, keys, slower: float, held: float | None, **attempt) -> None:
    """Leave results that took `slower` times the expected seconds, and held `held` times the predicted bytes."""
    plan, store, mirror = planned
    for stage in (stage for stage in plan.stages if stage.key in keys):
        entry = store.open(stage)
        log = EventLog(entry)
        facts = {"world_size": 1, "execution": Execution().model_dump(mode="json"), **attempt}
        log.write("attempt", **facts)
        log.close()
        result = {"outcome": "completed", "evidence": None}
        result["seconds"] = {"train": slower * expected_s(work_of(stage, plan, mirror), CPU_CORE, facts["world_size"])}
        if held is not None:
            size = model_size(plan.scales[stage.scale.name].shape, VOCABULARY)
            states = peak(size, Placement(ranks_per_node=facts["world_size"]), "fp32").states
            result |= {"peak_memory_bytes": int(held * states), "device": "cpu", "precision": "fp32"}
            result |= {"micro_batch_tokens": MICRO_BATCH_TOKENS, "vocabulary": VOCABULARY}
        write_json(entry.folder / "result.json", result)


def shown(planned) -> str:
    plan, store, mirror = planned
    out = io.StringIO()
    show_plan(plan, store, predict(plan, store, mirror), Console(file=out, width=200), every_stage=False)
    return out.getvalue()


def test_nothing_finished_is_a_guess_with_a_wide_interval(planned):
    prediction = predict(*planned)
    assert set(prediction.seconds) == set(keys_of(planned[0]))
    for low, middle, high in prediction.intervals_s.values():
        assert 3 * low == pytest.approx(middle) == pytest.approx(high / 3)
    assert "a first guess" in shown(planned)
    assert "memory" not in shown(planned)


def test_what_probing_costs_is_told_before_it_is_spent(sweep_file):
    def share(**changes) -> float:
        sweep = load_sweep(sweep_file(targets=["pawsx"], **changes))
        return predict(make_plan(sweep), Store(sweep.store), mirror_of(sweep)).probe_share

    few = {"examples": 12, "examples_other": 6, "refit_examples": 12}
    assert share(intermediates=["none"]) == 0
    assert 0 < share(probe=few) < share(probe=few | {"examples": 600}) < 1
    sweep = load_sweep(sweep_file(probe=few))
    plan, store = make_plan(sweep), Store(sweep.store)
    console = Console(file=io.StringIO(), width=120)
    prediction = replace(predict(plan, store, mirror_of(sweep)), probe_share=0.314)
    show_plan(plan, store, prediction, console, every_stage=False)
    assert "probes 31% of the operations" in console.file.getvalue()


def test_finished_stages_correct_the_time_and_their_error_is_shown(planned):
    keys = keys_of(planned[0])
    before = predict(*planned).seconds
    finish(planned, keys[:4], slower=2.5, held=None)
    after = predict(*planned)
    assert set(after.seconds) == set(keys[4:])
    for key in keys[4:]:
        assert after.seconds[key] == pytest.approx(2.5 * before[key])
    assert "learned from 4 finished stages; half of them within ±0%" in shown(planned)


def test_a_stage_that_several_ranks_ran_says_as_much_of_one(planned):
    keys = keys_of(planned[0])
    before = predict(*planned).seconds
    finish(planned, keys[:4], slower=1.0, held=None, world_size=4)
    assert predict(*planned).seconds[keys[5]] == pytest.approx(before[keys[5]])


def test_what_ran_on_a_cpu_teaches_nothing_about_a_gpu(planned):
    gpu = Speed.of(GPUS["A100-80"])
    keys = keys_of(planned[0])
    before = predict(*planned, gpu).seconds
    finish(planned, keys[:4], slower=1.0, held=1.07)
    after = predict(*planned, gpu)
    assert after.clock.overall.pairs == after.memory.pairs == 0
    assert after.seconds == {key: before[key] for key in keys[4:]}


def test_each_scale_is_timed_on_its_own_ranks(planned):
    alone = predict(*planned).seconds
    stage = next(stage for stage in planned[0].stages if stage.train)
    on_four = Placement(ranks_per_node=4, zero_stage=3)
    together = predict(*planned, placements={stage.scale.name: on_four}).seconds[stage.key]
    assert together < alone[stage.key]
    recomputed = on_four.model_copy(update={"activation_checkpointing": True})
    assert together < predict(*planned, placements={stage.scale.name: recomputed}).seconds[stage.key]


def begin(planned, stage, saved: int | None, step_s: float) -> None:
    """Leave a stage half done."""
    entry = planned[1].open(stage)
    log = EventLog(entry)
    for step in (1, 2, 3):
        log.write("step", step=step, loss=1.0, seconds=90.0 if step == 1 else step_s)  # the first one compiles
    log.close()
    if saved is not None:
        (entry.checkpoints / f"step-{saved:09d}").mkdir(parents=True)
        (entry.checkpoints / ".step-000000004.unfinished").mkdir(exist_ok=True)


def test_of_a_stage_half_done_the_rest_is_predicted_at_its_own_pace(planned):
    plan, _, mirror = planned
    stage = next(stage for stage in plan.stages if stage.kind == "target")
    steps = work_of(stage, plan, mirror).steps
    before = predict(*planned).intervals_s
    begin(planned, stage, saved=None, step_s=50.0)
    assert predict(*planned).intervals_s == before  # nothing is saved: it begins anew
    begin(planned, stage, saved=steps - 1, step_s=50.0)
    after = predict(*planned).intervals_s
    rest = 50.0 + expected_s(replace(work_of(stage, plan, mirror), training_tokens=0, steps=0), CPU_CORE)
    assert after[stage.key][1] == pytest.approx(rest)
    assert {**after, stage.key: before[stage.key]} == before
    begin(planned, stage, saved=steps + 5, step_s=50.0)
    assert predict(*planned).seconds[stage.key] == pytest.approx(rest - 50.0)


def test_measured_peaks_correct_the_memory_and_older_results_have_none(planned):
    plan, store, _ = planned
    keys = keys_of(plan)
    finish(planned, keys[:2], slower=1.0, held=None)
    assert learn_memory(plan, store).pairs == 0
    finish(planned, keys[2:5], slower=1.0, held=1.07)
    learned = learn_memory(plan, store)
    assert learned.pairs == 3
    assert learned.factor == pytest.approx(1.07, abs=1e-4)
    assert "measured over predicted: 1.07 (1.07 to 1.07) in 3 trainings" in shown(planned)


def test_a_plan_that_is_done_takes_no_time(planned):
    finish(planned, keys_of(planned[0]), slower=1.0, held=None)
    assert predict(*planned).seconds == {}
    assert "time   0 s on one process (learned from 9" in shown(planned)


@pytest.mark.slow
def test_a_real_stage_records_the_peak_that_the_model_predicts(sweep_file, tmp_path: Path):
    from trainers.run import Context, run
    from trainers.store.tracking import Tracking

    sweep = load_sweep(sweep_file(intermediates=["none"], targets=["xnli"]))
    plan, store, mirror = make_plan(sweep), Store(sweep.store), mirror_of(sweep)
    context = Context(store, mirror, sweep.execution, Tracking(mode="disabled"))
    for stage in plan.stages:
        run(stage, context)
    learned = learn_memory(plan, store)
    assert learned.pairs == 1
    assert learned.factor == pytest.approx(1, abs=0.10)
