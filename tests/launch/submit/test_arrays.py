"""Arrays: every missing stage in exactly one element, never before its parent."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.study.plan import Plan, make_plan
from launch.submit.arrays import Array, mails_of, make_arrays, within
from tests.launch.study.test_plan import grid

PLAN = make_plan(grid(scales=("base", "large"), intermediates=("none", "mnli", "squad", "hellaswag"), seeds=(1, 2)))


def stages_of(arrays: list[Array]) -> list[str]:
    return [stage.key for array in arrays for bundle in array.bundles for stage in bundle]


def arrays_of(plan: Plan, queued: dict[str, str] | None = None, job_s: float = 3600.0, most: int = 1000, done=()):
    queued = queued or {}
    seconds = {stage.key: 600.0 for stage in plan.stages if stage.key not in queued and stage.key not in done}
    return make_arrays(plan, seconds, queued, job_s, most)


@st.composite
def situations(draw) -> tuple[dict[str, str], set[str]]:
    """What is done and what is in the queue, as it can be: a parent always comes first."""
    done: set[str] = set()
    queued: dict[str, str] = {}
    for number, stage in enumerate(PLAN.stages):
        state = draw(st.sampled_from(["missing", "queued", "done"]))
        parent_done = stage.parent is None or stage.parent in done
        if state == "done" and parent_done:
            done.add(stage.key)
        elif state == "queued" and (parent_done or stage.parent in queued):
            queued[stage.key] = f"77_{number}"
    return queued, done


@pytest.mark.slow
@given(situation=situations(), job_s=st.sampled_from([1.0, 600.0, 1500.0, 1e6]), most=st.integers(1, 7))
def test_every_missing_stage_is_in_one_element_and_waits_for_its_parent(situation, job_s, most):
    queued, done = situation
    arrays = arrays_of(PLAN, queued, job_s, most, done)
    missing = [stage.key for stage in PLAN.stages if stage.key not in queued and stage.key not in done]
    assert sorted(stages_of(arrays)) == sorted(missing)
    submitted: dict[str, tuple[Array, int]] = {}
    for array in arrays:
        assert 0 < len(array.bundles) <= most or isinstance(array.after, str)
        for index, bundle in enumerate(array.bundles):
            for stage in bundle:
                assert stage.scale.name == array.scale
                if stage.parent is None or stage.parent in done:
                    assert array.after is None
                elif stage.parent in queued:
                    assert array.after == queued[stage.parent]
                else:
                    assert (array.after, index) == submitted[stage.parent]
                submitted[stage.key] = (array, index)


@pytest.mark.slow
@given(situation=situations(), room=st.integers(0, 40), job_s=st.sampled_from([600.0, 1e6]))
def test_what_finds_room_is_a_start_that_can_run(situation, room, job_s):
    queued, done = situation
    arrays = arrays_of(PLAN, queued, job_s, 1000, done)
    fitting = within(arrays, room)
    assert sum(len(array.bundles) for array in fitting) <= room
    assert sum(len(array.bundles) for array in fitting) == min(
        room, sum(len(array.bundles) for array in arrays)
    ) or any(isinstance(array.after, Array) for array in arrays)
    for array in fitting:
        if isinstance(array.after, Array):
            assert array.after in fitting[: fitting.index(array)]
            assert len(array.bundles) <= len(array.after.bundles)


def test_no_limit_is_room_for_all():
    arrays = arrays_of(PLAN)
    assert within(arrays, None) == arrays
    assert within(arrays, 0) == []


def test_bundles_are_about_as_long_as_asked():
    for array in arrays_of(PLAN, job_s=1800.0):
        assert array.seconds == max(600.0 * len(bundle) for bundle in array.bundles) <= 1800.0


def test_where_calls_run_out_bundles_grow_instead():
    # Two scales, twelve calls: each has four waves beside two other arrays.
    waiting = [array for array in arrays_of(PLAN, job_s=60.0) if isinstance(array.after, Array)]
    assert max(len(bundle) for array in waiting for bundle in array.bundles) > 1
    assert max(sum(array.after is first for array in waiting) for first in {array.after for array in waiting}) == 4


def test_a_stage_that_waits_for_nothing_and_is_longer_than_a_job_is_alone():
    free = [array for array in arrays_of(PLAN, job_s=60.0) if array.after is None]
    assert all(len(bundle) == 1 for array in free for bundle in array.bundles)


def test_a_thousand_stages_take_at_most_twelve_calls():
    plan = make_plan(grid(scales=("base", "large", "xl", "xxl"), seeds=(1, 2, 3)))
    assert len(plan.stages) > 1000
    assert len(arrays_of(plan, job_s=60.0)) <= 12
    assert len(arrays_of(plan, job_s=math.inf)) <= 12


@pytest.mark.parametrize("most", [1, 2, 3])
def test_waves_follow_their_own_part_of_a_cut_array(most):
    arrays = arrays_of(PLAN, job_s=600.0, most=most)
    for array in arrays:
        if isinstance(array.after, Array):
            for index, bundle in enumerate(array.bundles):
                (parent,) = array.after.bundles[index]
                assert {stage.parent for stage in bundle} == {parent.key}


@pytest.mark.slow
def test_ten_thousand_stages_are_cut_at_once():
    plan = make_plan(grid(scales=("base", "large", "xl", "xxl"), seeds=tuple(range(26))))
    started = time.process_time()
    arrays_of(plan)
    assert time.process_time() - started < 2


def test_the_first_begin_each_failure_and_the_last_end_are_mailed():
    """Last is what ends last, which the longest array need not be."""
    first = Array("base", ((), ()), 100.0)
    waits = Array("base", ((), ()), 50.0, after=first)
    alone = Array("base", ((),), 120.0)
    arrays = [first, waits, alone]
    assert [mails_of(array, arrays) for array in arrays] == [("BEGIN", "FAIL"), ("END", "FAIL"), ("FAIL",)]
    assert mails_of(alone, [alone]) == ("BEGIN", "END", "FAIL")
