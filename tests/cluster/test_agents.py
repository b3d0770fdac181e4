"""Four agents on the cluster work through a W&B sweep while SLURM takes their nodes away and W&B goes down."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from launch.agents.trials import AgentsFolder
from launch.commands import agents
from launch.commands.agents import Agents
from launch.job.bundle import Bundle
from launch.job.records import array_folders
from slurm.commands import queue
from tests.cluster.jobs import history, wait_until
from tests.cluster.sweeps import UNDER_TEST
from tests.wandb_server import WandbServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
POINTS = {
    "intermediates": ["none"],
    "targets": ["xnli"],
    "seeds": [1, 2, 3],
    "search": {"target.learning_rate": [1e-5, 1e-4, 3e-4, 1e-3, 3e-3]},
    "overrides": {"*": {"max_steps": 40}},
}
LONGEST_S = 1500.0


def test_every_point_is_tried_once_under_preemption_and_an_outage(
    cluster, sweep, wandb_server: WandbServer, tmp_path, monkeypatch
):
    monkeypatch.setattr("launch.submit.snapshot.take_snapshot", lambda _: UNDER_TEST)
    study = sweep({"partition": "scavenge", "gpus_per_node": 2}, **POINTS)
    profile = tmp_path / "cluster.yaml"
    profile.write_text(yaml.safe_dump(study.profile.model_dump(mode="json", exclude_defaults=True)))
    command = Agents(study.file, count=4, on="slurm", cluster=profile)
    assert agents.agents(command) == 0
    array = next(job for job in queue() if job.living).job_id.partition("_")[0]
    (place,) = (study.store.root / "agents").iterdir()
    folder = AgentsFolder(place)

    def ended() -> list[str]:
        return [trial.run for trial in folder.trials() if folder.result(trial.run)]

    def idle() -> bool:
        return not any(job.living for job in queue())

    # Each time while trials are under way, every node is taken away for a moment.
    for count in (2, 6):
        wait_until(lambda count=count: len(ended()) >= count, f"{count} trials to end", LONGEST_S)
        cluster.run("sbatch", "--output=/dev/null", "-p", "main", "-N", "4", "--exclusive", "--wrap", "sleep 2")
    wait_until(lambda: len(ended()) >= 8, "half of the trials to end", LONGEST_S)
    wandb_server.status = 503
    wait_until(lambda: wandb_server.asked["error 503"] > 20, "the outage to be noticed", LONGEST_S)
    wandb_server.heal()
    assert agents.agents(command) == 0  # again, in the middle: nobody is sent twice
    wait_until(idle, "the agents to find no more", LONGEST_S)

    trials = folder.trials()
    grid = [(seed, rate) for seed in POINTS["seeds"] for rate in POINTS["search"]["target.learning_rate"]]
    tried = Counter((trial.assignment["seed"], trial.assignment["target.learning_rate"]) for trial in trials)
    assert tried == Counter(grid), study.logs()
    shown = {run.name: run for run in wandb_server.runs_of_kind("trial")}
    assert set(shown) == {trial.run for trial in trials}
    for trial in trials:
        run, (stage,) = shown[trial.run], trial.stages
        assert run.state == "finished", study.logs()
        assert {name: run.settings[name] for name in trial.assignment} == trial.assignment
        assert stage.seed == trial.assignment["seed"]
        assert stage.train[0].recipe.learning_rate == trial.assignment["target.learning_rate"]
        assert json.loads(run.summary)["development"] == folder.result(trial.run).objective
        steps = [event["step"] for event in folder.store.entry(stage.key).events("step")]
        assert sorted(set(steps)) == list(range(1, 41))
        ends = [event["outcome"] for event in folder.store.entry(stage.key).events("ended")]
        assert sum(end in ("completed", "diverged") for end in ends) == 1
    states = Counter(history(cluster, array))
    assert states["PREEMPTED"] + states["REQUEUED"] >= 2, states
    assert not wandb_server.refused


def test_a_job_has_one_agent_and_all_ranks_of_a_trial_read_one_file(cluster, sweep, wandb_server, tmp_path):
    """One job of two ranks, which is served two trials; they run a copy of the code, as users do, and start cold."""
    rates = {"search": {"target.learning_rate": [1e-4, 1e-3]}, "overrides": {"*": {"max_steps": 5}}}
    study = sweep({"scales": {"sandbox-s": {"ranks_per_node": 2}}}, **{**POINTS, "seeds": [1], **rates})
    profile = tmp_path / "cluster.yaml"
    profile.write_text(yaml.safe_dump(study.profile.model_dump(mode="json", exclude_defaults=True)))
    assert agents.agents(Agents(study.file, on="slurm", cluster=profile)) == 0
    read: defaultdict[str, set[str]] = defaultdict(set)

    def idle() -> bool:
        for rank, file in ranks(study.store.root):
            read[file].add(rank)
        return not any(job.living for job in queue())

    wait_until(idle, "the agent to find no more", LONGEST_S)
    (place,) = (study.store.root / "agents").iterdir()
    folder, (array,) = AgentsFolder(place), array_folders(study.store.root)
    trials = folder.trials()
    assert len(trials) == 2, study.logs()
    assert wandb_server.asked["CreateAgent"] == 3  # in turn: for each trial, and to hear that there is no more
    assert read == {str(array.bundle(trial.run)): {"0", "1"} for trial in trials}
    for trial in trials:
        assert Bundle.load(array.bundle(trial.run)).stages == trial.stages
        (stage,) = trial.stages
        (attempt,) = folder.store.entry(stage.key).events("attempt")
        assert attempt["world_size"] == 2
        assert folder.result(trial.run).outcome == "completed", study.logs()
    assert len(wandb_server.runs_of_kind("trial")) == 2
    assert not wandb_server.refused


def ranks(store: Path) -> Iterator[tuple[str, str]]:
    """Each rank that runs now, and the file of the store that it was given."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            files = [word for word in words if word.startswith(f"{store}/") and word.endswith(".json")]
            if "launch.job.rank" in words and "python" in words[0] and files:
                yield process.environ()["SLURM_PROCID"], files[0]
