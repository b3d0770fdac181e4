"""What an operator does on a real SLURM: look at the cluster, at a stage, at its output; change what is queued."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import yaml

from launch.status import SETTLED
from launch.story import prunable
from slurm.commands import ask, queue
from slurm.profile import load_profile
from tests.cluster.jobs import final_state, wait_until
from tests.cluster.sweeps import CODE, SmallSweep, outcome
from tests.cluster.test_submission import cluster_file, retain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_init_writes_what_it_finds_and_submit_takes_it(cluster, sweep, tmp_path):
    path = tmp_path / "cluster.yaml"
    assert retain("init", path).returncode == 0
    profile = load_profile(path)
    assert (profile.partition, profile.nodes, profile.gpus_per_node) == ("main", 4, 2)
    assert profile.gpu_request == "gpus-per-node"
    assert profile.max_array_size == cluster.settings().max_array_size
    again = retain("init", path)
    assert again.returncode == 2
    assert "not overwritten" in again.stderr
    elsewhere = retain("init", tmp_path / "other.yaml", "--partition", "nowhere")
    assert elsewhere.returncode == 2
    assert "main" in elsewhere.stderr and "scavenge" in elsewhere.stderr  # noqa: PT018
    one = sweep(intermediates=["none"], targets=["tatoeba"])
    done = retain("submit", one.file, "--cluster", path)
    assert done.returncode == 0, done.stderr
    assert "1 stages sent" in done.stdout
    assert set(one.wait().values()) == {"completed"}, one.logs()


def test_the_limit_of_submissions_is_found(cluster, tmp_path):
    cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=7")
    try:
        assert retain("init", tmp_path / "cluster.yaml").returncode == 0
    finally:
        cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=-1")
    assert load_profile(tmp_path / "cluster.yaml").max_submitted == 7


def test_plan_tells_when_slurm_would_start_it(cluster, sweep):
    one = sweep()
    done = retain("plan", one.file, "--cluster", cluster_file(one))
    assert done.returncode == 0, done.stderr
    assert time.strftime("%Y-%m-%d") in done.stdout.replace("\n", "")


def test_print_shows_the_scripts_and_sends_nothing(cluster, sweep):
    one = sweep()
    done = retain("submit", one.file, "--cluster", cluster_file(one), "--print")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("#!/bin/bash") == 3
    assert "--dependency='aftercorr:<id of retain-small-" in done.stdout
    assert not [job for job in queue() if job.living]
    assert not (one.store.root / "slurm").exists()


def test_the_story_and_the_output_of_a_stage(cluster, sweep):
    one = sweep(intermediates=["none"], targets=["xnli"])
    one.submit()
    ((label, state),) = one.wait().items()
    assert state in SETTLED, one.logs()  # which of them, thirty steps and twenty examples leave to chance
    why = retain("why", one.file, one.key(label)).stdout
    for words in ("submitted by", "attempt 1 by job", "reached step 30", f"ended {state}", f"now      {state}"):
        assert words in why
    tail = retain("tail", one.file, one.key(label))
    assert "in " in tail.stdout
    assert tail.returncode == 0
    assert retain("why", one.file, "no-such-key").returncode == 2


def test_pruning_keeps_what_an_unfinished_stage_needs(cluster, sweep):
    one = sweep(targets=["tatoeba"])
    one.submit()
    assert "completed" in one.wait().values(), one.logs()
    more = sweep(targets=["tatoeba", "xnli"])
    assert not [folder for _, folder, _ in prunable(more.plan, more.store) if folder.name == "encoder"]
    one = sweep(targets=["tatoeba"])
    done = retain("prune", one.file)
    assert done.returncode == 0
    assert "encoder" in done.stdout
    stage = next(stage for stage in one.plan.stages if stage.kind == "intermediate")
    assert not one.store.entry(stage.key).encoder.exists()
    assert set(one.states().values()) <= {"completed", "diverged"}
    # A target that is added later needs the encoder again: it is trained again, and gives the same.
    more = sweep(targets=["tatoeba", "xnli"])
    assert retain("retry", more.file, "--stage", stage.key).returncode == 0
    more.submit()
    assert set(more.wait().values()) <= {"completed", "diverged"}, more.logs()
    assert one.store.entry(stage.key).encoder.is_dir()


def test_a_whole_sweep_in_one_allocation_gives_the_same_numbers(cluster, sweep, sandbox, tmp_path, monkeypatch):
    """On two nodes with two tasks each; told of the end once, it saves, requeues itself and goes on."""
    long = {"overrides": {"*": {"max_steps": 150}}}  # a stage that is told to stop must not have ended by then
    expected = SmallSweep.write(tmp_path / "local", sandbox, **long)
    assert retain("run", expected.file).returncode == 0
    one = sweep(**long)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    asked = ["--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1", "--time=60"]
    script = str(CODE / "slurm" / "sweep.sbatch")
    job = ask(["sbatch", "--parsable", *asked, f"--output={tmp_path}/job.txt", script, str(one.file)]).strip()
    one.wait_for_step("none → xnli", 3)
    cluster.run("scancel", "--signal=USR2", "--batch", job)
    wait_until(lambda: "back into the queue" in (tmp_path / "job.txt").read_text(), "the job to save")
    assert final_state(cluster, job, 300) == "COMPLETED", (tmp_path / "job.txt").read_text()
    assert outcome(one) == outcome(expected)
    assert len(one.events("none → xnli", "attempt")) == 2


def test_more_tasks_than_the_allocation_has_are_refused(cluster, sweep, tmp_path):
    one = sweep()
    file = tmp_path / "large.yaml"
    file.write_text(yaml.safe_dump({**one.profile.model_dump(), "setup": [], "scales": {"sandbox-s": {"nodes": 3}}}))
    done = retain("run", "--steps", one.file, "--cluster", file, SLURM_JOB_ID="1", SLURM_NTASKS="2")
    assert done.returncode == 2
    assert "larger --nodes" in done.stderr
    alone = retain("run", "--steps", one.file)
    assert alone.returncode == 2
    assert "sbatch slurm/sweep.sbatch" in alone.stderr
