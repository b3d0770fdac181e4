"""Jobs that are stopped, killed, cut off or cancelled on a real SLURM: every stage ends as if nothing had happened.

Where submitit 1.5.4 alone would go wrong:
    test_two_nodes_save_together…           its handler saves on rank 0 only; requeues from inside the step that dies
                                            of it; takes every signal for a timeout if the limit is ten minutes or less
    test_a_lost_node_costs…                 it believes the NODE_FAIL that sacct shows before a requeue
    test_a_job_preempted_for_good…          it waits for such a job for ever
    test_a_whole_sweep_in_one_allocation…   (test_operating) without srun its signal reaches nobody
"""

from __future__ import annotations

import pickle
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.job.records import in_queue
from launch.story import allow_retry
from launch.submit.snapshot import Snapshot
from slurm.commands import cancel, queue
from slurm.profile import load_profile
from tests.cluster.jobs import queued, wait_until
from tests.cluster.sweeps import CODE, SmallSweep, outcome
from tests.cluster.test_submission import retain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG: dict[str, Any] = {"intermediates": ["mnli"], "targets": ["tatoeba"], "overrides": {"*": {"max_steps": 300}}}
"""At the step that a test waits for, many are left: a command takes a second or two, in which a stage must not end."""
LONG_ON_TWO = {**LONG, "overrides": {"*": {"max_steps": 70}}}
"""Steps of two ranks take longer."""
FIRST = "· mnli ·"
"""Label of the stage that trains, and leaves weights; what waits for it only shows that it still waits."""


def across_nodes(zero_stage: int) -> dict:
    """A placement of two ranks on two nodes."""
    return {"scales": {"sandbox-s": {"nodes": 2, "ranks_per_node": 1, "zero_stage": zero_stage}}}


@pytest.fixture
def undisturbed(cluster, shared, sandbox):
    """What the long sweep leaves when nothing happens to it, by ZeRO stage (None: one rank)."""

    def of(zero_stage: int | None) -> Any:
        def fill(folder: Path) -> None:
            if zero_stage is None:
                one = SmallSweep.write(folder, sandbox, **LONG)
            else:
                one = SmallSweep.write(folder, sandbox, across_nodes(zero_stage), **LONG_ON_TWO)
            one.submit()
            (folder / "left").write_bytes(pickle.dumps(first_of(one)))

        return pickle.loads((shared(f"undisturbed-{zero_stage}", fill) / "left").read_bytes())

    return of


def first_of(sweep: SmallSweep) -> Any:
    """All that the first stage leaves, once it has ended; what waits for it is let go."""
    states = sweep.wait_for(FIRST)
    assert states[next(label for label in states if FIRST in label)] in ("completed", "diverged"), sweep.logs()
    cancel(job.job_id for job in in_queue(sweep.store.root, queue()).values())
    return next(left for label, left in outcome(sweep).items() if FIRST in label)


def assert_nothing_happened(sweep: SmallSweep, expected: Any) -> None:
    assert first_of(sweep) == expected
    ends = [event["outcome"] for event in sweep.events(FIRST, "ended")]
    assert len([end for end in ends if end in ("completed", "diverged")]) == 1, "it was run to its end twice"


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_two_nodes_save_together_when_told_to_and_resume_bit_for_bit(cluster, sweep, undisturbed, zero_stage):
    expected = undisturbed(zero_stage)
    one = sweep({**across_nodes(zero_stage), "time_limit_min": 10}, **LONG_ON_TWO)
    one.submit()
    one.wait_for_step(FIRST, 30)
    cluster.run("scancel", "--signal=USR2", one.job_of(FIRST))
    assert_nothing_happened(one, expected)
    assert next(event["outcome"] for event in one.events(FIRST, "ended")) == "preempted"
    assert one.events(FIRST, "resumed")[0]["step"] >= 30
    causes = [note["record"]["cause"] for note in one.decisions()]
    assert causes.count("preempted") == 1


def test_a_stage_stopped_on_two_ranks_goes_on_at_one(cluster, sweep, undisturbed):
    expected, _, _, _ = undisturbed(2)
    two = sweep(across_nodes(2), **LONG_ON_TWO)
    two.submit()
    two.wait_for_step(FIRST, 30)
    cluster.run("scancel", two.job_of(FIRST))
    two.wait()
    saved = max(event["step"] for event in two.events(FIRST, "checkpoint"))
    alone = two.under(scales={})
    alone.submit()
    first_of(alone)
    assert alone.events(FIRST, "resumed")[-1]["step"] == saved
    assert [event["world_size"] for event in alone.events(FIRST, "attempt")] == [2, 1]
    losses = {event["step"]: event["loss"] for event in alone.events(FIRST, "step")}
    assert losses.keys() == expected.keys()
    assert {step: losses[step] for step in range(1, saved + 1)} == {
        step: expected[step] for step in range(1, saved + 1)
    }
    # Dropout is drawn for each micro-batch, and one rank cuts others than two: equal in distribution, not in bits.
    assert losses == pytest.approx(expected, rel=0.1)


def test_a_lost_node_costs_what_was_done_since_the_last_checkpoint(cluster, sweep, undisturbed):
    expected = undisturbed(None)
    one = sweep(**LONG)
    one.submit()
    one.wait_for_step(FIRST, 60)
    job = one.job_of(FIRST)
    one.node_of(job, cluster).kill()
    seen = set()

    def requeued() -> bool:
        seen.update(one.states().values())
        return len(one.events(FIRST, "attempt")) > 1

    wait_until(requeued, "the job to run elsewhere")
    # sacct says NODE_FAIL for some seconds before the requeue: who believes it gives the job up.
    assert "failed" not in seen
    assert_nothing_happened(one, expected)


def test_a_killed_rank_is_run_again(cluster, sweep, undisturbed):
    expected = undisturbed(None)
    one = sweep(**LONG)
    one.submit()
    one.wait_for_step(FIRST, 60)
    one.kill_rank(one.job_of(FIRST), cluster)
    assert_nothing_happened(one, expected)
    assert one.decisions()[0]["record"]["cause"] == "killed"


def test_a_preempted_job_saves_makes_way_and_comes_back(cluster, sweep, undisturbed):
    expected = undisturbed(None)
    one = sweep({"partition": "scavenge"}, **LONG)
    one.submit()
    one.wait_for_step(FIRST, 40)
    urgent = cluster.run(
        "sbatch", "--parsable", "--output=/dev/null", "-p", "main", "-N4", "--exclusive", "--wrap", "sleep 3"
    )
    wait_until(lambda: queued(cluster, urgent) in ("RUNNING", ""), "the urgent job to run")
    assert_nothing_happened(one, expected)
    assert next(event["outcome"] for event in one.events(FIRST, "ended")) == "preempted"
    assert one.decisions()[0]["record"]["cause"] == "preempted"


def hooked(folder: Path, code: str) -> Snapshot:
    """The code under test with a change that every rank makes at its start."""
    folder.mkdir()
    (folder / "change.py").write_text(code)
    (folder / "sitecustomize.py").write_text("import sys\nif 'launch.job.rank' in sys.orig_argv:\n    import change\n")
    return Snapshot(folder, None, False)


SLOW_AT_FIRST = """
import os, time, trainers.training.step
whole = trainers.training.step.Engine.step
def step(self, *args, **kwargs):
    if "SLURM_RESTART_COUNT" not in os.environ:
        time.sleep(0.6)
    return whole(self, *args, **kwargs)
trainers.training.step.Engine.step = step
"""


def test_at_the_time_limit_a_job_saves_and_is_requeued(cluster, sweep, undisturbed, tmp_path, monkeypatch):
    expected = undisturbed(None)
    monkeypatch.setenv("PYTHONPATH", str(CODE))
    one = sweep(**LONG)
    replace(one.submitter, code=hooked(tmp_path / "hook", SLOW_AT_FIRST)).submit()
    one.wait_for_step(FIRST, 5)
    job = one.job_of(FIRST)
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    wait_until(one.decisions, "the time limit to be judged", 180)
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")  # a busy machine may take a minute to start
    assert_nothing_happened(one, expected)
    assert one.decisions()[0]["record"]["cause"] == "timeout"


def test_a_cancelled_job_is_not_resurrected_and_can_be_sent_again(cluster, sweep, undisturbed):
    expected = undisturbed(None)
    one = sweep(**LONG)
    one.submit()
    one.wait_for_step(FIRST, 40)
    done = retain("cancel", one.file)
    assert "cancelled 2 jobs" in done.stdout, done
    states = one.wait()
    assert set(states.values()) == {"interrupted", "waiting"}
    time.sleep(8)  # longer than a requeue takes
    assert not [job for job in queue() if job.living]
    one.submit()
    assert_nothing_happened(one, expected)


def test_a_job_preempted_for_good_is_not_waited_for(cluster, sweep):
    one = sweep({"partition": "scavenge"}, **LONG)
    one.submit()
    one.wait_for_step(FIRST, 20)
    job = one.job_of(FIRST)
    cluster.run("scontrol", "update", f"JobId={job}", "Requeue=0")
    cluster.run("sbatch", "--parsable", "--output=/dev/null", "-p", "main", "-N4", "--exclusive", "--wrap", "sleep 1")
    states = one.wait(120)
    assert set(states.values()) == {"interrupted", "waiting"}, states
    assert one.submit().stages == 2


def test_a_failure_stops_shows_itself_and_waits_for_a_person(cluster, sandbox, tmp_path):
    mirror = shutil.copytree(sandbox, tmp_path / "mirror")
    one = SmallSweep.write(tmp_path / "own", mirror, **LONG)
    submitter = one.submitter
    damaged = next(mirror.rglob("mnli/train*.parquet"))
    whole = damaged.read_bytes()
    try:
        damaged.write_bytes(whole[:1000] + b"X" + whole[1001:])  # not what was planned with
        submitter.submit()
        wait_until(lambda: not in_queue(one.store.root, queue()), "the job to fail")
    finally:
        damaged.write_bytes(whole)
    states = one.states()
    first, second = states
    assert states == {first: "failed", second: "blocked"}
    (decision,) = [note["decision"] for note in one.decisions()]
    assert decision["action"] == "stop"
    assert "DataError" in decision["because"]
    again = one.submit()
    assert again.stages == 0
    assert "retain retry" in again.notes[0]
    why = retain("why", one.file, one.key(FIRST))
    assert "bad_data" in why.stdout, why.stdout
    assert allow_retry(one.store.entry(one.key(FIRST)))
    assert one.submit().stages == 2
    assert set(one.wait().values()) <= {"completed", "diverged"}


HUNGRY = """
import trainers.training.step, torch
whole = trainers.training.step.Engine.step
def step(self, *args, **kwargs):
    if self.execution.micro_batch_tokens > 1024:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    return whole(self, *args, **kwargs)
trainers.training.step.Engine.step = step
"""


def test_out_of_memory_halves_the_micro_batch_and_nothing_else(cluster, sweep, undisturbed, tmp_path, monkeypatch):
    expected = undisturbed(None)
    monkeypatch.setenv("PYTHONPATH", str(CODE))
    one = sweep(**LONG)
    replace(one.submitter, code=hooked(tmp_path / "hook", HUNGRY)).submit()
    first_of(one)
    ends = [note for note in one.decisions() if note["record"]["cause"] == "out_of_memory"]
    assert [note["decision"]["micro_batch_factor"] for note in ends][:2] == [0.5, 0.25]
    losses = {event["step"]: event["loss"] for event in one.events(FIRST, "step")}
    assert losses == pytest.approx(expected[0], rel=1e-3)


def test_a_bad_node_shuts_itself_out(cluster, sweep):
    bad = cluster.node(1)
    bad.run("mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt")  # its local disk is full
    try:
        profile = {"setup": ['[ "$(hostname)" != node1 ] || export TMPDIR=/mnt']}
        one = sweep(profile, targets=["tatoeba"], intermediates=["none"])
        one.submit()
        assert set(one.wait().values()) == {"completed"}, one.logs()
    finally:
        bad.run("umount", "/mnt")
    (event,) = one.events("tatoeba", "attempt")
    assert event["host"] != "node1"
    first = one.decisions()[0]
    assert first["record"]["cause"] == "node_failure"
    assert first["decision"]["exclude_nodes"] == ["node1"]


def test_a_queue_that_cannot_be_asked_is_told_and_the_store_shown(cluster, sweep):
    one = sweep(targets=["tatoeba"], intermediates=["none"])
    one.submit()
    one.wait()
    cluster.controller.stop()
    try:
        done = retain("status", one.file, timeout_s=120)
    finally:
        cluster.controller.start()
    assert done.returncode == 0
    assert "cannot be asked" in done.stdout
    assert "1 completed" in done.stdout


def test_no_command_needs_accounting(cluster, sweep, tmp_path):
    one = sweep(targets=["tatoeba"], intermediates=["none"])
    cluster.accounting.stop()
    try:
        assert retain("init", tmp_path / "found.yaml").returncode == 0
        assert load_profile(tmp_path / "found.yaml").account is None
        one.submit()
        assert set(one.wait().values()) == {"completed"}, one.logs()
    finally:
        cluster.accounting.start()
