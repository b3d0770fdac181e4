"""`.ci/run` takes what the machine lacks, then is `make test`; the public workflow asks only for what make has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[1]
WORKFLOW = CHECKOUT / ".github" / "workflows" / "ci.yml"
MAKE = "echo '5 passed in 1.00s'; echo '2 failed in 2.00s'; echo 'make: *** [Makefile:30: test] Error 1' >&2; exit 2"


@pytest.fixture
def ci(tmp_path):
    """Runs the script in a folder in which SLURM's packages are as told, with no command but these."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".ci").mkdir()
    (tmp_path / "slurm" / "devcluster").mkdir(parents=True)
    shutil.copy(CHECKOUT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    for name in ("bash", "env", "dirname", "sed"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))

    def run(missing: str, **commands: str) -> tuple[int, list[str], list[str]]:
        (tmp_path / "slurm" / "devcluster" / "packages.py").write_text(f"print({missing!r})")
        for name, script in commands.items():
            command = tmp_path / "bin" / name.replace("_", "-")
            command.write_text(f"#!/usr/bin/env bash\necho {command.name} $* >> {tmp_path}/log\n{script}\n")
            command.chmod(0o755)
        done = subprocess.run(
            [tmp_path / ".ci" / "run"], env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True
        )
        return done.returncode, done.stdout.splitlines(), (tmp_path / "log").read_text().splitlines()

    return run


def test_pytests_summary_stands_last_and_the_status_is_makes(ci):
    status, said, ran = ci("", chromium="", apt_get="exit 1", make=MAKE)
    assert (status, said) == (2, ["5 passed in 1.00s", "2 failed in 2.00s"])
    assert ran == ["make --no-print-directory test"]  # what is there is not asked for


def test_what_is_missing_is_installed_after_one_update(ci):
    status, said, ran = ci("slurmctld munge", apt_get="echo chatter", make="echo 7 passed in 1.00s")
    assert (status, said) == (0, ["installed chromium", "installed slurmctld munge", "7 passed in 1.00s"])
    assert [line.split()[1] for line in ran] == ["update", "install", "install", "--no-print-directory"]


def test_what_cannot_be_installed_is_said_and_tests_run_without(ci):
    no_slurm = '[[ "$*" != *munge* ]]'
    status, said, _ = ci("slurmctld munge", apt_get=no_slurm, make="echo 7 passed in 1.00s")
    lost = "could not install slurmctld munge: nothing is tested on a real SLURM cluster"
    assert (status, said) == (0, ["installed chromium", lost, "7 passed in 1.00s"])


def test_the_workflow_runs_lint_quick_tests_and_docs_as_make_has_them():
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    targets = [command.split()[1] for command in commands if command.startswith("make ")]
    assert targets == [".venv/ready", "lint", "quick", "docs"]
    assert commands[-1].endswith(".ci/run")
    subprocess.run(["make", "--dry-run", *targets, "test"], cwd=CHECKOUT, check=True, capture_output=True)
