"""The cluster file: what is wrong in it is told, all at once; what `retain init` writes is read back."""

from __future__ import annotations

import pytest
import yaml

from slurm.probe import gres, minutes
from slurm.profile import Profile, ProfileError, commented_yaml, load_profile
from slurm.sizing.memory import Placement

SOUND = {
    "cluster": "big",
    "partition": "gpu",
    "nodes": 8,
    "gpus_per_node": 4,
    "cpus_per_rank": 8,
    "time_limit_min": 1440,
}


def read(tmp_path, content: str | dict) -> Profile:
    path = tmp_path / "cluster.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return load_profile(path)


def test_what_init_writes_is_read_back_and_says_what_each_field_is(tmp_path):
    profile = Profile(**SOUND, setup=("module load cuda", "source env.sh # mine"), scales={"xl": Placement(nodes=2)})
    text = commented_yaml(profile, {"partition": "sinfo; others: debug"})
    assert read(tmp_path, text) == profile
    for name, field in Profile.model_fields.items():
        assert f"\n{name}:" in text
        assert " ".join((field.description or "no description").split()) in text.replace("\n# ", " ")
    assert "partition: gpu   # sinfo; others: debug" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"partition": None}, "partition"),
        ({"partition": "gpu; rm -rf /"}, "partition"),
        ({"partition": "gpu\nx"}, "partition"),
        ({"account": "$(id)"}, "account"),
        ({"setup": ["a\nb"]}, "one line"),
        ({"setup": "module load cuda"}, "setup"),
        ({"nodes": 0}, "nodes"),
        ({"gpus_per_node": -1}, "gpus_per_node"),
        ({"time_limit_min": "soon"}, "time_limit_min"),
        ({"memory_per_rank_gib": float("nan")}, "memory_per_rank_gib"),
        ({"gpu_request": "please"}, "gpu_request"),
        ({"partitoin": "gpu"}, "did you mean 'partition'"),
        ({"scales": {"xl": {"zero_stag": 3}}}, "did you mean 'zero_stage'"),
        ({"scales": {"xl": {"zero_stage": 4}}}, "zero_stage"),
        ({"scales": {"xl": {"zero_stage": 2, "offload": True}}}, "offload needs ZeRO-3, not stage 2"),
        ({"scales": {"xl": {"ranks_per_node": 5}}}, "more GPUs than the 4"),
        ({"scales": {"xl": {"nodes": 9}}}, "more than the 8"),
    ],
)
def test_a_mistake_is_told_with_its_field(tmp_path, change, said):
    with pytest.raises(ProfileError, match=r"cluster\.yaml") as error:
        read(tmp_path, {**SOUND, **change})
    assert said in str(error.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(ProfileError) as error:
        read(tmp_path, {**SOUND, "nodes": 0, "cpus_per_rank": "many", "qoss": "high"})
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize("content", ["", "[]", "just words", "a: [", "1: 2", "\x00"])
def test_what_is_no_cluster_file_is_told(tmp_path, content):
    with pytest.raises(ProfileError, match=r"cluster\.yaml"):
        read(tmp_path, content)


def test_a_missing_file_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(ProfileError, match="retain init"):
        load_profile(tmp_path / "cluster.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30),
        ("1:30", 1),
        ("02:00:00", 120),
        ("7-00:00:00", 7 * 1440),
        ("1-12", 36 * 60),
        ("1-12:30", 36 * 60 + 30),
        ("infinite", None),
        ("UNLIMITED", None),
    ],
)
def test_times_are_read_as_slurm_writes_them(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(null)", (0, None)),
        ("gpu:4", (4, None)),
        ("gpu:a100:8(S:0-1)", (8, "a100")),
        ("craynetwork:4,gpu:h100_80gb:4(IDX:0-3)", (4, "h100_80gb")),
        ("gpu", (1, None)),
        ("shard:8", (0, None)),
    ],
)
def test_gpus_are_read_as_slurm_writes_them(text, expected):
    assert gres(text) == expected


def test_a_file_of_an_earlier_init_is_read_and_its_webhook_is_told_to_be_gone(tmp_path):
    assert read(tmp_path, {**SOUND, "webhook_file": None}) == Profile(**SOUND)
    with pytest.raises(ProfileError, match="webhook_file: is no longer used"):
        read(tmp_path, {**SOUND, "webhook_file": "~/hook"})


ADDRESSES = ["-oQ/tmp", "me", "a@b,c@d", "a@b\nBcc: c@d", "-x@y", "a b@c", "a@-b", "", "<a@b>", "a@b\n"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_plain_address_is_refused(tmp_path, address):
    with pytest.raises(ProfileError, match="mail"):
        read(tmp_path, {**SOUND, "mail": address})
