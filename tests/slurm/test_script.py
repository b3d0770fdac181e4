"""The sbatch script, to the letter; and what goes into it cannot get out of its place."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.commands import SlurmError, ask
from slurm.profile import Profile
from slurm.script import ArrayExecutor, ArrayJob, ranges, srun
from slurm.sizing.memory import Placement

GOLDEN = Path(__file__).with_name("golden.sbatch")
PROFILE = Profile(
    cluster="big",
    partition="gpu",
    account="nlp",
    qos="normal",
    constraint="a100_80",
    exclude="node[3,7]",
    nodes=8,
    gpus_per_node=4,
    gpu_type="a100",
    cpus_per_rank=8,
    memory_per_rank_gib=60,
    time_limit_min=1440,
    max_running=16,
    setup=("module load cuda/12.4", "export NCCL_DEBUG=WARN"),
)


def job(folder: Path, **changes) -> ArrayJob:
    fields = {
        "name": "retain-paper-0123abcd",
        "folder": folder,
        "command": ("python", "-m", "launch.job.batch", "/shared/store/slurm/retain-paper-0123abcd"),
        "indices": (0, 1, 2, 5),
        "placement": Placement(nodes=2, ranks_per_node=4, zero_stage=3),
        "minutes": 240,
        "dependency": "aftercorr:4711",
        "comment": "retain paper xl",
    }
    return ArrayJob(**{**fields, **changes})


def test_the_script_is_the_golden_one(tmp_path):
    """Change it on purpose only: this is what users' clusters get to see."""
    text = ArrayExecutor(job(tmp_path), PROFILE).text().replace(str(tmp_path), "/shared/store/slurm/x")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("profile", "failed", "shown"),
    [(None, (), ""), (None, ("n1", "n2"), "n1,n2"), ("n[3-4]", (), "'n[3-4]'"), ("n[3-4]", ("n1",), "'n[3-4],n1'")],
)
def test_nodes_that_failed_are_left_out_beside_those_of_the_profile(tmp_path, profile, failed, shown):
    text = ArrayExecutor(job(tmp_path, exclude=failed), PROFILE.model_copy(update={"exclude": profile})).text()
    assert [line for line in text.splitlines() if "--exclude" in line] == [f"#SBATCH --exclude={shown}"] * bool(shown)


def test_gpus_are_asked_for_as_the_cluster_likes(tmp_path):
    def asked(**changes) -> str:
        return ArrayExecutor(job(tmp_path), PROFILE.model_copy(update=changes)).text()

    assert "--gpus-per-node=a100:4" in asked()
    assert "--gres=gpu:a100:4" in asked(gpu_request="gres")
    assert "--gpus-per-node=4" in asked(gpu_type=None)
    assert "gpu:" not in asked(gpus_per_node=0)
    assert "--gpus" not in asked(gpus_per_node=0)


@pytest.mark.parametrize(
    ("mail", "mails", "asked"),
    [
        ("me@example.org", ("BEGIN", "FAIL"), ["--mail-type=BEGIN,FAIL", "--mail-user=me@example.org"]),
        ("me@example.org", (), []),
        (None, ("BEGIN", "FAIL"), []),
    ],
)
def test_slurm_itself_mails_whom_the_cluster_file_names(tmp_path, mail, mails, asked):
    text = ArrayExecutor(job(tmp_path, mails=mails), PROFILE.model_copy(update={"mail": mail})).text()
    assert sorted(line.removeprefix("#SBATCH ") for line in text.splitlines() if "--mail" in line) == asked


@pytest.mark.parametrize("word", ["a b", "it's", '"', "$(touch x)", "`x`", "a;b", "ü", "\\", "*", "&", "#"])
def test_a_hostile_command_stays_one_word(tmp_path, word):
    text = ArrayExecutor(job(tmp_path, command=("printf", "%s", word), dependency=None), PROFILE).text()
    body = text.split("# command\n")[1]
    assert subprocess.run(["bash", "-c", body], capture_output=True, text=True, check=True).stdout == word
    assert shlex.split(body)[-1] == word


@pytest.mark.parametrize("name", ["a b", "it's", '"', "$(touch x)", "`x`", "a;b #", "ü", "日本語", "100%j", "*"])
def test_a_hostile_folder_stays_in_its_directive(tmp_path, name):
    text = ArrayExecutor(job(tmp_path / name), PROFILE).text()
    (line,) = (line for line in text.splitlines() if line.startswith("#SBATCH --output="))
    as_slurm_reads_it = [f"--output={tmp_path}/{name.replace('%', '%%')}/log/%a.txt"]
    assert shlex.split(line.removeprefix("#SBATCH ")) == as_slurm_reads_it
    assert f"--output={tmp_path}/{name.replace('%', '%%')}/rank-%t.txt" in srun(Placement(), 1, tmp_path / name, ())


def test_a_folder_whose_name_slurm_would_change_is_refused(tmp_path):
    with pytest.raises(ValueError, match="SLURM drops backslashes"):
        job(tmp_path / "a\\b")


@pytest.mark.parametrize("bad", ["\n", "\r", "\t", "\0", "\x1b", "\u2028"])
@pytest.mark.parametrize("field", ["name", "folder", "comment"])
def test_nothing_leaves_its_directive_by_a_line_break(tmp_path, field, bad):
    text = f"/x{bad}touch pwned #"
    with pytest.raises(ValueError, match="must be one line of printable text"):
        replace(job(tmp_path), **{field: Path(text) if field == "folder" else text})


@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges_name_exactly_the_indices(indices):
    named = set()
    for part in ranges(tuple(indices)).split(","):
        first, _, last = part.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == indices


def test_a_step_has_one_task_for_each_gpu_and_its_own_cpus():
    command = srun(Placement(nodes=2, ranks_per_node=4), 8, Path("/logs"), ("python",))
    assert {"--nodes=2", "--ntasks=8", "--ntasks-per-node=4", "--cpus-per-task=8"} <= set(command)
    assert command[-1] == "python"


def test_without_slurm_sending_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="login node"):
        ArrayExecutor(job(tmp_path), PROFILE).send()


@pytest.mark.parametrize(
    ("answer", "said", "unsure"),
    [
        ("echo 'sbatch: error: invalid partition specified: x' >&2; exit 1", "invalid partition", False),
        (
            "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller' >&2; exit 1",
            "contact",
            True,
        ),
        ("echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1", "timed out", True),
        ("echo done", "names no job", True),
    ],
)
def test_an_answer_that_names_no_job_tells_whether_there_may_be_one(tmp_path, monkeypatch, answer, said, unsure):
    fake = tmp_path / "sbatch"
    fake.write_text(f"#!/bin/sh\n{answer}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(SlurmError, match=said) as error:
        ArrayExecutor(job(tmp_path), PROFILE).send()
    assert error.value.unsure is unsure


@pytest.mark.parametrize(("script", "unsure"), [("kill -PIPE $$", True), ("echo refused >&2; exit 1", False)])
def test_a_command_that_was_killed_may_have_done_its_work(script, unsure):
    with pytest.raises(SlurmError) as caught:
        ask(["sh", "-c", script])
    assert caught.value.unsure is unsure
