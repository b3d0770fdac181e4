"""A search plans every point of its grid; stages that a point does not change are shared, and the point can be seen."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.study.plan import Plan, make_plan
from launch.study.search import book_of, deciding, points
from tests.launch.study.test_plan import grid
from trainers.stage import Recipe, Stage
from trainers.stage.recipes import recipe_for

RATES = (5e-6, 1e-5, 2e-5)


def plan(search: dict, **changes) -> Plan:
    fields = {"intermediates": ("none", "mnli"), "targets": ("pawsx", "tatoeba"), "seeds": (1, 2), **changes}
    return make_plan(grid(search=search, **fields))


def kinds(found: Plan) -> Counter:
    """Stages by kind and intermediate."""
    return Counter((stage.kind, stage.intermediate) for stage in found.stages)


def by_key(found: Plan) -> dict[str, Stage]:
    return {stage.key: stage for stage in found.stages}


def test_a_search_of_the_target_shares_intermediates_and_retrieval():
    assert kinds(plan({"target.learning_rate": RATES})) == {
        ("intermediate", "mnli"): 2,
        ("retrieval", "none"): 1,
        ("retrieval", "mnli"): 2,
        ("target", "none"): 2 * 3,
        ("target", "mnli"): 2 * 3,
    }


def test_a_search_of_the_intermediate_shares_the_baseline():
    assert kinds(plan({"intermediate.learning_rate": RATES})) == {
        ("intermediate", "mnli"): 2 * 3,
        ("retrieval", "none"): 1,
        ("retrieval", "mnli"): 2 * 3,
        ("target", "none"): 2,
        ("target", "mnli"): 2 * 3,
    }


def test_a_grid_is_the_product_of_its_axes():
    found = plan({"intermediate.learning_rate": RATES, "target.epochs": (1, 2)})
    assert kinds(found)["intermediate", "mnli"] == 2 * 3
    assert kinds(found)["target", "mnli"] == 2 * 3 * 2
    assert kinds(found)["target", "none"] == 2 * 2
    recipes = {
        (by_key(found)[stage.parent].recipe.learning_rate, stage.recipe.epochs)
        for stage in found.stages
        if stage.kind == "target" and stage.parent
    }
    assert recipes == {(rate, epochs) for rate in RATES for epochs in (1, 2)}


def test_a_stage_tells_what_the_search_sets_for_it_and_its_parent_and_no_more():
    for stage in plan({"intermediate.learning_rate": RATES, "target.learning_rate": RATES}).stages:
        assert set(stage.variant) == {
            *(["intermediate.learning_rate"] if stage.intermediate == "mnli" else []),
            *(["target.learning_rate"] if stage.kind == "target" else []),
        }
        assert all(setting in stage.label for setting in stage.settings)
        if stage.kind == "intermediate":
            assert stage.recipe.learning_rate == stage.variant["intermediate.learning_rate"]


def test_the_first_point_of_a_search_is_the_same_stage_as_without_one():
    without = by_key(plan({}))
    searched = by_key(plan({"target.learning_rate": (1e-5, 2e-5)}))  # 1e-5 is the book's
    assert set(without) < set(searched)
    assert all(not stage.variant for stage in without.values())


def test_a_search_wins_over_overrides_and_the_particular_over_the_general():
    overrides = {"target.pawsx": {"learning_rate": 0.5, "epochs": 7}}
    search = {"learning_rate": (0.1, 0.2), "mnli.learning_rate": (0.3, 0.4)}
    found = plan(search, overrides=overrides)
    for stage in found.stages:
        if stage.kind == "target":
            assert (stage.recipe.learning_rate, stage.recipe.epochs) == (stage.variant["learning_rate"], 7)
        if stage.kind == "intermediate":
            assert stage.variant == {"mnli.learning_rate": stage.recipe.learning_rate}
    assert kinds(found)["intermediate", "mnli"] == 2 * 2


def test_retrieval_has_the_points_that_change_how_it_is_read():
    found = plan({"target.max_length": (64, 128)}, targets=("tatoeba",))
    assert kinds(found) == {("intermediate", "mnli"): 2, ("retrieval", "none"): 2, ("retrieval", "mnli"): 4}


def test_several_tasks_at_once_are_searched_task_by_task():
    found = plan(
        {"intermediate.mnli.epochs": (1, 2), "intermediate.squad.epochs": (1, 2)}, intermediates=("mnli+squad",)
    )
    assert kinds(found)["intermediate", "mnli+squad"] == 2 * 4


@pytest.mark.parametrize("axis", ["squad.learning_rate", "intermediate.pawsx.epochs", "tatoeba.epochs"])
def test_a_search_that_changes_nothing_is_told(axis):
    with pytest.raises(ValueError, match=f"search: {axis} changes no stage of this sweep"):
        plan({"learning_rate": RATES, axis: (1, 2)})


axes = st.sampled_from(["epochs", "target.epochs", "pawsx.epochs", "target.pawsx.epochs", "warmup", "target.warmup"])


@pytest.mark.slow
@given(st.lists(axes, max_size=4, unique=True))
def test_equal_variants_are_equal_recipes_and_other_variants_others(names):
    search = {axis: (0.1, 0.2) if "warmup" in axis else (1, 2) for axis in names}
    seen: dict[tuple, Recipe] = {}
    for point in points(search):
        variant = tuple((axis, point[axis]) for axis in point if axis in deciding(point, "target", "pawsx"))
        recipe = recipe_for("xstilts", "target", "pawsx", book_of(point))
        assert seen.setdefault(variant, recipe) == recipe
    assert len({recipe.model_dump_json() for recipe in seen.values()}) == len(seen)
    assert len(list(points(search))) == 2 ** len(search)


def test_the_variant_is_in_the_labels_and_not_in_the_key():
    stage = next(stage for stage in plan({"target.learning_rate": RATES}).stages if stage.kind == "target")
    assert stage.label == "large · none → pawsx · target.learning_rate=5e-06 · seed 1"
    assert stage.model_copy(update={"variant": {}}).key == stage.key
    assert Stage.model_validate_json(stage.model_dump_json()) == stage
