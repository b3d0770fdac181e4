"""docs/tutorial.md can be followed to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def steps() -> dict[str, str]:
    """What each part has a reader type, by the part's number."""
    parts = re.split(r"^## (\d)\. .*$", (CHECKOUT / "docs" / "tutorial.md").read_text(encoding="utf-8"), flags=re.M)
    texts = zip(parts[1::2], parts[2::2], strict=True)
    typed = {number: "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)) for number, text in texts}
    return {number: re.sub(r"\\\n *", "", text) for number, text in typed.items()}  # each command in one line


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Runs commands in a checkout in which `retain` is installed; there is neither SLURM nor W&B."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "launch").symlink_to(CHECKOUT / "launch")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "retain").write_text(f'#!/bin/sh\nexec {sys.executable} -m launch.cli "$@"\n')
    (programs / "retain").chmod(0o755)
    for name in ("sh", "sed", "cat", "git"):
        (programs / name).symlink_to(next(path for one in ("/usr/bin", "/bin") if (path := Path(one, name)).exists()))
    environment = {
        **{"PATH": str(programs), "PYTHONPATH": str(CHECKOUT), "HOME": str(folder), "COLUMNS": "120"},
        **{name: os.environ[name] for name in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE")},
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }

    def run(commands: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True, timeout=800
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run.folder = folder
    return run


SHORT = """
overrides: {"*": {max_steps: 4}}
probe: {examples: 12, examples_other: 2, refit_examples: 12}
evaluation: {max_examples: 20, development_examples: 20}
"""
"""Appended to the reader's sweep: its first minutes, in seconds."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_study_on_the_sandbox_and_the_scripts_of_slurm(steps, shell):
    doctor, made, *rest = filter(None, steps["1"].splitlines())
    assert doctor == "retain doctor"  # its verdict is on the machine
    said = shell("\n".join([made, f"cat >> first.yaml <<END{SHORT}END", *rest]))
    promised = re.search(r"^    (\d+ stages): ", (CHECKOUT / "docs" / "tutorial.md").read_text(), re.M)
    assert promised is not None
    assert f"{promised[1]}: " in said
    assert "26 stages, 18 trainings, 18 done" in said
    assert (shell.folder / "runs" / "first" / "report" / "report.html").is_file()
    said = shell(steps["3"])
    assert "ZeRO" in said
    assert "#SBATCH --array=" in said
    assert "aftercorr" in said


def test_the_study_on_real_data_is_sound_before_anything_is_fetched(steps, shell):
    typed = list(filter(None, steps["2"].splitlines()))
    assert {line.split()[1] for line in typed} >= {"new", "fetch", "check", "run", "report"}
    said = shell("\n".join(line for line in typed if line.split()[1] in ("new", "plan")))
    assert "0 done" in said


def test_the_dry_run_of_the_readme_needs_neither_cluster_nor_data(shell):
    (typed,) = re.findall(r"^```\n(printf .*?)^```$", (CHECKOUT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    said = shell(typed)
    assert "#SBATCH --array=" in said
    assert "aftercorr" in said


def test_init_without_a_cluster_says_where_to_run_it_and_what_to_do_instead(shell):
    said = shell("retain init other.yaml 2>&1 || echo $?")
    assert "run this on a login node of the cluster, or write the file by hand (docs/adding-a-cluster.md)" in said
    assert said.endswith("2\n")
    assert not (shell.folder / "other.yaml").exists()
