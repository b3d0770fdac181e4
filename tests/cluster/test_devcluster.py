"""The throwaway cluster does to jobs what a large one does."""

from __future__ import annotations

import json
import shlex
import sys

import pytest

from slurm.devcluster import DevClusterError
from tests.cluster.jobs import final_state, history, queued, sbatch, wait_for_running, wait_until

SLEEP = "exec sleep 600"
TELL_SIGNALS = (
    """srun bash -c 'trap "echo USR2" USR2; trap "echo TERM; exit" TERM; echo up; while :; do sleep 0.1; done'"""
)


def test_a_job_runs_on_a_node_and_sees_its_gpus(cluster, tmp_path):
    out = tmp_path / "out"
    job = sbatch(cluster, "echo $(hostname) $CUDA_VISIBLE_DEVICES", f"--output={out}", "--gpus-per-node=2", "-wnode3")
    assert final_state(cluster, job) == "COMPLETED"
    assert out.read_text() == "node3 0,1\n"


def test_jobs_on_one_node_get_different_gpus(cluster, tmp_path):
    jobs = [sbatch(cluster, SLEEP, "--gpus-per-node=1", "-wnode2") for _ in range(2)]
    for job in jobs:
        wait_for_running(cluster, job)
    shown = [cluster.run("scontrol", "show", "job", "--details", job) for job in jobs]
    assert [" GRES=gpu:1(IDX:0)" in text for text in shown] != [" GRES=gpu:1(IDX:1)" in text for text in shown]


def test_tasks_of_a_job_run_on_all_its_nodes(cluster):
    said = cluster.run("srun", "-N2", "--ntasks-per-node=2", "bash", "-c", "echo $(hostname) $SLURM_PROCID")
    assert sorted(said.splitlines()) == ["node1 0", "node1 1", "node2 2", "node2 3"]


def test_nodes_find_each_other_by_name(cluster):
    assert cluster.run("srun", "-wnode4", "getent", "hosts", "node2").split() == ["127.0.0.12", "node2"]


def test_ranks_start_warm_and_are_where_slurm_put_them(cluster, tmp_path):
    rank = (sys.executable, "-P", "-u", "-m", "tests.cluster.whereabouts", "one", "two words")
    said = cluster.run("srun", "-wnode[2-3]", "--ntasks-per-node=1", f"--chdir={tmp_path}", *rank)
    found = sorted(map(json.loads, said.splitlines()), key=lambda facts: facts["rank"])
    same = {"folder": str(tmp_path), "words": ["one", "two words"], "in /proc": True, "warm": True}
    assert found == [{"host": "node2", "rank": "0", **same}, {"host": "node3", "rank": "1", **same}]


def test_a_warm_rank_gets_signals_and_ends_as_any_process(cluster, tmp_path):
    out = tmp_path / "out"
    rank = shlex.join((sys.executable, "-P", "-u", "-m", "tests.cluster.whereabouts", "wait"))
    job = sbatch(cluster, f"srun {rank}; echo $?; srun {rank}; echo $?", f"--output={out}")
    told = ["--signal=USR2", "--signal=KILL"]
    for count, signal_option in enumerate(told, start=1):
        wait_until(lambda count=count: out.exists() and out.read_text().count("{") == count, "the rank to run")
        cluster.run("scancel", signal_option, f"{job}.{count - 1}")
    assert final_state(cluster, job) == "COMPLETED"
    statuses = [line for line in out.read_text().splitlines() if line.isdigit()]
    assert statuses == ["12", "137"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--gpus-per-node=3",), "Requested node configuration is not available"),
        (("--nodes=5",), "Node count specification invalid"),
        (("--partition=short", "--time=10"), "Requested time limit is invalid"),
        (("--partition=nowhere",), "Invalid partition name"),
        (("--account=nobody",), "Invalid account"),
        (("--qos=none",), "Invalid qos"),
        (("--array=0-10001",), "Invalid job array specification"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, tuple) else "",
)
def test_what_cannot_run_is_refused_with_the_reason(cluster, options, why):
    with pytest.raises(DevClusterError, match=why):
        sbatch(cluster, SLEEP, *options)


def test_the_largest_array_is_accepted(cluster):
    assert sbatch(cluster, SLEEP, "--array=0-10000%1", "--hold")


def test_jobs_beyond_the_limit_of_a_qos_are_refused(cluster):
    for _ in range(2):
        sbatch(cluster, SLEEP, "--qos=tiny")
    with pytest.raises(DevClusterError, match="QOSMaxSubmitJobPerUserLimit"):
        sbatch(cluster, SLEEP, "--qos=tiny")


def test_a_job_is_killed_beyond_its_memory(cluster):
    grow = "import time; held = bytes(range(256)) * (1 << 20); time.sleep(600)"
    job = sbatch(cluster, f"exec python3 -c '{grow}'", "--mem=50")
    assert final_state(cluster, job) == "FAILED"


def test_dependencies_of_an_array_hold_or_end_with_what_they_wait_for(cluster):
    array = sbatch(cluster, "[ $SLURM_ARRAY_TASK_ID != 1 ]", "--array=0-2%2")
    all_of_it = sbatch(cluster, "true", f"--dependency=afterok:{array}")
    each = sbatch(cluster, "true", "--array=0-2", f"--dependency=aftercorr:{array}")
    whatever = sbatch(cluster, "true", f"--dependency=afterany:{array}")
    assert [final_state(cluster, f"{array}_{index}") for index in range(3)] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert final_state(cluster, all_of_it) == "CANCELLED"
    assert [final_state(cluster, f"{each}_{index}") for index in range(3)] == ["COMPLETED", "CANCELLED", "COMPLETED"]
    assert final_state(cluster, whatever) == "COMPLETED"


def test_a_requeued_job_runs_again_in_seconds(cluster, tmp_path):
    out = tmp_path / "out"
    job = sbatch(
        cluster,
        "echo run ${SLURM_RESTART_COUNT:-0}; [ $SLURM_RESTART_COUNT ] || sleep 600",
        f"--output={out}",
        "--open-mode=append",
    )
    wait_until(lambda: out.exists() and out.read_text() == "run 0\n", "the first run")
    cluster.run("scontrol", "requeue", job)
    assert final_state(cluster, job, timeout_s=30) == "COMPLETED"
    assert [line for line in out.read_text().splitlines() if line.startswith("run")] == ["run 0", "run 1"]
    assert history(cluster, job) == ["REQUEUED", "COMPLETED"]


def test_a_restart_of_slurmctld_keeps_the_jobs(cluster):
    running, pending = sbatch(cluster, SLEEP), sbatch(cluster, SLEEP, "--hold")
    wait_for_running(cluster, running)
    before = cluster.controller.process()
    cluster.controller.restart()
    assert cluster.controller.process() != before
    assert (queued(cluster, running), queued(cluster, pending)) == ("RUNNING", "PENDING")


def test_jobs_run_on_without_accounting_which_catches_up(cluster):
    cluster.accounting.stop()
    with pytest.raises(DevClusterError, match="sacct"):
        cluster.run("sacct")
    job = sbatch(cluster, "true")
    wait_until(lambda: not queued(cluster, job), "the job to end")
    cluster.accounting.start()
    assert final_state(cluster, job) == "COMPLETED"


@pytest.mark.slow
def test_main_preempts_scavenge_by_its_signal_first(cluster, tmp_path):
    out = tmp_path / "out"
    whole_node = ("--nodelist=node1", "--gpus-per-node=2")
    scavenger = sbatch(
        cluster, TELL_SIGNALS, *whole_node, "--partition=scavenge", "--signal=USR2@60", "--time=60", f"--output={out}"
    )
    wait_until(lambda: out.exists() and out.read_text() == "up\n", "the scavenger to run")
    preemptor = sbatch(cluster, "sleep 1", *whole_node, "--partition=main")
    assert final_state(cluster, preemptor) == "COMPLETED"
    told = [word for word in out.read_text().split() if word in ("USR2", "TERM")]
    assert told[:2] == ["USR2", "TERM"]
    wait_for_running(cluster, scavenger)
    assert wait_until(lambda: history(cluster, scavenger)[0], "accounting") == "PREEMPTED"


@pytest.mark.slow
def test_jobs_of_a_killed_node_are_requeued_or_fail(cluster):
    once_more = "[ $SLURM_RESTART_COUNT ] || sleep 600"
    requeued = sbatch(cluster, once_more, "--nodelist=node2")
    lost = sbatch(cluster, SLEEP, "--nodelist=node2", "--no-requeue")
    for job in (requeued, lost):
        wait_for_running(cluster, job)
    cluster.node(2).kill()
    assert final_state(cluster, lost) == "NODE_FAIL"
    cluster.node(2).start()
    assert final_state(cluster, requeued) == "COMPLETED"
    assert history(cluster, requeued) == ["NODE_FAIL", "COMPLETED"]


def test_a_node_that_was_shut_down_serves_again_after_its_start(cluster):
    node = cluster.node(3)
    node.stop()
    assert not node.is_up
    with pytest.raises(DevClusterError, match="node3 is down; start it first"):
        node.freeze()
    node.start()
    assert cluster.run("srun", "--nodelist=node3", "hostname") == "node3"


@pytest.mark.slow
def test_a_frozen_node_is_down_until_it_thaws(cluster):
    def state() -> str:
        return cluster.run("sinfo", "--noheader", "--partition=main", "--nodes=node4", "--format=%T")

    cluster.node(4).freeze()
    wait_until(lambda: state() == "down*", "SLURM to notice")
    cluster.node(4).thaw()
    wait_until(lambda: state() == "idle", "SLURM to take it back")
