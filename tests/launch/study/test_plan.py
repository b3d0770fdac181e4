"""A plan holds every stage once, parents first, and is instant."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.job.bundle import Chain, chains, side_by_side
from launch.study.plan import Plan, make_plan
from launch.study.sweep import Sweep, load_sweep
from trainers.tasks import ALL_NINE, TARGETS

PAPER = ("none", *ALL_NINE, "all9")


def grid(**changes) -> Sweep:
    fields = {
        "name": "grid",
        "store": Path("nowhere"),
        "mirror": Path("no-mirror"),
        "scales": ("large",),
        "intermediates": PAPER,
        "targets": TARGETS,
        "seeds": (1,),
    }
    return Sweep(**{**fields, **changes})


def keys(plan: Plan) -> set[str]:
    return {stage.key for stage in plan.stages}


def test_the_paper_takes_76_trainings_per_scale_and_seed():
    plan = make_plan(grid())
    by_kind = Counter(stage.kind for stage in plan.stages)
    assert by_kind["intermediate"] == 10  # nine and all nine together
    assert by_kind["target"] == 66  # eleven starts × six training sets
    assert plan.trainings == 76


def test_planning_the_whole_study_takes_under_two_seconds():
    started = time.process_time()
    plan = make_plan(grid(scales=("base", "large", "xl", "xxl"), seeds=(1, 2, 3, 4, 5)))
    assert time.process_time() - started < 2
    assert plan.trainings == 76 * 4 * 5


def test_targets_with_one_training_set_are_trained_once():
    plan = make_plan(grid(intermediates=("none",), targets=("xquad", "mlqa", "xnli")))
    trained = {stage.trained: [evaluation.task for evaluation in stage.evaluate] for stage in plan.stages}
    assert trained == {("squad",): ["mlqa", "xquad"], ("mnli",): ["xnli"]}


def test_retrieval_from_the_pretrained_encoder_serves_all_seeds():
    plan = make_plan(grid(intermediates=("none", "mnli"), targets=("tatoeba",), seeds=(1, 2, 3)))
    parents = [stage.parent for stage in plan.stages if stage.kind == "retrieval"]
    assert parents.count(None) == 1
    assert len(parents) == 1 + 3


def test_a_plan_says_where_an_intermediate_is_the_targets_own_training_set():
    plan = make_plan(grid(intermediates=("none", "mnli"), targets=("xnli", "pawsx")))
    assert any("mnli" in note and "xnli" in note for note in plan.notes)


def test_targets_probe_their_parents_task(sweep_file):
    plan = make_plan(load_sweep(sweep_file()))
    for stage in plan.stages:
        if stage.kind == "target":
            assert [probe.task for probe in stage.probes] == ([] if stage.intermediate == "none" else ["mnli"])
    assert next(s for s in plan.stages if s.probes).probes[0].languages == ("de",)


@pytest.mark.parametrize(
    ("intermediate", "probed"),
    [
        ("all9", list(ALL_NINE)),
        ("mnli+squad+mlm", ["mnli", "squad"]),
        ("mnli+mlm", ["mnli"]),
        ("mnli@de-ru", ["mnli"]),
    ],
)
def test_every_task_of_an_intermediate_is_probed_in_its_own_stage_and_in_its_targets(intermediate, probed):
    plan = make_plan(grid(intermediates=(intermediate,), targets=("pawsx",)))
    for stage in plan.stages:
        assert [probe.task for probe in stage.probes] == probed


def test_targets_are_probed_as_often_as_the_sweep_says_and_intermediates_stay_the_same():
    once, thrice = (
        make_plan(grid(intermediates=("none", "mnli"), targets=("pawsx",), probe={"per_doubling": often}))
        for often in (1, 3)
    )
    assert [stage.probings_per_doubling for stage in thrice.stages if stage.probes] == [1, 3]
    assert {(stage.kind, stage.intermediate) for stage in thrice.stages if stage.key not in keys(once)} == {
        ("target", "mnli")
    }
    assert "per_doubling" not in json.dumps([stage.identity for stage in once.stages])


def test_each_task_of_an_intermediate_is_probed_on_as_many_examples_as_it_is_alone():
    probe = {"by_task": {"squad": {"examples": 300, "examples_other": 5, "refit_examples": 9}}}
    single, several = (
        {one.task: one for one in make_plan(grid(intermediates=(name,), probe=probe)).stages[0].probes}
        for name in ("mnli", "mnli+squad+ccg")
    )
    assert several["mnli"] == single["mnli"]
    sizes = {task: (one.examples, one.examples_other, one.refit_examples) for task, one in several.items()}
    assert sizes == {"mnli": (601, 100, 500), "ccg": (601, 100, 500), "squad": (300, 5, 9)}


def test_text_of_a_named_language_is_text_and_no_translation():
    """Tatoeba, from which the languages' codes come, lacks three of XTREME's 40."""
    plan = make_plan(grid(intermediates=("mnli+mlm",), targets=("panx",), languages=("en", "ms", "my", "yo")))
    assert [name for name in plan.stages[0].data if name.startswith("mlm/")] == ["mlm/train"]
    translated = make_plan(grid(intermediates=("mnli@yo",), targets=("panx",)))
    assert translated.stages[0].train[0].languages == ("yo",)


def test_a_task_has_a_recipe_of_its_own_in_each_phase():
    plan = make_plan(
        grid(
            intermediates=("mnli",),
            targets=("xnli",),
            overrides={
                "*": {"epochs": 9},
                "target.*": {"learning_rate": 2e-5},
                "mnli": {"epochs": 8},
                "intermediate.mnli": {"epochs": 7},
            },
        )
    )
    intermediate, target = plan.stages
    assert (intermediate.recipe.epochs, intermediate.recipe.batch_size) == (7, 24)
    assert (target.recipe.epochs, target.recipe.batch_size) == (8, 32)
    assert (intermediate.recipe.learning_rate, target.recipe.learning_rate) == (1e-5, 2e-5)


def test_two_sweeps_share_equal_stages(sweep_file):
    one = make_plan(load_sweep(sweep_file(name="one", targets=["xnli", "pawsx"])))
    two = make_plan(load_sweep(sweep_file(name="two", targets=["pawsx", "tatoeba"])))
    shared = keys(one) & keys(two)
    assert {stage.kind for stage in one.stages if stage.key in shared} == {"intermediate", "target"}


def test_changed_data_change_the_key(mirror_copy, sweep_file):
    path = sweep_file(mirror=str(mirror_copy), targets=["tatoeba"], intermediates=["none"])
    before = make_plan(load_sweep(path)).stages[0].key
    german = mirror_copy / "google/xtreme/tatoeba.deu/validation.parquet"
    import polars as pl

    pl.read_parquet(german).head(100).write_parquet(german)
    assert make_plan(load_sweep(path)).stages[0].key != before


names = st.lists(st.sampled_from([*PAPER, "mnli+squad", "mnli+mlm", "mnli@de-ru"]), min_size=1, max_size=4, unique=True)
targets = st.lists(st.sampled_from(TARGETS), min_size=1, max_size=5, unique=True)
seeds = st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True)


@settings(max_examples=40, deadline=None)
@given(names, targets, seeds, st.integers(1, 5))
def test_every_stage_once_and_parents_first_in_plan_and_bundles(intermediates, chosen, seed_list, count):
    plan = make_plan(grid(intermediates=tuple(intermediates), targets=tuple(chosen), seeds=tuple(seed_list)))
    seen: set[str] = set()
    for stage in plan.stages:
        assert stage.key not in seen
        assert stage.parent is None or stage.parent in seen
        seen.add(stage.key)
    bundles = side_by_side(chains(plan, dict.fromkeys(keys(plan), 1.0)), count)
    assert len(bundles) <= count
    assert sorted(stage.key for bundle in bundles for stage in bundle) == sorted(seen)
    for bundle in bundles:  # a chain is never split, so no bundle waits for another
        held = [stage.key for stage in bundle]
        assert all(stage.parent is None or stage.parent in held[: held.index(stage.key)] for stage in bundle)


def test_finished_stages_are_left_out_and_their_children_kept(sweep_file):
    plan = make_plan(load_sweep(sweep_file()))
    intermediate = next(stage for stage in plan.stages if stage.kind == "intermediate")
    work = chains(plan, dict.fromkeys(keys(plan) - {intermediate.key}, 1.0))
    found = {stage.key for chain in work for stage in chain.stages}
    assert found == keys(plan) - {intermediate.key}


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 6))
def test_bundles_are_dealt_evenly(seconds, count):
    bundles = side_by_side([Chain((f"{i}:{s}",), s) for i, s in enumerate(seconds)], count)  # type: ignore[arg-type]
    loads = [sum(float(item.split(":")[1]) for item in bundle) for bundle in bundles]
    assert max(loads) <= sum(seconds) / count + max(seconds) + 1e-6


@pytest.mark.parametrize("name", ["nowhere/at-all", "./missing"])
def test_a_scale_that_is_nowhere_says_where_it_looked(name):
    with pytest.raises(ValueError, match=f"no encoder '{name}'"):
        make_plan(grid(scales=(name,)))
