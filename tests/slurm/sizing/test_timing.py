"""Hours of a stage, and how far to trust them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.sizing.gpus import GPUS
from slurm.sizing.timing import CPU_CORE, UNKNOWN_SPREAD, Clock, Finished, Speed, Work, calibrate, expected_s
from trainers.stage.scales import KNOWN

XL = KNOWN["xl"].shape
WORK = Work(XL.parameters, XL.non_embedding_parameters, XL.layers, XL.hidden, 16_000_000, 0, 12_000, 40.0)
ratios = st.lists(st.floats(0.1, 10), min_size=2, max_size=30)


def test_flops_are_the_reference_notes():
    """17.1 GFLOP a token for XL, at sequences of 128."""
    assert replace(WORK, training_tokens=1, sequence_tokens=128).training_flops == pytest.approx(17.1e9, rel=0.01)
    assert replace(WORK, forward_tokens=30).forward_flops == pytest.approx(10 * WORK.training_flops / 16e6)


def test_an_epoch_of_xnli_takes_xl_what_the_notes_say_at_their_rate():
    """16 million tokens: 11.5 minutes on one H100 at 40 % of its peak."""
    speed = replace(Speed.of(GPUS["H100-80"]), flops_per_s=0.40 * 989e12, layer_start_s=0.0, start_s=0.0)
    assert expected_s(replace(WORK, steps=0), speed) / 60 == pytest.approx(11.5, rel=0.02)


def test_adam_moves_what_the_notes_say():
    """104 GB a step for XL, 31 ms on an H100."""
    speed = replace(Speed.of(GPUS["H100-80"]), layer_start_s=0.0, start_s=0.0)
    assert expected_s(replace(WORK, training_tokens=0, steps=1), speed) == pytest.approx(0.031, rel=0.02)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 32))
def test_more_work_never_takes_less_and_more_ranks_never_more(tokens, more, ranks):
    work = replace(WORK, training_tokens=tokens)
    larger = replace(work, training_tokens=tokens + more, forward_tokens=more)
    assert expected_s(larger, CPU_CORE, ranks) >= expected_s(work, CPU_CORE, ranks)
    assert expected_s(work, CPU_CORE, ranks + 1) <= expected_s(work, CPU_CORE, ranks)
    assert expected_s(work, CPU_CORE, ranks, activation_checkpointing=True) >= expected_s(work, CPU_CORE, ranks)


@given(ratios)
def test_an_error_is_never_below_zero(found):
    error = Clock.learn([Finished("a", 2.0, 2.0 * ratio) for ratio in found]).error
    assert error is None or error >= 0


@given(ratios)
def test_the_factor_lies_among_the_ratios_and_the_interval_around_it(found):
    learned = calibrate([(2.0, 2.0 * ratio) for ratio in found])
    assert min(found) * (1 - 1e-9) <= learned.factor <= max(found) * (1 + 1e-9)
    low, middle, high = learned.interval(3.0)
    assert low <= middle <= high
    assert middle == pytest.approx(3.0 * learned.factor)


def test_one_odd_stage_moves_nothing():
    pairs = [(1.0, 2.0)] * 9 + [(1.0, 500.0)]
    assert calibrate(pairs).factor == 2.0
    assert Clock.learn([Finished("a", *pair) for pair in pairs]).error == 0.0


def test_the_error_is_of_stages_left_out():
    """Predicted from the others: 3 for 1, 2.5 for 2, 1.5 for 4, so off by 2, 1/4 and 5/8."""
    assert Clock.learn([Finished("a", 1.0, took) for took in (1.0, 2.0, 4.0)]).error == pytest.approx(5 / 8)


def test_without_measurements_the_interval_is_wide_and_no_error_is_claimed():
    for learned in (calibrate([]), calibrate([(1.0, 5.0)])):
        assert learned.spread == UNKNOWN_SPREAD


def test_a_scale_with_enough_finished_stages_is_corrected_by_itself():
    finished = [Finished("slow", 1.0, 4.0)] * 3 + [Finished("fast", 1.0, 1.0)] * 5 + [Finished("rare", 1.0, 9.0)]
    clock = Clock.learn(finished)
    assert clock.interval_s("slow", 10.0)[1] == 40.0
    assert clock.interval_s("fast", 10.0)[1] == 10.0
    assert clock.interval_s("rare", 10.0)[1] == clock.interval_s("never seen", 10.0)[1] == 10.0
    assert clock.pairs == 9


def test_a_clock_says_the_error_of_what_it_does():
    steady = [Finished("slow", 1.0, 4.0)] * 3 + [Finished("fast", 1.0, 1.0)] * 3
    assert Clock.learn(steady).error == 0.0
    mixed = [*steady, Finished("rare", 1.0, 2.0)]  # predicted from all others, the median of which is 2.5
    assert Clock.learn([*steady[:3], mixed[-1]]).error == 0.0
    assert Clock.learn([Finished("a", 1.0, 1.0), Finished("b", 1.0, 2.0)]).error == pytest.approx(0.75)
    assert Clock.learn([]).error is None
    assert Clock.learn(steady[:1]).error is None


@pytest.mark.parametrize("pair", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_pairs_without_a_ratio_are_refused(pair):
    with pytest.raises(ValueError, match="must be above 0"):
        calibrate([pair])


@pytest.mark.parametrize(
    "changes", [{"training_tokens": -1}, {"steps": -1}, {"parameters": 0}, {"layers": 0}, {"sequence_tokens": -2.0}]
)
def test_impossible_work_is_refused(changes):
    with pytest.raises(ValueError, match="a stage's"):
        replace(WORK, **changes)


def test_no_rank_and_no_speed_are_refused():
    with pytest.raises(ValueError, match="at least 1 rank, not on 0"):
        expected_s(WORK, CPU_CORE, 0)
    with pytest.raises(ValueError, match="must be above 0"):
        Speed(0.0, 1e9)
