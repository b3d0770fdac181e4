"""How much of a run is done and when it ends: from made-up statuses of stages whose true costs are known."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace
from typing import Any

import pytest

from launch import local
from launch.estimate.costs import Prediction
from launch.pace import Outlook, Pace, about
from launch.status import StageStatus

STEPS = 40


def stage(number: int, scale: str = "s", kind: str = "target") -> Any:
    name = f"{scale}-{kind}-{number}"
    return SimpleNamespace(key=name, label=name, scale=SimpleNamespace(name=scale), kind=kind)


STAGES = [stage(number, scale) for number in range(12) for scale in ("s", "m", "l")]
TRUE_S = {one.key: {"s": 2.0, "m": 5.0, "l": 14.0}[one.scale.name] * (1 + int(one.label[-1]) / 20) for one in STAGES}
PROCESSES = 2


def predicted(seconds: dict[str, float]) -> Prediction:
    return Prediction({key: (value, value, value) for key, value in seconds.items()}, 0, dict.fromkeys(TRUE_S, STEPS))


def schedule(stages=STAGES) -> dict[str, tuple[float, float]]:
    """When each stage begins and ends: a process takes the next when it has nothing to do."""
    free_s, found = [0.0] * PROCESSES, {}
    for one in stages:
        begins_s = min(free_s)
        found[one.key] = begins_s, begins_s + TRUE_S[one.key]
        free_s[free_s.index(begins_s)] += TRUE_S[one.key]
    return found


def at(elapsed_s: float, stages=STAGES, before: dict[str, StageStatus] | None = None) -> list[StageStatus]:
    """The statuses after so long."""
    found, times = {one.key: StageStatus(one, "waiting") for one in STAGES} | (before or {}), schedule(stages)
    for one in stages:
        begins_s, ends_s = times[one.key]
        if elapsed_s >= ends_s:
            found[one.key] = StageStatus(one, "completed", seconds=ends_s - begins_s)
        elif elapsed_s > begins_s:
            step = int(STEPS * (elapsed_s - begins_s) / (ends_s - begins_s))
            found[one.key] = StageStatus(one, "running", step=step)
    return list(found.values())


def ends_after(stages=STAGES) -> float:
    return max(ends_s for _, ends_s in schedule(stages).values())


def wrong_by(**factors: float) -> dict[str, float]:
    return {key: seconds * factors[key[0]] for key, seconds in TRUE_S.items()}


PREDICTIONS = {
    "right": wrong_by(s=1, m=1, l=1),
    "four times too long": wrong_by(s=4, m=4, l=4),
    "four times too short": wrong_by(s=0.25, m=0.25, l=0.25),
    "wrong by scale": wrong_by(s=3, m=1, l=0.4),
    "wrong at random": {key: value * random.Random(key).uniform(0.3, 3) for key, value in TRUE_S.items()},
    "unknown": {},
    "known of a few": dict([*wrong_by(s=1, m=1, l=1).items()][:5]),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_share_rises_to_the_end_and_no_further(name):
    pace, end, last = Pace(predicted(PREDICTIONS[name]), PROCESSES), ends_after(), 0.0
    for tick in range(int(end)):
        found = pace.look(at(tick), tick)
        assert last <= found.share < 1, f"at {tick} s"
        last = found.share
    assert last > 0.9
    assert pace.look(at(end), end) == Outlook(1.0, 0.0)


@pytest.mark.parametrize("name", [name for name in PREDICTIONS if name not in ("unknown", "known of a few")])
def test_from_a_third_on_the_end_is_foretold_to_a_third(name):
    pace, end = Pace(predicted(PREDICTIONS[name]), PROCESSES), ends_after()
    for tick in range(int(end)):
        found = pace.look(at(tick), tick)
        if end / 3 < tick < end - 10:
            assert tick + found.left_s == pytest.approx(end, rel=0.34), f"at {tick} s"


def test_a_right_prediction_is_told_before_anything_has_run():
    found = Pace(predicted(PREDICTIONS["right"]), PROCESSES).look(at(0), 0.0)
    assert found.share == 0
    assert found.left_s == pytest.approx(ends_after(), rel=0.05)


def test_no_run_ends_before_its_longest_stage():
    one, other = STAGES[:2]
    pace = Pace(predicted({one.key: 100.0, other.key: 4.0}), PROCESSES)
    assert pace.look([StageStatus(one, "waiting"), StageStatus(other, "waiting")], 0.0).left_s == 100


def test_a_resumed_sweep_begins_where_it_was():
    half = STAGES[: len(STAGES) // 2]
    before = {one.key: StageStatus(one, "completed", seconds=TRUE_S[one.key]) for one in half}
    others = [one for one in STAGES if one.key not in before]
    pace = Pace(predicted({one.key: TRUE_S[one.key] for one in others}), PROCESSES)
    done = sum(TRUE_S[one.key] for one in half) / sum(TRUE_S.values())
    found = pace.look(at(0, others, before), 0.0)
    assert found.share == pytest.approx(done)
    assert found.left_s == pytest.approx(ends_after(others), rel=0.1)
    end = ends_after(others)
    assert pace.look(at(end, others, before), end).share == 1


def test_steps_of_a_stage_that_was_interrupted_count_once():
    """It was predicted by the steps that are left."""
    one = STAGES[0]
    pace = Pace(predicted({one.key: 10.0}), 1)
    assert pace.look([StageStatus(one, "interrupted", step=30)], 0.0) == Outlook(0.0, 10.0)
    assert pace.look([StageStatus(one, "running", step=30)], 0.1).share == 0
    halfway = pace.look([StageStatus(one, "running", step=35)], 5.0)
    assert 0.4 < halfway.share < 0.6
    assert 4 < halfway.left_s < 7


def test_a_failed_stage_and_what_it_blocks_take_no_time_and_are_not_done():
    pace = Pace(predicted(PREDICTIONS["right"]), PROCESSES)
    lost = {STAGES[2].key: "failed", STAGES[5].key: "blocked"}
    others = [one for one in STAGES if one.key not in lost]
    gone = {one.key: StageStatus(one, lost[one.key]) for one in STAGES if one.key in lost}
    assert pace.look(at(0, others, gone), 0.0).left_s == pytest.approx(ends_after(others), rel=0.05)
    found = pace.look(at(1e3, others, gone), ends_after(others))
    assert found.left_s == 0
    assert 0.8 < found.share < 1


def test_a_retry_that_nobody_foresaw_takes_time():
    one, retry = STAGES[0], stage(99)
    pace = Pace(predicted({one.key: 10.0}), 1)
    found = pace.look([StageStatus(one, "diverged", seconds=10.0), StageStatus(retry, "waiting")], 10.0)
    assert found.share == pytest.approx(0.5, abs=0.05)
    assert found.left_s == pytest.approx(10, rel=0.2)


def test_nothing_to_do_is_done():
    done = [StageStatus(one, "completed", seconds=1.0) for one in STAGES]
    assert Pace(predicted({}), 0).look(done, 0.0) == Outlook(1.0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "5 s"),
        (52, "50 s"),
        (92, "1 min 30 s"),
        (119.9, "2 min"),
        (740, "12 min"),
        (3600, "1 h"),
        (7900, "2 h 10 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_guess_is_told_no_finer_than_it_is(seconds, words):
    assert about(seconds) == words


# -- in a log -----------------------------------------------------------------------------------------------------


def test_a_log_says_how_far_the_run_is_now_and_then(capsys):
    pace, log, end = Pace(predicted(PREDICTIONS["right"]), PROCESSES), local.Log(), ends_after()
    for tick in range(int(end)):
        statuses = at(tick)
        log.show(statuses, pace.look(statuses, tick), tick)
    lines = capsys.readouterr().out.splitlines()
    assert end / 20 < len(lines) <= end / local.LINE_EVERY_S
    for line in lines:
        assert re.match(
            r"\[ *\d+ s\] \d+ % done, about [\d minshd]+ left \(ends \d\d:\d\d\)  completed  [sml]-", line
        ), line
    assert any(line.endswith(" more") for line in lines)


def test_a_log_tells_each_failure_at_once_and_a_quiet_run_what_runs(capsys):
    log, outlook = local.Log(), Outlook(0.25, 90.0)
    log.show([StageStatus(STAGES[0], "failed", "crash: no luck"), StageStatus(STAGES[1], "running")], outlook, 1.0)
    assert capsys.readouterr().out == f"[    1 s] failed     {STAGES[0].label}  crash: no luck\n"
    statuses = [StageStatus(STAGES[0], "failed"), StageStatus(STAGES[1], "running", "step 20, loss 1.000")]
    log.show(statuses, outlook, local.QUIET_S - 1)
    assert capsys.readouterr().out == ""
    log.show(statuses, outlook, local.QUIET_S)
    told = capsys.readouterr().out
    assert told.startswith("[   60 s] 25 % done, about 1 min 30 s left (ends ")
    assert told.endswith(f")  running  {STAGES[1].label}  step 20, loss 1.000\n")
