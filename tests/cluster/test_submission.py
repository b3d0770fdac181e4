"""Sweeps through a real SLURM: the numbers of the local door, each stage once, whatever happens to the submitter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import status
from launch.job.records import array_folders, in_queue
from launch.submit.reconcile import left_over
from slurm.commands import SlurmError, queue
from slurm.profile import ProfileError
from slurm.script import ArrayExecutor
from tests.cluster.jobs import wait_until
from tests.cluster.sweeps import SmallSweep, outcome

pytestmark = pytest.mark.slow


def retain(*words: object, timeout_s: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", **variables}
    command = [sys.executable, "-m", "launch.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout_s)


def stages_in_queue(sweep: SmallSweep) -> list[str]:
    """Keys of stages by every element that holds them: a stage twice in the queue is there twice."""
    living = {(job.name, job.job_id.partition("_")[2]) for job in queue() if job.living}
    return [
        key
        for folder in array_folders(sweep.store.root)
        for index, keys in enumerate(folder.record.elements)
        if (folder.name, str(index)) in living
        for key in keys
    ]


@pytest.fixture
def full(cluster):
    """All nodes are taken by another's job, so that what is submitted stays pending; then they are free again."""
    job = cluster.run("sbatch", "--parsable", "--output=/dev/null", "-N4", "--exclusive", "--wrap", "srun sleep 600")
    wait_until(lambda: cluster.run("squeue", "-h", "-j", job, "-o", "%T") == "RUNNING", "the nodes to be taken")
    yield
    cluster.run("scancel", job)


@pytest.mark.timeout(900)
def test_a_sweep_over_the_cluster_gives_the_numbers_of_the_local_door(sweep, sandbox, tmp_path):
    changes = {"intermediates": ["none", "squad"], "seeds": [1, 2]}
    there, here = sweep(**changes), SmallSweep.write(tmp_path / "here", sandbox, **changes)
    done = there.submit()
    assert (done.stages, done.left) == (len(there.plan.stages), 0)
    states = there.wait(600)
    assert set(states.values()) <= {"completed", "diverged"}, there.logs()
    local = retain("run", here.file, timeout_s=600)
    assert local.returncode == 0, local.stderr
    assert outcome(there) == outcome(here)
    hosts = {event["host"] for label in states for event in there.events(label, "attempt")}
    assert len(hosts) > 1
    assert there.submit().stages == 0


def test_what_is_under_way_is_not_sent_again(sweep, full):
    one = sweep()
    first, second = one.submit(), one.submit()
    assert first.stages == len(one.plan.stages) == second.in_queue
    assert second.stages == 0
    assert sorted(stages_in_queue(one)) == sorted(stage.key for stage in one.plan.stages)


def test_a_submitter_killed_between_sbatch_and_anything_else_submits_nothing_twice(sweep, full, monkeypatch):
    one = sweep()
    send = ArrayExecutor.send

    def send_and_die(self: ArrayExecutor) -> str:
        send(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(ArrayExecutor, "send", send_and_die)
    with pytest.raises(KeyboardInterrupt):
        one.submit()
    sent = len(stages_in_queue(one))
    assert sent
    monkeypatch.setattr(ArrayExecutor, "send", send)
    assert one.submit().stages == len(one.plan.stages) - sent
    assert sorted(stages_in_queue(one)) == sorted(stage.key for stage in one.plan.stages)


def test_an_sbatch_that_times_out_though_the_job_was_accepted_is_found_by_name(sweep, full, monkeypatch, tmp_path):
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    slow = tmp_path / "bin" / "sbatch"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\n{real} "$@" >/dev/null\nexec sleep 60\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("slurm.script.SBATCH_TIMEOUT_S", 2.0)
    one = sweep(intermediates=["none"])
    assert one.submit().stages == len(one.plan.stages)
    assert sorted(stages_in_queue(one)) == sorted(stage.key for stage in one.plan.stages)


def test_an_sbatch_that_times_out_without_a_job_is_told_and_sent_the_next_time(sweep, full, monkeypatch, tmp_path):
    lost = tmp_path / "bin" / "sbatch"
    lost.parent.mkdir()
    lost.write_text("#!/bin/sh\nexec sleep 60\n")
    lost.chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{lost.parent}:{path}")
    monkeypatch.setattr("slurm.script.SBATCH_TIMEOUT_S", 1.0)
    monkeypatch.setattr("launch.submit.send.LOST_ANSWER_S", 2.0)
    one = sweep(intermediates=["none"])
    with pytest.raises(SlurmError, match="did not answer"):
        one.submit()
    monkeypatch.setenv("PATH", path)
    assert one.submit().stages == len(one.plan.stages)


def test_two_submitters_at_once_send_each_stage_once(sweep, full):
    one = sweep()
    words = [sys.executable, "-m", "launch.cli", "submit", str(one.file), "--cluster", str(cluster_file(one))]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(stages_in_queue(one)) == sorted(stage.key for stage in one.plan.stages)


def test_two_sweeps_of_one_store_share_what_both_need(sweep, full, sandbox, tmp_path):
    one = sweep()
    one.submit()
    other = SmallSweep.write(
        tmp_path / "other", sandbox, name="other", store=str(one.store.root), targets=["xnli", "pawsx"]
    )
    shared = {stage.key for stage in one.plan.stages} & {stage.key for stage in other.plan.stages}
    done = other.submit()
    assert done.in_queue == len(shared) > 0
    assert done.stages == len(other.plan.stages) - len(shared)


def test_where_jobs_are_private_slurm_does_not_know_the_living_job_of_another_user(full, cluster):
    """So `slurm.job.job_runs` must not take that word for an end, or the job's stage would be taken over."""
    conf = cluster.root / "etc/slurm.conf"
    before = conf.read_text()
    (job,) = (job.job_id for job in queue() if job.living)
    try:
        conf.write_text(f"{before}\nPrivateData=jobs\n")
        cluster.run("scontrol", "reconfigure")
        asked = ["scontrol", "show", "job", job]
        asked_by = {
            user: subprocess.run(asked, user=user, capture_output=True, text=True) for user in ("root", "nobody")
        }
    finally:
        conf.write_text(before)
        cluster.run("scontrol", "reconfigure")
    assert "JobState=RUNNING" in asked_by["root"].stdout
    assert "Invalid job id" in asked_by["nobody"].stderr


@pytest.fixture
def failing_prolog(cluster):
    """Every node fails in what an administrator has it run before a job; call it to mend them."""
    conf, prolog = cluster.root / "etc/slurm.conf", cluster.root / "etc/prolog.sh"
    before = conf.read_text()
    prolog.write_text("#!/bin/sh\nexit 1\n")
    prolog.chmod(0o755)
    conf.write_text(f"{before}\nProlog={prolog}\n")
    cluster.run("scontrol", "reconfigure")

    def mended() -> None:
        conf.write_text(before)
        cluster.run("scontrol", "reconfigure")
        if drained := cluster.run("sinfo", "--noheader", "--states=drain", "--partition=main", "--format=%N"):
            cluster.run("scontrol", "update", f"NodeName={drained}", "State=RESUME")

    yield mended
    mended()


def test_a_job_that_slurm_holds_because_no_node_could_start_it_is_let_go(sweep, failing_prolog):
    one = sweep(intermediates=["none"], targets=["tatoeba"])
    one.submit()
    wait_until(lambda: any(job.launch_failed for job in queue()), "SLURM to hold the job")
    assert "held by SLURM" in status.survey(one.plan, one.store, queued=in_queue(one.store.root, queue()))[0].detail
    failing_prolog()
    again = one.submit()
    assert (again.stages, again.in_queue) == (0, 1)
    assert "held by SLURM" in again.notes[0]
    assert set(one.wait().values()) == {"completed"}, one.logs()


def test_at_the_submit_limit_what_fits_is_sent_and_the_rest_the_next_time(sweep, full, cluster):
    one = sweep(seeds=[1, 2]).under(max_submitted=4)  # the job that takes the nodes counts, too
    first = one.submit()
    assert first.elements == 3
    assert first.left == len(one.plan.stages) - first.stages > 0
    assert one.submit().stages == 0
    more = one.under(max_submitted=100).submit()
    assert more.stages == first.left
    assert more.left == 0


def test_arrays_are_cut_at_max_array_size(sweep, full):
    one = sweep(seeds=[1, 2, 3]).under(max_array_size=3)  # the largest index is 2: of 0, 1, 2 SLURM takes 0 and 1
    one.submit()
    sizes = [len(folder.record.elements) for folder in array_folders(one.store.root)]
    assert max(sizes) == 2
    assert sorted(stages_in_queue(one)) == sorted(stage.key for stage in one.plan.stages)


def test_pending_jobs_of_removed_arms_are_offered_for_cancelling(sweep, full):
    sweep().submit()
    less = sweep(intermediates=["none"])
    found = left_over(less.plan, queue(), less.store.root)
    assert len(found) == 2
    assert all("mnli" in what for what in found.values())
    done = retain("submit", less.file, "--cluster", cluster_file(less), "--cancel-removed")
    assert done.returncode == 0, done.stderr
    assert "cancelled" in done.stdout
    wait_until(lambda: not left_over(less.plan, queue(), less.store.root), "removed arms to leave the queue")
    assert in_queue(less.store.root, queue())


def cluster_file(sweep: SmallSweep) -> Path:
    path = sweep.file.with_name("cluster.yaml")
    path.write_text("\n".join(f"{name}: {value}" for name, value in sweep.profile.model_dump().items() if value))
    return path


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"partition": "nowhere"}, "invalid partition"),
        ({"qos": "none-such"}, "[Ii]nvalid qos"),
        ({"account": "none-such"}, "[Ii]nvalid account"),
        ({"constraint": "no-such-feature"}, "[Ii]nvalid feature"),
        ({"memory_per_rank_gib": 9999}, "[Mm]emory|node configuration"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words(sweep, profile, said):
    one = sweep(profile)
    with pytest.raises(SlurmError, match=said):
        one.submit()
    assert not stages_in_queue(one)


def test_a_qos_that_refuses_more_jobs_is_told_with_the_way_on(sweep, full):
    one = sweep({"qos": "tiny"})
    with pytest.raises(SlurmError, match=r"QOSMaxSubmitJobPerUserLimit.*max_submitted"):
        one.submit()
    sent = stages_in_queue(one)
    assert len(set(sent)) == len(sent) < len(one.plan.stages)
    again = one.under(max_submitted=3).submit()  # the job that takes the nodes counts, too
    assert again.stages == 0
    assert again.left == len(one.plan.stages) - len(sent)


def test_more_gpus_than_a_node_has_are_refused_before_anything_is_sent(sweep):
    with pytest.raises(ProfileError, match="more GPUs than the 2"):
        sweep({"scales": {"sandbox-s": {"ranks_per_node": 3}}}).submit()


def test_a_store_with_any_name_works_and_no_shell_reads_it(sweep, tmp_path):
    folder = tmp_path.joinpath(
        "a b", "it's", 'say "hi"', "$(touch pwned)", "`touch pwned`", "semi;colon #", "100%j", "ünï"
    )
    one = sweep(intermediates=["none"], targets=["tatoeba"], store=str(folder / "store"))
    one.submit()
    assert set(one.wait().values()) == {"completed"}, one.logs()
    assert not list(Path.cwd().glob("pwned")) + list(tmp_path.rglob("pwned"))
