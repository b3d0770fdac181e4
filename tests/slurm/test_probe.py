"""What `retain init` makes of a cluster's answers."""

from __future__ import annotations

import pytest

from slurm import probe
from slurm.commands import SlurmError
from slurm.profile import commented_yaml, load_profile

CONFIG = "ClusterName = big\nSelectType = select/cons_tres\nAccountingStorageType = accounting_storage/slurmdbd\n"


@pytest.fixture
def cluster(monkeypatch):
    """Fakes SLURM's commands: GRES and features of a partition's nodes, and what sacctmgr says."""

    def answers(
        *nodes: tuple[str, str], associations: str = "nlp||\n", qos: str | SlurmError = "", config: str = CONFIG
    ) -> None:
        def ask(command: list[str]) -> str:
            if command[0] == "sinfo" and command[-1] == "%G|%f":
                return "".join(f"{gpus}|{features}\n" for gpus, features in nodes)
            if command[0] == "sinfo":
                return "".join(
                    f"gpu*|4|{gpus}|32|256000|2-00:00:00\n" for gpus in dict.fromkeys(gpus for gpus, _ in nodes)
                )
            if command[0] == "scontrol":
                return config
            assert "slurmdbd" in config, "where there is no accounting nobody is to be asked"
            if "association" in command:
                return associations
            if isinstance(qos, SlurmError):
                raise qos
            return qos

        monkeypatch.setattr(probe, "ask", ask)

    return answers


@pytest.mark.parametrize(
    ("nodes", "gpu", "said"),
    [
        ([("gpu:h100:4", "(null)")], "H100-80", "sinfo: h100"),
        ([("gpu:nvidia_a100-sxm4-80gb:4(S:0-1)", "intel,ib")], "A100-80", "sinfo: nvidia_a100"),
        ([("gpu:a100:4", "intel,a100_80")], "A100-80", "sinfo: a100"),
        ([("gpu:a100:4", "mem40g,GPU_MEM:80GB")], "A100-80", "sinfo: a100"),
        ([("gpu:a100:4", "rack1,gpu80"), ("gpu:a100:4", "rack2,gpu80")], "A100-80", "sinfo: a100"),
        ([("gpu:a100:4", "(null)")], "A100-40", "may be A100-40 or A100-80: write which"),
        ([("gpu:a100:4", "gpu80"), ("gpu:a100:4", "gpu40")], "A100-40", "write which"),
        ([("gpu:a100:4", "gpu80"), ("gpu:h100:4", "gpu80")], "A100-80", "sinfo: a100"),
        ([("gpu:4", "gpu80,a100")], "A100-80", "features of the nodes"),
        ([("gpu:4", "gpu_mem:80gb")], None, "SLURM does not name it; write one of V100-32"),
        ([("gpu:4", "(null)")], None, "SLURM does not name it"),
        ([("gpu:l40s:4", "a100")], "l40s", "write the nearest of V100-32"),
        ([("gpu:a100_3g.20gb:8", "a100")], "a100_3g.20gb", "write the nearest"),
        ([("(null)", "a100")], None, "sinfo: none"),
    ],
)
def test_the_gpu_is_named_as_the_table_names_it_or_a_person_is_asked(cluster, nodes, gpu, said):
    cluster(*nodes)
    profile, notes = probe.probe()
    assert profile.gpu == gpu
    assert said in notes["gpu"]


def test_the_type_in_the_request_stays_slurms_own(cluster):
    cluster(("gpu:nvidia_a100-sxm4-80gb:4", "(null)"))
    profile, _ = probe.probe()
    assert (profile.gpu, profile.gpu_type) == ("A100-80", "nvidia_a100-sxm4-80gb")


def test_each_qos_that_one_may_name_is_told_with_its_limits(cluster, tmp_path):
    limits = "normal|||\nlong|7-00:00:00|cpu=64,gres/gpu=8|10\ndebug|01:00:00||\nstaff|||\n"
    cluster(("gpu:h100:4", "(null)"), associations="nlp|50|debug,long,normal\nvision||normal\n", qos=limits)
    profile, notes = probe.probe()
    assert profile.qos is None
    assert notes["qos"] == (
        "sacctmgr: you may use debug (01:00:00), long (7-00:00:00, cpu=64 gres/gpu=8, 10 jobs submitted), normal"
    )
    assert (profile.account, profile.max_submitted) == (None, 50)
    file = tmp_path / "cluster.yaml"
    file.write_text(commented_yaml(profile, notes))
    assert load_profile(file) == profile
    assert "qos: null   # sacctmgr: you may use debug" in file.read_text()


def test_a_qos_whose_limits_nobody_tells_is_named_all_the_same(cluster):
    cluster(("gpu:h100:4", ""), associations="nlp||long\n", qos=SlurmError("slurmdbd is away"))
    assert probe.probe()[1]["qos"] == "sacctmgr: you may use long"
    cluster(("gpu:h100:4", ""), associations="")
    assert probe.probe()[1]["qos"] == "sacctmgr: none found"


def test_a_cluster_without_accounting_has_no_account_and_no_limits(cluster):
    cluster(("gpu:h100:4", ""), config=CONFIG.replace("slurmdbd", "none"))
    profile, notes = probe.probe()
    assert (profile.account, profile.max_submitted) == (None, None)
    assert notes["qos"] == "sacctmgr: none found"
