"""What is decided after a job: of the right stage, by all that happened to it, and for as long as a person lets it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch import status
from launch.job import judge
from launch.job.judge import Attempt
from launch.job.rank import FAILED, REQUEUE
from launch.job.records import ArrayFolder
from launch.story import allow_retry, story
from launch.study.plan import Plan, make_plan, mirror_of
from launch.study.sweep import load_sweep
from launch.submit.reconcile import Submitter
from launch.submit.snapshot import Snapshot
from launch.verdicts import verdicts
from slurm.failures.causes import Cause
from slurm.failures.decide import Decision
from slurm.profile import Profile
from slurm.script import ArrayExecutor
from slurm.sizing.memory import Placement
from trainers.stage import Stage
from trainers.store import EventLog, Store

PROFILE = Profile(cluster="c", partition="p", nodes=4, gpus_per_node=1, cpus_per_rank=1, time_limit_min=60)
KILLED = {"status": 137}
ATTEMPT = {"claim": 1, "job": "job 1", "host": "n1", "devices": ["cpu"], "world_size": 1}
RESULT = {"outcome": "completed", "evidence": None, "seconds": {"train": 1.0}}
UNHEALTHY = "health gate: node_failure: the clock is two days off"


@dataclass
class Sent:
    """An array of one element, and what becomes of its jobs."""

    submitter: Submitter
    folder: ArrayFolder
    monkeypatch: pytest.MonkeyPatch
    restarts: int = 0

    @property
    def store(self) -> Store:
        return self.submitter.store

    @property
    def scheduler(self) -> dict[str, str]:
        return {"SLURM_JOB_ID": str(abs(hash(self.folder.name))), "SLURM_RESTART_COUNT": str(self.restarts)}

    def job(self, *begun: Stage, said: str = "", status: int = FAILED, **how: Any) -> Decision:
        """One job of the element: it begins some stages, says something, and ends.

        Args:
            how: `state` of SLURM; `deadline`; `saved`, a step of the last stage begun; `ended`, own words of the stages
                by label; `host` that it ran on.
        """
        self.restarts += 1
        for name, value in {**self.scheduler, "SLURM_JOB_NODELIST": how.get("host", "n1")}.items():
            self.monkeypatch.setenv(name, value)
        attempt = Attempt(self.folder, 0)
        for stage in begun:
            log = EventLog(self.store.open(stage))
            log.write("attempt", scheduler=self.scheduler, **ATTEMPT)
            if end := how.get("ended", {}).get(stage.label):
                log.write("ended", outcome=end, evidence="its own word")
            log.close()
            if stage is begun[-1] and "saved" in how:
                (self.store.entry(stage.key).checkpoints / f"step-{how['saved']:09d}").mkdir(parents=True)
        logs = self.folder.rank_logs(0)
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / "rank-0.txt").open("a", encoding="utf-8") as file:
            file.write(said + "\n")
        return attempt.judge(status, how.get("state"), how.get("deadline"))


@dataclass
class Cluster:
    """A sweep that was submitted to nowhere."""

    plan: Plan
    monkeypatch: pytest.MonkeyPatch

    @property
    def store(self) -> Store:
        return self.submitter.store

    @property
    def submitter(self) -> Submitter:
        places = dict.fromkeys(self.plan.scales, Placement())
        return Submitter(self.plan, mirror_of(self.plan.sweep), PROFILE, places, Snapshot(Path(), None, False))

    def send(self, *stages: Stage) -> Sent:
        """What `retain submit` writes down, without sbatch."""
        folder = self.submitter.sender.folder("small", [stages])
        self.submitter.sender.write(folder, stages[0].scale.name, Placement(), 12, [stages])
        return Sent(self.submitter, folder, self.monkeypatch)

    def script(self, stage: Stage) -> str:
        """What sbatch would be given for a stage."""
        folder = self.store.root / "slurm" / "next"
        array = SimpleNamespace(scale=stage.scale.name, bundles=((stage,),), seconds=60.0, after=None)
        return ArrayExecutor(self.submitter.job(array, folder, {}), PROFILE).text()

    def state(self, stage: Stage) -> status.StageStatus:
        return next(one for one in status.survey(self.plan, self.store, queued={}) if one.stage.key == stage.key)

    def to_send(self) -> tuple[set[str], list[str]]:
        """Keys of the stages that `retain submit` would send now, and its notes."""
        arrays, notes = self.submitter.missing({})
        return {stage.key for array in arrays for bundle in array.bundles for stage in bundle}, notes


@pytest.fixture
def cluster(sweep_file, monkeypatch):
    monkeypatch.setattr(judge, "ask", lambda command: command[-1].replace(",", "\n"))
    monkeypatch.setattr(judge, "job_runs", lambda owner: None)
    return Cluster(make_plan(load_sweep(sweep_file(targets=["xnli", "pawsx"]))), monkeypatch)


@pytest.fixture
def stages(cluster):
    """Two targets that start from the pretrained encoder."""
    return [stage for stage in cluster.plan.stages if stage.kind == "target" and stage.parent is None]


def test_what_was_decided_to_stop_has_failed_and_is_not_sent_again_before_a_person_lets_it(cluster, stages):
    first, second = stages
    sent = cluster.send(first)
    assert [sent.job(first, **KILLED).action for _ in range(4)] == ["retry", "retry", "retry", "stop"]
    now = cluster.state(first)
    assert now.state == "failed"
    assert "killed: Killed on n1: 4 times in a row" in now.detail
    keys, notes = cluster.to_send()
    assert first.key not in keys
    assert second.key in keys
    assert "retain retry" in notes[0]
    assert "4 times in a row" in notes[0]
    assert any("job ended killed: Killed on n1" in line for _, line in story(first, cluster.store))
    assert allow_retry(cluster.store.entry(first.key))
    assert cluster.state(first).state == "waiting"
    assert first.key in cluster.to_send()[0]
    assert cluster.send(first).job(first, **KILLED).action == "retry"  # counted anew
    assert cluster.state(first).state == "interrupted"


@pytest.mark.parametrize(
    ("ends", "stopped"),
    [
        (1, {"state": "TIMEOUT"}),
        (2, {"said": "strange.OddError: no one knows"}),
        (4, {"said": "OSError: Stale file handle"}),
        (1, {"said": "OSError: No space left on device"}),
    ],
)
def test_every_stop_holds_though_the_stage_left_no_word(cluster, stages, ends, stopped):
    sent = cluster.send(stages[0])
    decisions = [sent.job(stages[0], **stopped).action for _ in range(ends)]
    assert "stop" not in decisions[:-1]
    assert decisions[-1] == "stop"
    assert cluster.state(stages[0]).state == "failed"
    assert stages[0].key not in cluster.to_send()[0]


def test_what_is_counted_goes_on_in_the_next_array_until_there_is_progress(cluster, stages):
    stage = stages[0]
    before = cluster.send(stage)
    for _ in range(2):
        before.job(stage, **KILLED)
    assert cluster.state(stage).detail.startswith("killed at starting")
    then = cluster.send(stage)
    assert then.folder.name != before.folder.name
    assert then.job(stage, **KILLED).action == "retry"
    assert then.job(stage, saved=5, **KILLED).action == "retry"
    assert then.job(stage, **KILLED).because.startswith("Killed on n1: retried (1 of 3")
    assert [cluster.send(stage).job(stage, **KILLED).action for _ in range(3)] == ["retry", "retry", "stop"]


def test_a_smaller_micro_batch_and_bad_nodes_are_remembered_by_the_next_array(cluster, stages):
    first, second = stages
    sent = cluster.send(first)
    sent.job(first, said="torch.OutOfMemoryError: CUDA out of memory.", ended={first.label: "out_of_memory"})
    assert cluster.state(first).state == "interrupted"  # a retry was granted
    for host in ("n3", "n2"):
        sent.job(said=UNHEALTHY, host=host)
    again = cluster.send(first)
    assert Attempt(again.folder, 0).micro_batch_factor == 0.5
    assert "--exclude=n2,n3" in (script := cluster.script(first)), script
    assert Attempt(cluster.send(second).folder, 0).micro_batch_factor == 1.0
    assert "exclude" not in cluster.script(second)
    allow_retry(cluster.store.entry(first.key))
    assert Attempt(again.folder, 0).micro_batch_factor == 1.0
    assert "exclude" not in cluster.script(first)


def test_enough_nodes_are_left_to_run_on(cluster, stages):
    sent = cluster.send(stages[0])
    for host in ("n1", "n2", "n3", "n4"):
        sent.job(stages[0], saved=int(host[1]), said=UNHEALTHY, host=host)
    assert "--exclude=n1,n2,n3\n" in cluster.script(stages[0])


def test_what_a_person_cancelled_is_sent_again(cluster, stages):
    assert cluster.send(stages[0]).job(stages[0], state="CANCELLED").action == "stop"
    now = cluster.state(stages[0])
    assert (now.state, now.detail) == ("interrupted", "cancelled at starting; resumes when run again")
    assert stages[0].key in cluster.to_send()[0]


def test_a_job_that_begins_nothing_counts_against_the_first_stage_in_turn_only(cluster, stages):
    first, second = stages
    sent = cluster.send(first, second)
    decisions = [sent.job(said=UNHEALTHY, host=f"n{i}") for i in range(4)]
    assert [decision.action for decision in decisions] == ["requeue", "requeue", "requeue", "stop"]
    assert decisions[-1].exclude_nodes == ("n0", "n1", "n2", "n3")
    assert (cluster.state(first).state, cluster.state(second).state) == ("failed", "waiting")
    assert second.key in cluster.to_send()[0]


def test_of_several_stages_that_is_judged_whose_own_word_it_is(cluster, stages):
    first, second = stages
    ended = {first.label: "crash", second.label: "preempted"}
    decision = cluster.send(first, second).job(first, second, said="ValueError: wrong", ended=ended)
    assert decision.action == "stop"
    assert cluster.state(first).state == "failed"
    assert cluster.state(second).detail.startswith("preempted")
    assert not verdicts(cluster.store.entry(second.key))


def test_the_last_stage_begun_is_judged_where_none_left_a_word(cluster, stages):
    first, second = stages
    cluster.send(first, second).job(first, second, status=REQUEUE, ended={second.label: "preempted"})
    assert not verdicts(cluster.store.entry(first.key))
    (verdict,) = verdicts(cluster.store.entry(second.key))
    assert (verdict.record.cause, verdict.decision.action) == (Cause.PREEMPTED, "requeue")


def test_what_others_hold_is_not_judged(cluster, stages):
    claim = cluster.store.open(stages[0]).claim("another job")
    decision = cluster.send(stages[0]).job(**KILLED)
    assert decision.cause == Cause.KILLED
    assert not verdicts(cluster.store.entry(stages[0].key))
    claim.release()


def test_a_job_whose_stages_all_have_results_is_over_whatever_its_ranks_do(cluster, stages):
    entry = cluster.store.open(stages[0])
    (entry.folder / "result.json").write_text(json.dumps(RESULT))
    decision = cluster.send(stages[0]).job(**KILLED)
    assert (decision.action, decision.cause) == ("stop", Cause.COMPLETED)
    assert not verdicts(entry)


def test_the_next_attempt_of_what_diverged_is_judged_and_its_steps_are_progress(sweep_file, cluster, stages):
    cluster.plan = make_plan(load_sweep(sweep_file(targets=["xnli", "pawsx"], diverged={"retries": 1})))
    first = stages[0]
    entry = cluster.store.open(first)
    (entry.folder / "result.json").write_text(json.dumps({**RESULT, "outcome": "diverged"}))
    second_attempt = first.model_copy(update={"retry": 1})
    sent = cluster.send(first)
    sent.job(second_attempt, saved=7, status=REQUEUE, ended={second_attempt.label: "preempted"})
    (verdict,) = verdicts(cluster.store.entry(second_attempt.key))
    assert verdict.record.steps_gained == 7
    assert not verdicts(entry)


@pytest.mark.parametrize(
    ("left_s", "cause", "action"), [(20, Cause.TIMEOUT, "stop"), (3600, Cause.PREEMPTED, "requeue")]
)
def test_a_job_that_is_told_to_stop_before_it_can_listen_was_out_of_time_if_its_time_is_over(
    cluster, stages, left_s, cause, action
):
    """SIGUSR2 ends a process that has not yet said what to do with it: 128 + 12."""
    decision = cluster.send(*stages).job(status=140, deadline=time.time() + left_s)
    assert (decision.cause, decision.action) == (cause, action)
    assert "killed by SIGUSR2" in decision.because
