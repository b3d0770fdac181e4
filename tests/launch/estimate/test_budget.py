"""The cell that tells most per hour comes first; what is done is not paid twice, and the budget is kept."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.estimate import budget
from launch.estimate.budget import Cell, cells, in_order
from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from tests.launch.test_cli import retain

SIZES = {"base": 10**8, "large": 10**9, "xl": 10**10}


def grid(scales=("base", "large", "xl"), intermediates=("mnli",), targets=("pawsx",), seeds=(1, 2, 3)) -> list[Cell]:
    """Cells as of a plan: intermediates shared by targets, plain targets by intermediates."""
    return [
        Cell(scale, name, (target,), seed, (f"{scale} {name} {seed}", f"{scale} none {target} {seed}", f"{place}"))
        for place, (scale, name, target, seed) in enumerate(itertools.product(scales, intermediates, targets, seeds))
    ]


def alike(found: list[Cell], each: float = 1.0) -> dict[str, float]:
    return {key: each for cell in found for key in cell.stages}


def test_two_ends_tell_the_slope_as_least_squares_would():
    """Of observations at x = ±1 the prior of α says nothing about β: its precision is the prior plus 2 / NOISE²."""
    found = grid(scales=("base", "xl"), seeds=(1,))
    total = sum(one.bits for one in in_order(found, SIZES, alike(found)))
    after = 1 / (1 / budget.SLOPE**2 + 2 / budget.NOISE**2)
    assert total == pytest.approx(0.5 * math.log2(budget.SLOPE**2 / after))


def test_at_one_scale_the_bits_are_about_the_level():
    found = grid(scales=("large",), seeds=(1, 2))
    first, second = in_order(found, SIZES, alike(found))
    before = (budget.LEVEL / budget.NOISE) ** 2
    assert first.bits == pytest.approx(0.5 * math.log2(1 + before))
    assert second.bits == pytest.approx(0.5 * math.log2(1 + before / (1 + before)))


def test_of_equal_cost_both_ends_come_before_the_middle_and_before_second_seeds():
    found = grid(intermediates=("mnli", "squad"), seeds=(1, 2, 3))
    order = [one.cell for one in in_order(found, SIZES, alike(found))]
    assert {(cell.scale, cell.intermediate) for cell in order[:4]} == {
        (scale, name) for scale in ("base", "xl") for name in ("mnli", "squad")
    }


def test_of_equal_information_the_cheap_one_comes_first():
    found = grid(scales=("base",), targets=("pawsx", "xnli"), seeds=(1,))
    hours = alike(found) | {found[0].stages[2]: 5.0}
    assert in_order(found, SIZES, hours)[0].cell.targets == ("xnli",)


def test_a_shared_stage_is_paid_once():
    found = grid(scales=("base",), targets=("pawsx", "xnli"), seeds=(1,))
    first, second = in_order(found, SIZES, alike(found))
    assert (first.hours, second.hours) == (3, 2)  # the intermediate is there by then
    assert second.total_hours == 5


def test_done_cells_are_not_listed_and_count_as_known():
    found = grid(scales=("base",), seeds=(1, 2))
    hours = alike(found)
    for key in found[0].stages:
        del hours[key]
    (only,) = in_order(found, SIZES, hours)
    assert only.cell.seed == 2
    assert only.bits < in_order(found, SIZES, alike(found))[0].bits / 2


@given(st.floats(0.1, 40), st.integers(0, 1000))
def test_the_budget_is_kept_and_its_order_goes_from_more_to_less(hours, seed):
    found = grid(intermediates=("mnli", "squad"), targets=("pawsx", "xnli"))
    rng = np.random.default_rng(seed)
    cost = {key: float(rng.uniform(0.1, 3)) for key in alike(found)}
    chosen = in_order(found, SIZES, cost, hours)
    assert all(one.total_hours <= hours + 1e-9 for one in chosen)
    assert len({one.cell for one in chosen}) == len(chosen)
    paid = {key for one in chosen for key in one.cell.stages}
    assert sum(cost[key] for key in paid) == pytest.approx(chosen[-1].total_hours if chosen else 0)
    everything = in_order(found, SIZES, cost)
    assert {one.cell for one in everything} == set(found)


@pytest.mark.parametrize("hours", [0, -1, math.nan])
def test_a_budget_of_nothing_is_refused(hours):
    with pytest.raises(ValueError, match="above 0"):
        in_order(grid(), SIZES, {}, hours)


def test_the_cells_of_a_plan_are_its_pairs(sweep_file):
    plan = make_plan(load_sweep(sweep_file(seeds=[1, 2], intermediates=["none", "mnli", "squad"])))
    found = cells(plan)
    assert len(found) == 2 * 2 * 2  # intermediates × targets × seeds
    stages = {stage.key: stage for stage in plan.stages}
    for cell in found:
        kinds = [stages[key].kind for key in cell.stages]
        assert kinds[0] == "intermediate"
        assert {stages[key].intermediate for key in cell.stages} == {"none", cell.intermediate}


def test_a_search_is_not_ordered(sweep_file):
    plan = make_plan(load_sweep(sweep_file(search={"epochs": [1, 2]})))
    with pytest.raises(ValueError, match="take `search:` out"):
        cells(plan)


def test_the_command_shows_what_the_hours_buy_and_in_which_order(sweep_file):
    path = sweep_file(seeds=[1, 2])
    done = retain("plan", path, "--budget", 1000)
    assert done.returncode == 0, done.stderr
    assert "what 1000 CPU-hours buy" in done.stdout
    assert "sandbox-s · mnli → xnli · seed 1" in done.stdout
    rows = json.loads(retain("plan", path, "--budget", 1000, "--json").stdout)
    assert len(rows) == 4
    assert all(row["bits"] > 0 and row["stages"] for row in rows)
    assert "the cheapest takes longer" in retain("plan", path, "--budget", "1e-9").stdout
    assert "above 0" in retain("plan", path, "--budget", "0").stderr
