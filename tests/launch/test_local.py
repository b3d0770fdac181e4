"""The local door: runs what is missing, survives kills, and leaves each stage done exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from trainers.store import Store

pytestmark = pytest.mark.slow


def start(path: Path, command: str = "run", *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "launch.cli", command, str(path), *more],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200"},
    )


def finish(process: subprocess.Popen[str], timeout: float = 480) -> str:
    output, _ = process.communicate(timeout=timeout)
    return output


def wait_for(condition, timeout: float = 120) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def results(path: Path) -> dict[str, dict]:
    sweep = load_sweep(path)
    store = Store(sweep.store)
    return {stage.label: store.entry(stage.key).result for stage in make_plan(sweep).stages}


def completed_once(path: Path) -> None:
    sweep = load_sweep(path)
    for stage in make_plan(sweep).stages:
        ended = [
            event
            for event in Store(sweep.store).entry(stage.key).events("ended")
            if event["outcome"] in ("completed", "diverged")
        ]
        assert len(ended) == 1, f"{stage.label} was completed {len(ended)} times"


def test_a_sweep_runs_and_a_second_run_retrains_nothing(sweep_file):
    path = sweep_file()
    process = start(path)
    output = finish(process)
    assert process.returncode == 0, output
    assert "5 stages" in output
    assert all(results(path).values())
    store = load_sweep(path).store
    before = {file: file.stat().st_mtime_ns for file in store.rglob("*") if file.is_file()}
    assert finish(start(path)).strip().startswith("5 stages")
    assert {file: file.stat().st_mtime_ns for file in store.rglob("*") if file.is_file()} == before


def test_two_processes_running_the_same_sweep_share_the_work(sweep_file):
    path = sweep_file()
    both = [start(path), start(path)]
    outputs = [finish(process) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    completed_once(path)


def test_killed_workers_are_replaced_by_running_again(sweep_file):
    path = sweep_file(overrides={"*": {"max_steps": 60}}, execution={"checkpoint_every_s": 0})
    sweep = load_sweep(path)
    stage = next(stage for stage in make_plan(sweep).stages if stage.kind == "intermediate")
    entry = Store(sweep.store).entry(stage.key)
    process = start(path)
    wait_for(lambda: len(entry.events("checkpoint")) >= 3)
    holder = entry.claimant()
    assert holder is not None
    os.kill(holder["pid"], signal.SIGKILL)
    assert "interrupted" in finish(process)
    assert process.returncode == 1
    again = start(path)
    assert "interrupted" not in finish(again)
    assert again.returncode == 0
    assert entry.events("resumed"), "the killed stage must go on from its checkpoint"
    completed_once(path)


def test_ctrl_c_saves_and_the_next_run_goes_on(sweep_file):
    path = sweep_file(overrides={"*": {"max_steps": 100}})
    sweep = load_sweep(path)
    entries = [Store(sweep.store).entry(stage.key) for stage in make_plan(sweep).stages]
    process = start(path)
    wait_for(lambda: any(entry.events("step") for entry in entries))
    process.send_signal(signal.SIGINT)
    assert "stopping" in finish(process)
    stopped = [entry for entry in entries if entry.events("ended") and not entry.done]
    assert stopped, "a running stage must have been stopped"
    assert all(entry.events("ended")[-1]["outcome"] == "preempted" for entry in stopped)
    assert finish(start(path)).strip().endswith("completed") or all(results(path).values())
    assert all(entry.events("resumed") for entry in stopped)


def test_data_that_change_under_a_sweep_stop_only_what_needs_them(sweep_file, mirror_copy):
    """The stage fails with its cause, its children are blocked, and the rest is done."""
    from launch.job.bundle import Bundle
    from launch.job.rank import StopFlag, run_stages
    from launch.status import survey
    from trainers.stage import Execution
    from trainers.store.tracking import Tracking

    path = sweep_file(mirror=str(mirror_copy), targets=["pawsx", "tatoeba"])
    sweep = load_sweep(path)
    plan = make_plan(sweep)
    train = mirror_copy / "nyu-mll/glue/mnli/train.parquet"
    pl.read_parquet(train).head(50).write_parquet(train)
    run_stages(
        Bundle(
            store=sweep.store,
            mirror=mirror_copy,
            execution=Execution(threads=1),
            tracking=Tracking(mode="disabled"),
            stages=plan.stages,
        ),
        StopFlag(),
    )
    states = {status.stage.label: status for status in survey(plan, Store(sweep.store))}
    assert states["sandbox-s · mnli · seed 1"].state == "failed"
    assert "bad_data" in states["sandbox-s · mnli · seed 1"].detail
    assert states["sandbox-s · mnli → tatoeba · seed 1"].state == "blocked"
    assert states["sandbox-s · none → tatoeba · seed 0"].state == "completed"


def test_the_debug_door_gives_the_numbers_of_the_local_door(sweep_file, tmp_path):
    path = sweep_file(intermediates=["none"], targets=["xnli"], execution={"threads": 1})
    finish(start(path))
    stage = make_plan(load_sweep(path)).stages[0]
    debugged = start(path, "debug", "--stage", stage.key[:8], "--store", str(tmp_path / "debug"))
    assert stage.key in finish(debugged)

    def numbers(store: Path) -> list:
        entry = Store(store).entry(stage.key)
        return [(event["step"], event["loss"]) for event in entry.events("step")] + [
            (event["language"], event["value"]) for event in entry.events("measured")
        ]

    assert numbers(tmp_path / "debug") == numbers(load_sweep(path).store)
    assert json.loads((tmp_path / "debug" / "stages" / stage.key / "provenance.json").read_text())["attempts"] == 1
