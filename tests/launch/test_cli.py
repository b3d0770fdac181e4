"""The command line answers at once, imports no torch until a stage runs, and says in words what is wrong."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launch import cli
from launch.commands.common import Common, print_json
from launch.job.records import ArrayFolder, ArrayRecord
from slurm.devcluster.packages import missing_packages
from slurm.sizing.memory import Placement

ON_A_SWEEP = [command.__name__.lower() for command in cli.COMMANDS if issubclass(command, Common)]
CHANGING = {
    *("new", "fetch", "run", "debug", "report", "submission", "wandb", "agents"),
    *("init", "watch", "cancel", "retry"),
}
"""All other commands only read, or do so when they are asked to."""
READING = [name for command in cli.COMMANDS if (name := command.__name__.lower()) not in CHANGING]


def retain(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **variables},
        timeout=480,
    )


@pytest.mark.usefixtures("cold")
def test_help_answers_in_under_400_ms():
    def seconds() -> float:
        """Of the processor: other tests run beside this one."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert retain("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.4


@pytest.mark.usefixtures("cold")
def test_every_command_has_help():
    text = retain("--help").stdout
    assert "devcluster" in text
    assert "--nodes" in retain("devcluster", "--help").stdout
    assert "--seeds" in retain("new", "--help").stdout
    assert "--store" in retain("doctor", "--help").stdout
    for command in ON_A_SWEEP:
        assert command in text
        assert "--mirror" in retain(command, "--help").stdout


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("command", ["plan", "check", "status"])
def test_read_only_commands_import_no_torch(command, sweep_file):
    code = (
        "import sys; from launch import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'deepspeed', 'wandb', 'datasets', 'matplotlib'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code, command, str(sweep_file())], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_plan_shows_counts_and_keys(sweep_file):
    done = retain("plan", sweep_file(), "--stages")
    assert done.returncode == 0, done.stderr
    assert "5 stages, 3 trainings, 0 done" in done.stdout
    assert "sandbox-s · mnli → xnli · seed 1" in done.stdout
    listed = json.loads(retain("plan", sweep_file(), "--json").stdout)
    assert len({stage["key"] for stage in listed}) == 5


def test_plan_tells_the_points_of_a_search(sweep_file):
    done = retain("plan", sweep_file(search={"epochs": [1, 2], "target.warmup": [0, 0.1, 0.2]}))
    assert "search 6 points: epochs 1, 2 × target.warmup 0.0, 0.1, 0.2" in done.stdout


def test_problems_are_told_and_nothing_runs(sweep_file):
    path = sweep_file(scales=["large"], languages=["en", "fr"])
    for command in ("check", "run"):
        done = retain(command, path)
        assert done.returncode == 2
        told = done.stdout + done.stderr
        assert "xlm-roberta-large" in told
        assert "language fr" in told
        assert "Traceback" not in told


def test_a_reader_that_has_read_enough_is_no_error(sweep_file):
    command = f"{sys.executable} -m launch.cli plan {sweep_file(seeds=list(range(400)))} --json | head -c 10"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_nor_is_one_that_is_gone_before_the_help_comes():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "launch.cli", "report", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_mistake_in_the_file_is_one_sentence_without_traceback(sweep_file):
    done = retain("plan", sweep_file(targets=["xnly"]))
    assert done.returncode == 2
    assert "did you mean 'xnli'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_wants_the_key_of_one_stage(sweep_file):
    done = retain("debug", sweep_file(), "--stage", "")
    assert done.returncode == 2
    assert "names 0 stages" in done.stderr


def test_status_of_a_store_where_nothing_ran(sweep_file):
    states = json.loads(retain("status", sweep_file(), "--json").stdout)
    assert {state["state"] for state in states} == {"waiting"}


@pytest.fixture(scope="module")
def told(ran):
    """What a command says of a finished sweep, as JSON and to a person, with its exit status."""

    def ask(command: str, *words: str):
        read, shown = retain(command, ran.file, *words, "--json"), retain(command, ran.file, *words)
        assert read.returncode == shown.returncode, read.stderr + shown.stderr
        return json.loads(read.stdout), shown.stdout, read.returncode

    return ask


@pytest.fixture
def submitted(ran, tmp_path):
    """The finished sweep, as if its first stage had been trained by a job."""
    here = ran.copied(tmp_path)
    folder = ArrayFolder(here.store.root / "slurm" / "retain-small-1")
    record = ArrayRecord(
        sweep="small",
        scale="sandbox-s",
        user="root",
        placement=Placement(),
        cpus_per_rank=1,
        spare_nodes=0,
        minutes=10,
        signal_before_end_s=20,
        code={},
        elements=((ran.stages[0].key,),),
    )
    folder.rank_logs(0).mkdir(parents=True)
    folder.write(record)
    (folder.rank_logs(0) / "rank-0.txt").write_text("it [began]\nit ended\n")
    return here


@pytest.fixture
def cluster_file(tmp_path) -> Path:
    """Of a cluster without GPUs."""
    facts = {"cluster": "here", "partition": "main", "nodes": 2, "gpus_per_node": 0, "cpus_per_rank": 1}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({**facts, "time_limit_min": 60}))
    return path


@pytest.mark.parametrize("command", READING)
def test_whatever_only_reads_speaks_json(command, ran, cluster_file, request, tmp_path, monkeypatch, capsys):
    if command == "devcluster" and (missing_packages() or os.geteuid()):
        pytest.skip("a SLURM cluster can only be looked for where it could be")
    words = {
        "doctor": ["--store", ran.store.root],
        "why": [ran.file, ran.stages[0].key],
        "prune": [ran.file, "--dry"],
        "submit": [ran.file, "--print", "--cluster", cluster_file],
        "devcluster": ["status", "--root", tmp_path / "none"],
    }
    if command == "tail":
        submitted = request.getfixturevalue("submitted")
        words["tail"] = [ran.file, ran.stages[0].key, "--store", submitted.store.root]
    monkeypatch.setattr(sys, "argv", ["retain", command, *map(str, words.get(command, [ran.file])), "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code in (0, 1), said.err
    assert [json.loads(line) for line in said.out.splitlines()]


def test_a_log_is_shown_to_a_program_line_by_line(submitted):
    words = ("tail", submitted.file, submitted.stages[0].key, "--store", submitted.store.root, "--lines", 1)
    assert retain(*words).stdout == "it ended\n"
    assert [json.loads(line) for line in retain(*words, "--json").stdout.splitlines()] == [{"line": "it ended"}]


def test_what_is_pruned_is_told_to_a_program_and_nothing_goes_before_it_is_meant(submitted):
    words = ("prune", submitted.file, "--store", submitted.store.root, "--json")
    folders = [one for one in json.loads(retain(*words, "--dry").stdout) if not one.pop("deleted")]
    paths = [submitted.store.entry(one["key"]).folder / one["folder"] for one in folders]
    assert paths
    assert all(path.is_dir() for path in paths)
    assert json.loads(retain(*words).stdout) == [{**one, "deleted": True} for one in folders]
    assert not any(path.exists() for path in paths)


def test_scripts_are_shown_to_a_program_with_the_names_of_their_arrays(sweep_file, cluster_file):
    words = ("submit", sweep_file(), "--cluster", cluster_file)
    scripts = json.loads(retain(*words, "--print", "--json").stdout)
    assert len(scripts) == 3
    for one in scripts:
        assert one["array"].startswith("retain-small-")
        assert one["script"].startswith("#!/bin/bash")
        assert one["array"] in one["script"]
    alone = retain(*words, "--json")
    assert alone.returncode == 2
    assert "--print" in alone.stderr


def test_what_reading_commands_say_as_json_is_what_they_show(told, ran):
    assert told("check")[0]["problems"] == []
    assert [stage["done"] for stage in told("plan")[0]] == [True] * len(ran.stages)
    assert {stage["state"] for stage in told("status")[0]} <= {"completed", "diverged"}
    assert told("plan", "--budget", "1")[0] == []  # nothing is left to buy
    assert told("power")[0] == []  # of one scale
    verdicts, _, code = told("verify")
    assert {verdict["word"] for verdict in verdicts} == {"not covered"}
    assert code == 0
    stage = ran.stages[0]
    story, shown, _ = told("why", stage.key)
    assert (story["key"], story["state"]) == (stage.key, "completed")
    assert all(event["what"] in shown for event in story["story"])
    assert story["story"][0]["what"].startswith("attempt 1 by")


def test_problems_are_told_as_json_too(sweep_file):
    done = retain("check", sweep_file(languages=["en", "fr"]), "--json")
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert any("language fr" in problem for problem in found["problems"])


def test_what_json_does_not_know_is_a_word_or_null(capsys):
    print_json({"a": (float("nan"), float("inf")), "b": [{"c": -float("inf")}, 1.5, None, "ü"]})
    assert json.loads(capsys.readouterr().out) == {"a": [None, "inf"], "b": [{"c": "-inf"}, 1.5, None, "ü"]}


def test_ready_made_sweeps_are_read_and_planned(tmp_path):
    from launch.study.plan import make_plan
    from launch.study.sweep import load_sweep

    ready = sorted((Path(__file__).parents[2] / "launch" / "sweeps").glob("*.yaml"))
    assert {path.stem for path in ready} >= {"sandbox", "real-small"}
    for path in ready:
        encoder = None if path.stem == "sandbox" else ("sandbox-s",)
        plan = make_plan(load_sweep(path, scales=encoder, store=tmp_path / "store"))
        assert plan.stages


def test_power_of_an_empty_store_says_that_there_is_not_enough(sweep_file):
    done = retain("power", sweep_file())
    assert done.returncode == 0, done.stderr
    assert "Scales cannot be compared: fewer than two have begun." in done.stdout


def test_power_refuses_what_cannot_be_asked(sweep_file):
    done = retain("power", sweep_file(), "--delta", "0")
    assert done.returncode == 2
    assert "has to be above 0" in done.stderr
