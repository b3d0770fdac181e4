"""What an operator may do to stages, without a queue."""

from __future__ import annotations

import json

import pytest

from launch import status
from launch import story as operate
from launch.story import allow_retry, lines_of
from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from trainers.store import EventLog, Store

RESULT = {"outcome": "completed", "evidence": None, "seconds": {"train": 1.0}}


@pytest.fixture
def sweep(sweep_file, tmp_path):
    return make_plan(load_sweep(sweep_file())), Store(tmp_path / "store")


def log(entry, *events: dict) -> None:
    one = EventLog(entry)
    for event in events:
        one.write(**event)
    one.close()


def state(plan, store, stage) -> str:
    return next(one.state for one in status.survey(plan, store) if one.stage.key == stage.key)


def test_a_failed_stage_waits_once_it_is_let_run_again(sweep):
    plan, store = sweep
    stage = plan.stages[0]
    entry = store.open(stage)
    log(entry, {"event": "attempt"}, {"event": "ended", "outcome": "crash", "evidence": "KeyError"})
    assert state(plan, store, stage) == "failed"
    assert allow_retry(entry)
    assert state(plan, store, stage) == "waiting"
    log(entry, {"event": "attempt"}, {"event": "ended", "outcome": "crash", "evidence": "KeyError"})
    assert state(plan, store, stage) == "failed"


def test_what_was_never_begun_or_is_done_needs_no_letting(sweep):
    plan, store = sweep
    assert not allow_retry(store.entry(plan.stages[0].key))
    entry = store.open(plan.stages[0])
    (entry.folder / "result.json").write_text(json.dumps(RESULT))
    assert not allow_retry(entry)
    assert entry.done


def test_what_lost_its_encoder_to_pruning_is_trained_again_and_its_result_kept(sweep):
    plan, store = sweep
    entry = store.open(plan.stages[0])
    (entry.folder / "result.json").write_text(json.dumps(RESULT))
    log(entry, {"event": "pruned", "folder": "encoder"})
    assert allow_retry(entry)
    assert state(plan, store, plan.stages[0]) == "waiting"
    assert [json.loads(path.read_text()) for path in entry.folder.glob("result-before-*.json")] == [RESULT]


def test_a_log_is_shown_from_its_last_lines_on_and_never_a_part_of_a_line(tmp_path, monkeypatch):
    log = tmp_path / "rank-0.txt"
    log.write_text("one\ntwo\nthree\nfo")
    grows = iter(["ur\n\nsi", "x"])

    def more(_seconds: float) -> None:
        with log.open("a") as file:
            file.write(next(grows))

    monkeypatch.setattr(operate.time, "sleep", more)
    looks = iter([False, False, True])
    assert list(lines_of(log, 2, lambda: next(looks))) == ["two", "three", "four", "", "six"]


@pytest.mark.parametrize(("most", "shown"), [(0, []), (1, ["two"]), (9, ["one", "two"])])
def test_as_many_lines_are_shown_as_are_asked_for(tmp_path, most, shown):
    log = tmp_path / "rank-0.txt"
    log.write_text("one\ntwo\n")
    assert list(lines_of(log, most, lambda: True)) == shown
