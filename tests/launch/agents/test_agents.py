"""The second door: W&B serves, the real `wandb agent` asks, and the store keeps what was given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from pathlib import Path

import psutil
import pytest
import yaml

from launch.agents import agent
from launch.agents.broker import Broker
from launch.agents.trial import note
from launch.agents.trials import AgentsFolder, arms
from launch.agents.wandb import ask, between, follow, is_over
from launch.commands import agents
from launch.commands.agents import Agents
from launch.job.rank import REQUEUE
from tests.launch.conftest import Ran
from tests.wandb_server import WandbServer
from tests.warm import family
from trainers.store import Store, claims

STUDY = {
    "targets": ["xnli"],
    "intermediates": ["none"],
    "search": {"target.learning_rate": [1e-4, 1e-3]},
    "overrides": {"*": {"max_steps": 3}},
    "execution": {"threads": 1},
}


ARM = {"scale": "sandbox-s", "intermediate": "none", "seed": 1}


def folder_of(store: Path) -> AgentsFolder:
    (folder,) = (store / "agents").iterdir()
    return AgentsFolder(folder)


def logs(folder: AgentsFolder) -> str:
    texts = [path.read_text()[-3000:] for path in sorted((folder.folder / "log").iterdir())]
    return "\n".join([*texts, *(p.read_text()[-2000:] for p in (folder.store.root / "bundles").glob("*.txt"))])


@pytest.mark.slow
def test_agents_try_every_point_of_a_grid_once(wandb_server: WandbServer, sweep_file, tmp_path):
    file = sweep_file(**STUDY)
    assert agents.agents(Agents(file, count=2)) == 0
    folder = folder_of(tmp_path / "store")
    trials = folder.trials()
    served = next(iter(wandb_server.state.sweeps.values())).served
    assert {trial.run: trial.assignment for trial in trials} == served, logs(folder)
    assert len(served) == 2
    assert len({stage.key for trial in trials for stage in trial.stages}) == 2
    for trial in trials:
        shown = wandb_server.run(trial.run)
        assert (shown.state, shown.sweep) == ("finished", folder.study.id), logs(folder)
        assert shown.settings["target.learning_rate"] == trial.assignment["target.learning_rate"]
        assert json.loads(shown.summary)["development"] == folder.result(trial.run).objective
        (stage,) = trial.stages
        assert stage.train[0].recipe.learning_rate == trial.assignment["target.learning_rate"]
        assert len(Store(tmp_path / "store").entry(stage.key).events("attempt")) == 1
    assert not wandb_server.refused
    secret = wandb_server.key.encode()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]


STARTED: list[subprocess.Popen] = []


def start(folder: AgentsFolder, name: str, *before: str) -> subprocess.Popen:
    """An agent as `retain agents` starts it."""
    command = [*before, sys.executable, "-P", "-m", "launch.agents.agent", str(folder.folder), name]
    STARTED.append(subprocess.Popen(command, start_new_session=True))
    return STARTED[-1]


@pytest.fixture(autouse=True)
def _no_agent_left_behind():
    """An agent that a failed test leaves would ask for half an hour."""
    yield
    while STARTED:
        if (agent := STARTED.pop()).poll() is None:
            kill_with_children(agent)
            agent.wait()


@pytest.fixture
def registered(wandb_server, sweep_file, tmp_path, monkeypatch):
    """A study whose W&B sweep is registered, and no agent is started."""

    def register(method="grid", runs=None, broker=False, intermediate=None, seed=None, **changes) -> AgentsFolder:
        file = sweep_file(**{**STUDY, **changes})
        agents.agents(
            Agents(file, count=0, method=method, runs=runs, intermediate=intermediate, seed=seed, broker=broker)
        )
        return folder_of(tmp_path / "store")

    monkeypatch.setattr(agents, "_broker", lambda *_: None)
    return register


def wait_for(condition, process: subprocess.Popen, folder: AgentsFolder, timeout_s: float = 480) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, logs(folder)
        assert time.monotonic() < end, logs(folder)
        time.sleep(0.05)


@pytest.mark.slow
def test_without_a_search_the_studys_own_grid_is_handed_out(wandb_server, sweep_file, tmp_path):
    assert agents.agents(Agents(sweep_file(**{**STUDY, "search": None, "seeds": [1, 2]}))) == 0
    folder = folder_of(tmp_path / "store")
    assert [trial.assignment for trial in folder.trials()] == [ARM, {**ARM, "seed": 2}], logs(folder)
    assert {run.state for run in wandb_server.runs_of_kind("trial")} == {"finished"}
    assert not wandb_server.refused


@pytest.mark.slow
def test_random_trials_are_drawn_between_the_smallest_and_the_largest_value(wandb_server, sweep_file, tmp_path):
    assert agents.agents(Agents(sweep_file(**STUDY), method="random", runs=2)) == 0
    folder = folder_of(tmp_path / "store")
    rates = [trial.assignment["target.learning_rate"] for trial in folder.trials()]
    assert len(set(rates)) == 2, logs(folder)
    assert all(1e-4 < rate < 1e-3 for rate in rates)
    assert [trial.stages[0].train[0].recipe.learning_rate for trial in folder.trials()] == rates
    assert {folder.result(trial.run).outcome for trial in folder.trials()} == {"completed"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_requeued_agent_first_finishes_what_it_was_given(number, registered, wandb_server, tmp_path):
    folder = registered(overrides={"*": {"max_steps": 150}})
    agent = start(folder, "one")

    def training() -> bool:
        return any(
            len(folder.store.entry(stage.key).events("step")) > 5 for trial in folder.trials() for stage in trial.stages
        )

    wait_for(training, agent, folder)
    (trial,) = folder.trials()
    if number == signal.SIGKILL:
        kill_with_children(agent)
    else:
        agent.send_signal(number)
    assert agent.wait(240) == (REQUEUE if number == signal.SIGTERM else -number)
    sweep = next(iter(wandb_server.state.sweeps.values()))
    served = dict(sweep.served)
    again = start(folder, "one")
    wait_for(lambda: folder.result(trial.run) is not None, again, folder)
    assert served == {trial.run: trial.assignment}
    assert again.wait(240) == 0
    assert Counter(trial.agent for trial in folder.trials()) == {"one": 2}
    assert len(sweep.served) == len(wandb_server.runs_of_kind("trial")) == 2
    assert {run.state for run in wandb_server.runs_of_kind("trial")} == {"finished"}
    (stage,) = trial.stages
    attempts = folder.store.entry(stage.key).events("attempt", "resumed")
    assert [event["event"] for event in attempts][:2] == ["attempt", "attempt"]


def kill_with_children(process: subprocess.Popen) -> None:
    """As a node that loses its power."""
    everybody = [psutil.Process(pid) for pid in family(process.pid)]
    for one in everybody:
        one.kill()


@pytest.mark.slow
def test_an_assignment_that_equals_finished_stages_returns_at_once(wandb_server, sandbox, tmp_path):
    ran = Ran.here(tmp_path, sandbox, **STUDY)
    assert agents.agents(Agents(ran.file)) == 0
    folder = folder_of(ran.store.root)
    assert {folder.result(trial.run).outcome for trial in folder.trials()} == {"completed"}
    for stage in ran.stages:
        assert len(ran.store.entry(stage.key).events("attempt")) == 1
    assert len(wandb_server.runs_of_kind("trial")) == 2


@pytest.mark.slow
def test_a_trial_that_fails_is_reported_failed_and_the_others_go_on(wandb_server, sweep_file, mirror_copy, tmp_path):
    file = sweep_file(**STUDY, mirror=str(mirror_copy))
    first = agents.agents(Agents(file))
    assert first == 0
    folder = folder_of(tmp_path / "store")
    trial, other = folder.trials()
    (stage,) = trial.stages
    entry = folder.store.entry(stage.key)
    (entry.folder / "result.json").unlink()
    (entry.folder / "stage.json").write_text("{}")  # somebody has damaged the store
    for mark in (folder.folder / "trials").glob(f"{trial.run}.re*"):
        mark.unlink()
    assert start(folder, trial.agent).wait(240) == 0
    assert folder.result(trial.run).outcome == "failed"
    assert wandb_server.run(trial.run).state == "failed"
    assert wandb_server.run(other.run).state == "finished"


@pytest.mark.slow
def test_a_server_that_is_away_in_mid_trial_loses_nothing(registered, wandb_server):
    folder = registered(overrides={"*": {"max_steps": 100}})
    agent = start(folder, "one")
    wait_for(lambda: folder.trials(), agent, folder)
    wandb_server.status = 500
    trial = folder.trials()[0]
    wait_for(lambda: folder.result(trial.run) is not None, agent, folder)
    wandb_server.heal()
    assert agent.wait(180) == 0, logs(folder)
    assert len(folder.trials()) == 2
    assert {run.state for run in wandb_server.runs_of_kind("trial")} == {"finished"}


@pytest.mark.slow
def test_what_was_served_to_a_process_that_died_is_tried_nevertheless(registered, wandb_server, monkeypatch):
    folder = registered()
    sweep = next(iter(wandb_server.state.sweeps.values()))
    lost = {**ARM, "target.learning_rate": 1e-4}
    sweep.served["lost"] = lost  # W&B takes it for given
    assert start(folder, "one").wait(240) == 0, logs(folder)
    assert [trial.assignment["target.learning_rate"] for trial in folder.trials()] == [1e-3, 1e-4]
    assert {run.state for run in wandb_server.runs_of_kind("trial")} == {"finished"}


@pytest.mark.slow
def test_what_a_lost_agent_of_a_broker_left_is_carried_out_by_another(registered):
    """It never comes back, as where its job was cancelled; the broker would wait for ever."""
    folder = registered(broker=True, overrides={"*": {"max_steps": 150}})
    for run, rate in (("first", 1e-4), ("second", 1e-3)):
        folder.take(run, {**ARM, "target.learning_rate": rate}, None)
    first, second = folder.trials()
    agent = start(folder, "one")
    wait_for(lambda: folder.store.entry(first.stages[0].key).events("step"), agent, folder)
    assert [folder.agent_of(trial) for trial in (first, second)] == ["one", None]
    assert not folder.claim("first", "two")
    kill_with_children(agent)
    agent.wait()
    folder.close()
    assert start(folder, "two").wait(240) == 0, logs(folder)
    assert [folder.agent_of(trial) for trial in (first, second)] == ["two", "two"]
    assert {folder.result(trial.run).outcome for trial in (first, second)} == {"completed"}


NAMESPACE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "agent")
"""A network of its own, in which this machine's loopback cannot be reached."""


@pytest.mark.slow
def test_the_broker_finishes_a_bayesian_sweep_for_agents_without_a_network(registered, wandb_server, monkeypatch):
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("a network namespace needs root")
    folder = registered("bayes", runs=7, broker=True)
    agents = [start(folder, name, *NAMESPACE) for name in ("one", "two")]
    Broker(folder, 2).work()
    assert [agent.wait(240) for agent in agents] == [0, 0], logs(folder)
    (sweep,) = wandb_server.state.sweeps.values()
    assert len(sweep.served) == len(folder.trials()) == 7
    assert {folder.agent_of(trial) for trial in folder.trials()} == {"one", "two"}
    assert sweep.asked_with[0] < 3 <= sweep.asked_with[-1]  # later draws knew what earlier ones had brought
    for trial in folder.trials():
        shown = wandb_server.run(trial.run)
        assert shown.state == "finished"
        assert json.loads(shown.summary)["development"] == folder.result(trial.run).objective
        assert any(name.startswith("development/") for row in shown.rows for name in row)
        # No agent has ever reached the server: their own runs wait on the disk.
        assert trial.stages[0].key not in {run.name for run in wandb_server.runs}
    assert len(list((folder.store.root / "wandb").glob("offline-run-*"))) == len(
        {stage.key for trial in folder.trials() for stage in trial.stages}
    )


def test_no_process_is_told_of_anothers_helper(registered, wandb_server, monkeypatch):
    """W&B's client would hand it down to jobs, on whichever machine, where nothing answers."""
    folder = registered()
    assert wandb_server.asked["UpsertSweep"]
    assert "WANDB_SERVICE" not in os.environ  # what `retain agents` hands to sbatch, and to agents of this machine
    is_over(folder, set())
    assert "WANDB_SERVICE" not in os.environ
    monkeypatch.setenv("WANDB_SERVICE", "3-1-unix-/tmp/nobody")
    told = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: told.append(env))
    ask(folder, "one")
    follow(folder, "run0")
    assert len(told) == 2
    assert not any("WANDB_SERVICE" in env for env in told)


def test_the_same_command_goes_on_with_the_same_sweep(registered, wandb_server):
    first = registered()
    assert registered().study == first.study
    assert len(wandb_server.state.sweeps) == 1


def test_an_agent_that_cannot_tell_wandb_of_an_end_does_not_hold_its_job_for_ever(registered, monkeypatch, capsys):
    """And the next agent, whatever its name, tells it."""
    folder = registered()
    folder.end(folder.take("run0", {**ARM, "target.learning_rate": 1e-4}, "lost"))
    monkeypatch.setattr(agent, "PATIENCE_S", 0.0)
    monkeypatch.setattr(agent, "ask", lambda *_: subprocess.Popen(["true"]))  # W&B has nothing more
    monkeypatch.setattr(agent, "is_over", lambda *_: True)
    monkeypatch.setattr(agent, "follow", lambda *_: subprocess.Popen(["false"]))
    assert agent.Agent(folder, Idle("one")).work() == 1
    assert "W&B was not told how run0 ended" in capsys.readouterr().err
    idle = Idle("two")

    def tells(_folder: AgentsFolder, run: str) -> subprocess.Popen:
        folder.mark_reported(run)
        idle.stopping = True
        return subprocess.Popen(["true"])

    monkeypatch.setattr(agent, "follow", tells)
    monkeypatch.setattr(claims, "_alive", lambda *_: False)  # the first agent was in this process
    assert agent.Agent(folder, idle).work() == REQUEUE
    assert folder.is_reported("run0")


class Idle:
    """A runner that is given nothing to carry out."""

    def __init__(self, name: str) -> None:
        self.name, self.stopping = name, False

    def run(self, trial):
        raise AssertionError(trial)

    def leave(self) -> int:
        return REQUEUE


def test_a_search_without_an_end_is_refused(sweep_file):
    with pytest.raises(ValueError, match="the number of trials with --runs"):
        agents.agents(Agents(sweep_file(**STUDY), method="bayes"))


def test_a_bayesian_search_of_several_arms_is_refused_and_of_one_of_them_is_not(registered, wandb_server):
    several = {"seeds": [1, 2], "intermediates": ["none", "mnli"]}
    with pytest.raises(ValueError, match=r"several intermediates and seeds.* --scale, --intermediate and --seed"):
        registered("bayes", runs=4, **several)
    assert not wandb_server.state.sweeps
    folder = registered("bayes", runs=4, intermediate="mnli", seed=2, **several)
    assert arms(folder.study.sweep) == [("sandbox-s", "mnli", 2)]
    (sweep,) = wandb_server.state.sweeps.values()
    assert [sweep.settings["parameters"][name]["values"] for name in ARM] == [["sandbox-s"], ["mnli"], [2]]
    assert sweep.settings["name"] == "small · sandbox-s · mnli · 2"


@pytest.mark.parametrize("wrong", [{"scale": "xl"}, {"intermediate": "squad"}, {"seed": 7}])
def test_an_arm_that_the_sweep_lacks_is_refused(wrong, sweep_file):
    with pytest.raises(ValueError, match=f"{next(iter(wrong.values()))} is not among the sweep's {next(iter(wrong))}s"):
        agents.agents(Agents(sweep_file(**STUDY), **wrong))


def test_pairs_and_numbers_that_wandb_writes_otherwise_are_recognised(registered):
    """JSON has lists only, and YAML takes 3e-5 for text: no point of the grid must seem to be forgotten."""
    folder = registered(search={"adam_betas": [[0.9, 0.98], [0.9, 0.999]], "target.learning_rate": ["3e-5", 1e-4]})
    assert len(folder.forgotten()) == 4
    for run, (betas, rate) in enumerate(product(([0.9, 0.98], [0.9, 0.999]), ("3e-5", 1e-4))):
        folder.take(f"run{run}", {**ARM, "adam_betas": betas, "target.learning_rate": rate}, "one")
    assert folder.forgotten() == []


@pytest.mark.parametrize(
    "change", [{"scale": "xxl"}, {"seed": 9}, {"target.learning_rate": "fast"}, {"epochs": 3}, {"intermediate": "mnli"}]
)
def test_an_assignment_of_another_study_is_refused(change, registered):
    folder = registered()
    mine = {**ARM, "target.learning_rate": 1e-4}
    assert folder.plan_of(mine).stages
    with pytest.raises(ValueError, match=r"no arm and point|valid number"):
        folder.plan_of({**mine, **change})


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ((1e-5, 1e-3, 1e-4), {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3}),
        ((0.0, 0.1), {"distribution": "uniform", "min": 0.0, "max": 0.1}),
        ((2, 8, 4), {"distribution": "int_uniform", "min": 2, "max": 8}),
        (("split", "truncate"), {"values": ["split", "truncate"]}),
    ],
)
def test_what_is_searched_is_drawn_from_its_range(values, drawn):
    assert between(values) == drawn


def test_what_was_noted_is_taken_though_its_process_was_killed(registered):
    folder = registered()
    rest = {**ARM, "target.learning_rate": 1e-4}
    given = yaml.safe_dump({"wandb_version": 1, **{name: {"value": value} for name, value in rest.items()}})
    note(folder.folder, "run0", "one", given)
    folder.take_noted()
    folder.take_noted()
    (trial,) = folder.trials()
    assert (trial.run, trial.agent, trial.assignment) == ("run0", "one", rest)
    assert all((folder.store.entry(stage.key).folder / "stage.json").exists() for stage in trial.stages)
    assert folder.forgotten() == [{**rest, "target.learning_rate": 1e-3}]
