"""A sweep inside one allocation: placed, tried again and written down as `retain submit` would have it."""

from __future__ import annotations

import signal

import pytest

from launch import story as operate
from launch.commands.common import load
from launch.commands.run import Run, run_steps
from launch.job.bundle import Bundle
from launch.job.records import array_folders
from launch.status import StageStatus
from launch.study.plan import make_plan, mirror_of
from launch.submit import allocation
from launch.verdicts import verdicts
from slurm.profile import ProfileError, commented_yaml
from tests.launch.estimate.test_placement import PROFILE
from tests.launch.study.test_plan import grid
from trainers.store import Store

OUT_OF_MEMORY = 'case "$*" in *" 1.0") echo "torch.OutOfMemoryError: CUDA out of memory" >> $rank; exit 1;; esac'
CRASH = 'echo "ValueError: no such head" >> $rank; exit 1'
FAULT = 'echo "OSError: [Errno 5] Input/output error" >> $rank; [ $(grep -c ^srun $calls) -gt 1 ] || exit 1'
UNHEALTHY = '[ $(grep -c ^srun $calls) -gt 1 ] || { echo "health gate: node_failure: no GPU" >> $rank; exit 1; }'
STOPPED = "kill -USR2 $PPID; sleep 0.2; exit 75"


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """An allocation of two tasks on one node, whose srun does what it is told; answers with what it was asked."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)}
    folder = tmp_path / "bin"
    folder.mkdir()

    def command(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\ncalls={tmp_path}/calls\necho {name} $* >> $calls\n{script}\n")
        path.chmod(0o755)

    def does(step: str, state: str = "RUNNING", nodes: str = "n1"):
        command(
            "srun",
            f"for word; do case $word in --output=*) rank=${{word#*=}};; esac; done\nrank=${{rank%%%t*}}0.txt\n{step}",
        )
        command("scontrol", f'[ "$2" = hostnames ] && echo {nodes} || echo JobState={state} Restarts=0')
        return lambda name: [line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith(name)]

    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    given = {"JOB_ID": "1", "JOB_NUM_NODES": "1", "NTASKS": "2", "CPUS_PER_TASK": "3", "JOB_NODELIST": "n1"}
    for name, value in given.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(allocation, "POLL_S", 0.01)
    monkeypatch.setattr(allocation, "AFTER_A_FAULT_S", 0.1)
    monkeypatch.chdir(tmp_path)
    yield does
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def steps(sweep_file):
    """Runs the steps of a sweep of one stage; its status and its store."""
    chosen = Run(sweep_file(intermediates=["none"], targets=["xnli"]), steps=True)

    def run() -> tuple[StageStatus, Store]:
        sweep, mirror = load(chosen)
        (one,) = run_steps(chosen, make_plan(sweep), mirror)
        return one, Store(sweep.store)

    return run


def test_out_of_memory_is_tried_again_with_half_the_micro_batch(slurm, steps):
    asked = slurm(OUT_OF_MEMORY)
    one, store = steps()
    first, second = asked("srun")
    assert first.endswith(".json 1.0")
    assert second.endswith(".json 0.5")
    assert [each.decision.action for each in verdicts(store.entry(one.stage.key))] == ["retry", "stop"]


def test_a_step_has_its_bundle_its_caches_and_its_log_where_a_jobs_are(slurm, steps, tmp_path):
    (tmp_path / "cluster.yaml").write_text(commented_yaml(PROFILE.model_copy(update={"scratch": "/scratch"}), {}))
    slurm(OUT_OF_MEMORY)
    one, store = steps()
    (folder,) = array_folders(store.root)
    assert Bundle.load(folder.bundle(0)).scratch == "/scratch"
    assert folder.record.elements == ((one.stage.key,),)
    log = operate.newest_log(one.stage.key, store.root)
    assert log is not None
    assert "OutOfMemoryError" in log.read_text()
    assert any("1/2 of the micro-batch" in line for _, line in operate.story(one.stage, store))


def test_what_the_cluster_brought_down_is_tried_again(slurm, steps):
    asked = slurm(FAULT)
    steps()
    assert len(asked("srun")) == 2


@pytest.mark.parametrize(("nodes", "blamed"), [("n1", ("n1",)), ("n1 n2", ())])
def test_a_node_is_blamed_only_where_it_is_known(slurm, steps, nodes, blamed):
    slurm(UNHEALTHY, nodes=nodes)
    one, store = steps()
    first, *_ = verdicts(store.entry(one.stage.key))
    assert first.record.cause == "node_failure"
    assert first.decision.exclude_nodes == blamed


def test_what_a_retry_does_not_mend_is_left_to_a_person(slurm, steps, capsys):
    asked = slurm(CRASH)
    one, _ = steps()
    assert "An error in the code" in capsys.readouterr().out
    assert one.state == "failed"
    steps()
    assert len(asked("srun")) == 1


def test_told_to_stop_it_goes_back_into_the_queue(slurm, steps):
    asked = slurm(STOPPED)
    steps()
    assert asked("scontrol requeue") == ["scontrol requeue 1"]


def test_a_job_that_a_person_cancelled_stays_cancelled(slurm, steps):
    asked = slurm(STOPPED, state="COMPLETING")
    steps()
    assert asked("srun")
    assert not asked("scontrol requeue")


def test_the_memory_model_is_asked_and_a_smaller_allocation_refused(slurm, tmp_path, capsys):
    slurm("exit 0")
    sweep = grid(store=tmp_path / "store", scales=("xl",), intermediates=("none",), targets=("xnli",))
    file = tmp_path / "large.yaml"
    file.write_text(commented_yaml(PROFILE, {}))
    with pytest.raises(ProfileError, match=r"xl needs 1 node\(s\) with 4 task\(s\) each.*has 1 with 2"):
        run_steps(Run(tmp_path, cluster=file), make_plan(sweep), mirror_of(sweep))
    assert "placed   xl: ZeRO-2 on 4×A100-40" in capsys.readouterr().out


def test_without_a_cluster_file_each_stage_has_a_task(slurm, steps, capsys):
    slurm(OUT_OF_MEMORY)
    _, store = steps()
    (folder,) = array_folders(store.root)
    assert folder.record.placement.ranks == 1
    assert Bundle.load(folder.bundle(0)).scratch == "/tmp"
    assert "no cluster file names the GPU" in capsys.readouterr().out
