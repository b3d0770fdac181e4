"""`retain doctor` looks at what is there and says what to do; it stands in nobody's way and tells no secret."""

from __future__ import annotations

import json
import re
import shutil
from importlib.metadata import PackageNotFoundError

import pytest

from launch import doctor
from launch.commands import study
from launch.commands.study import Doctor
from launch.doctor import Finding

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """No SLURM, no key, and a W&B server that nobody reaches."""
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def command(folder, name: str, answer: str = "", code: int = 0) -> None:
    """A stand-in on the PATH."""
    file = folder / "bin" / name
    file.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    file.chmod(0o755)


def by_subject(findings) -> dict[str, Finding]:
    return {one.subject: one for one in findings}


def test_this_machine_can_run_a_sweep(tmp_path, capsys):
    assert study.doctor(Doctor(tmp_path / "runs" / "new", json=True)) == 0
    findings = {one["subject"]: one for one in json.loads(capsys.readouterr().out)}
    assert "problem" not in {one["verdict"] for one in findings.values()}
    assert findings["store"]["found"].startswith(str(tmp_path))
    assert findings["SLURM"]["advice"]
    assert findings["W&B server"]["advice"]
    assert not list(tmp_path.glob("*health*"))
    assert not (tmp_path / "runs").exists()


def test_a_problem_is_told_with_what_to_do_and_in_the_exit_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "check_store", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    assert study.doctor(Doctor(tmp_path)) == 1
    said = capsys.readouterr().out
    assert "problem" in said
    assert "Read-only file system" in said
    assert "choose another `store:`" in said


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch):
    def version(name: str) -> str:
        if name == "submitit":
            raise PackageNotFoundError
        return "1.0" if name == "transformers" else "99"

    monkeypatch.setattr(doctor, "version", version)
    found = by_subject(doctor.packages())["packages"]
    assert found.verdict == "problem"
    assert re.search(r"submitit\S*>=1\.5\.3\S* is missing", found.found)
    assert "1.0 is there" in found.found


def test_a_copy_that_is_not_installed_says_so(monkeypatch):
    def requires(_):
        raise PackageNotFoundError

    monkeypatch.setattr(doctor, "requires", requires)
    assert "not installed" in by_subject(doctor.packages())["packages"].found


def test_a_build_of_torch_without_cuda_beside_a_gpu_is_a_problem(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert by_subject(doctor.gpus())["GPU"].verdict == "note"
    command(tmp_path, "nvidia-smi")
    assert by_subject(doctor.gpus())["GPU"].verdict == "problem"


def test_a_scheduler_that_answers_one_that_does_not_and_one_without_accounting(tmp_path):
    command(tmp_path, "sbatch", "slurm 22.05.8")
    command(tmp_path, "squeue")
    command(tmp_path, "sacctmgr", "Connection refused", 1)
    found = by_subject(doctor.scheduler())
    assert found["SLURM"] == Finding("SLURM", "fine", "slurm 22.05.8, 0 jobs in the queue")
    assert found["accounting"].verdict == "note"
    assert "Connection refused" in found["accounting"].found
    command(tmp_path, "squeue", "Unable to contact slurm controller", 1)
    assert by_subject(doctor.scheduler())["SLURM"].verdict == "problem"


def test_a_key_is_found_and_never_told(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user password {KEY}\n")
    in_file = doctor.wandb_key()
    assert in_file.verdict == "fine"
    assert KEY not in str(in_file)
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user {KEY}\n")
    broken = doctor.wandb_key()
    assert broken.verdict == "problem"
    assert KEY not in str(broken)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    in_environment = doctor.wandb_key()
    assert in_environment.verdict == "fine"
    assert KEY not in str(in_environment)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", ""])
def test_a_server_that_cannot_be_reached_is_a_note(monkeypatch, url):
    monkeypatch.setenv("WANDB_BASE_URL", url)
    assert doctor.wandb_server().verdict == "note"


def test_a_disk_that_is_full_is_a_problem(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert {one.verdict for one in doctor.disks(tmp_path)} == {"problem"}
