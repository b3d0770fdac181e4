"""`retain fetch` fills a mirror from a hub: exactly what the sweep reads, pinned, checked, resumable."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from launch.mirror.fetch import CLAIMS
from launch.mirror.fetch import fetch as fetch_sweep
from launch.mirror.hub import HubError, RemoteFile, Repository
from launch.mirror.needed import needed_splits
from launch.study.sweep import load_sweep
from tests.launch.fake_hub import FakeHub, serving
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.store.claims import claim
from trainers.tasks import TASKS

TOKEN = "hf_QWERTYtotallysecret"
MNLI = "nyu-mll/glue/mnli/train.parquet"
XNLI = "google/xtreme/XNLI/test.parquet"
TATOEBA = "google/xtreme/tatoeba.deu/validation.parquet"
ENCODER = "lab/tiny"


@pytest.fixture
def hub(sandbox, tmp_path):
    """The sandbox's data in the layouts of the hub (two shards, the card's mapping, its conversion), and an encoder."""
    with serving() as hub:
        whole = pq.read_table(sandbox / MNLI)
        half = whole.num_rows // 2
        for number, shard in enumerate((whole.slice(0, half), whole.slice(half))):
            path = tmp_path / "shard.parquet"
            pq.write_table(shard, path, row_group_size=50)
            hub.add("nyu-mll/glue", f"mnli/train-0000{number}-of-00002.parquet", path.read_bytes())
        matched = (sandbox / "nyu-mll/glue/mnli/validation_matched.parquet").read_bytes()
        hub.add("nyu-mll/glue", "elsewhere/matched-00000-of-00001.parquet", matched)
        mapping = [{"split": "validation_matched", "path": "elsewhere/matched-*"}]
        hub.cards["nyu-mll/glue"] = {"configs": [{"config_name": "mnli", "data_files": mapping}]}
        for split in ("test", "validation"):
            content = (sandbox / f"google/xtreme/XNLI/{split}.parquet").read_bytes()
            hub.add("google/xtreme", f"XNLI/{split}-00000-of-00001.parquet", content)
        converted = "tatoeba.deu/validation/0000.parquet"
        hub.add("google/xtreme", converted, (sandbox / TATOEBA).read_bytes(), "refs/convert/parquet")
        for path in (SANDBOX_ENCODERS / "sandbox-l").iterdir():
            hub.add(ENCODER, path.name, path.read_bytes())
        hub.add(ENCODER, "pytorch_model.bin", b"pickled")
        yield hub


@pytest.fixture
def start(hub: FakeHub, sweep_file, tmp_path):
    """Starts `retain fetch` (or another command) with an empty mirror against the fake hub."""

    def begin(*words: str, command: str = "fetch", endpoint: str = "", **changes) -> subprocess.Popen[str]:
        sweep = sweep_file(**{"mirror": str(tmp_path / "mirror"), "scales": [ENCODER], **changes})
        variables = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        variables |= {"HF_ENDPOINT": endpoint or hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}
        return subprocess.Popen(
            [sys.executable, "-m", "launch.cli", command, str(sweep), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**variables, "COLUMNS": "300"},
        )

    return begin


@pytest.fixture
def fetch(start):
    """Runs it to its end and gives what it tells."""

    def run(*words: str, status: int = 0, **changes) -> str:
        process = start(*words, **changes)
        told, _ = process.communicate(timeout=120)
        assert process.returncode == status, told
        assert not [word for word in ("Traceback", TOKEN, "s3cret") if word in told]
        return told

    return run


def ledger(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "mirror" / "fetched.json").read_text())


def test_everything_that_the_sweep_reads_is_fetched_and_nothing_else(fetch, hub, sandbox, tmp_path):
    mirror = tmp_path / "mirror"
    fetch()
    for path in (MNLI, XNLI, TATOEBA):
        assert pq.read_table(mirror / path).equals(pq.read_table(sandbox / path))
    assert pq.read_schema(mirror / MNLI).metadata == pq.read_schema(sandbox / MNLI).metadata  # the class names
    found = {str(path.relative_to(mirror)) for path in mirror.rglob("*") if path.is_file()}
    encoder = {f"{ENCODER}/{name}" for name in ("config.json", "tokenizer.json", "tokenizer_config.json")}
    assert found == {
        *(MNLI, XNLI, TATOEBA, "nyu-mll/glue/mnli/validation_matched.parquet", "fetched.json"),
        *("google/xtreme/XNLI/validation.parquet", f"{ENCODER}/model.safetensors", *encoder),
        ".fetch/claims/000001",
    }
    facts = ledger(tmp_path)["nyu-mll/glue"]
    assert facts["commit"] == hub.commit("nyu-mll/glue", "main")
    assert facts["files"][MNLI]["rows"] == pq.read_metadata(sandbox / MNLI).num_rows
    assert len(facts["files"][MNLI]["from"]) == 2
    assert "converted_commit" in ledger(tmp_path)["google/xtreme"]["files"][TATOEBA]
    assert "ready" in fetch(command="check")


def test_a_second_run_checks_and_asks_the_hub_nothing(fetch, hub):
    fetch()
    hub.requests.clear()
    assert "0 fetched, 6 there already" in fetch()
    assert hub.requests == []


def test_what_is_added_later_comes_from_the_pinned_commit(fetch, hub, tmp_path):
    fetch(intermediates=["none"], targets=["tatoeba"])
    pinned = ledger(tmp_path)["google/xtreme"]["commit"]
    hub.files["google/xtreme", "old"] = hub.files["google/xtreme", "main"]
    hub.files["google/xtreme", "main"] = {"README.md": b"all rows were replaced"}
    fetch()
    assert ledger(tmp_path)["google/xtreme"]["files"][XNLI]["commit"] == pinned


def test_a_changed_file_is_told_and_fetched_only_when_asked(fetch, sandbox, tmp_path):
    fetch()
    path = tmp_path / "mirror" / XNLI
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{XNLI}: changed since it was fetched" in fetch(status=1)
    assert "1 fetched" in fetch("--again")
    assert pq.read_table(path).equals(pq.read_table(sandbox / XNLI))


def test_files_brought_by_hand_are_kept(fetch, sandbox, tmp_path):
    path = tmp_path / "mirror" / XNLI
    path.parent.mkdir(parents=True)
    path.write_bytes((sandbox / XNLI).read_bytes())
    assert f"kept     {XNLI}: not fetched by this command" in fetch()


def test_a_cut_download_goes_on_where_it_was(fetch, hub):
    hub.cuts["model.safetensors"] = [100_000, 150_000]
    fetch()
    asked = [headers.get("range", "bytes=0-") for headers in hub.asked("cdn/lab/tiny")]
    starts = [int(word.removeprefix("bytes=").rstrip("-")) for word in asked]
    assert starts[0] == 0
    assert len(starts) == 3
    assert 0 < starts[1] <= 100_000 < starts[2] <= 250_000


def test_a_later_process_goes_on_where_the_first_was_cut(fetch, hub, tmp_path):
    hub.cuts["model.safetensors"] = [100_000, *[0] * 9]
    told = fetch(status=1)
    assert "broke off at 100,000 of 751,000 bytes" in told
    assert not (tmp_path / "mirror" / ENCODER / "config.json").exists()  # no encoder until it is whole
    hub.cuts.clear()
    hub.requests.clear()
    fetch()
    assert [headers.get("range") for headers in hub.asked("cdn/lab/tiny")] == ["bytes=100000-"]


def test_wrong_bytes_are_never_put_into_the_mirror(fetch, hub, tmp_path):
    hub.corrupt.add("XNLI/test-00000-of-00001.parquet")
    assert "another checksum than the hub announces" in fetch(status=1)
    assert not (tmp_path / "mirror" / XNLI).exists()
    assert (tmp_path / "mirror" / MNLI).exists()
    hub.corrupt.clear()
    assert "1 fetched" in fetch()


def test_the_token_goes_to_the_hub_only_and_into_no_file(fetch, hub, tmp_path):
    fetch()
    sent = {host.split(":")[0] for host, _, headers in hub.requests if TOKEN in str(headers)}
    assert sent == {"127.0.0.1"}  # not to `localhost`, where the large files lie
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for headers in hub.asked("/resolve/"))
    for path in (tmp_path / "mirror").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


def test_all_that_cannot_be_fetched_is_told_at_once_and_the_rest_is_there(fetch, hub, tmp_path):
    hub.gated.add("google/xtreme")
    told = fetch(
        status=1,
        scales=[ENCODER, "lab/absent"],
        intermediates=["none", "mnli", "ccg", "mnli+mlm"],
        targets=["xnli", "bucc"],
    )
    assert "google/xtreme: access is granted on request only" in told
    assert "lab/absent: the hub has no such model" in told
    for source in ("ccgbank", "bucc2018", "text"):
        assert f"{source} is not on the hub, supply it yourself" in told
    assert "bucc2018/de-en/test.gold.parquet" in told
    assert (tmp_path / "mirror" / MNLI).exists()
    assert (tmp_path / "mirror" / ENCODER / "model.safetensors").exists()


def test_a_split_without_parquet_is_told(fetch, hub):
    del hub.files["google/xtreme", "main"]["XNLI/test-00000-of-00001.parquet"]
    assert "google/xtreme: no parquet for the split 'test' of 'XNLI'" in fetch(status=1)


def test_an_encoder_that_would_have_to_be_unpickled_is_refused(fetch, hub, tmp_path):
    weights = hub.files[ENCODER, "main"].pop("model.safetensors")
    told = fetch(status=1)
    assert "no *.safetensors, and pickled weights are never read" in told
    hub.files[ENCODER, "refs/pr/3"] = {**hub.files[ENCODER, "main"], "model.safetensors": weights}
    fetch("--revision", f"{ENCODER}=refs/pr/3")
    assert ledger(tmp_path)[ENCODER]["commit"] == hub.commit(ENCODER, "refs/pr/3")
    assert "6 there already" in fetch()


def test_another_revision_than_the_pinned_one_needs_again(fetch, hub, tmp_path):
    fetch()
    hub.files[ENCODER, "v2"] = {**hub.files[ENCODER, "main"], "tokenizer_config.json": b"{}"}
    words = ("--revision", f"{ENCODER}=v2")
    assert "the mirror holds commit" in fetch(*words, status=1)
    assert "1 fetched" in fetch(*words, "--again")
    assert (tmp_path / "mirror" / ENCODER / "tokenizer_config.json").read_bytes() == b"{}"


def test_a_second_fetch_waits_for_the_first_and_then_finds_it_done(start, hub, tmp_path):
    claims = tmp_path / "mirror" / CLAIMS
    claims.parent.mkdir(parents=True)
    first = claim(claims, "a colleague's fetch")
    process = start()
    assert process.stdout.readline().startswith("waiting  for a colleague's fetch on ")
    assert hub.requests == []  # not a byte while another has the turn
    first.release()
    told, _ = process.communicate(timeout=120)
    assert "6 fetched, 0 there already" in told
    assert [path.name for path in claims.iterdir()] == ["000002"]


def test_two_fetches_at_once_download_everything_once(start, hub, sandbox, tmp_path):
    both = [start(), start()]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sorted(line for text in told for line in text.splitlines() if line.startswith("mirror")) == [
        f"mirror   {tmp_path / 'mirror'}: 0 fetched, 6 there already",
        f"mirror   {tmp_path / 'mirror'}: 6 fetched, 0 there already",
    ]
    assert len(hub.asked("cdn/lab/tiny")) == 1
    assert pq.read_table(tmp_path / "mirror" / MNLI).equals(pq.read_table(sandbox / MNLI))


def test_the_turn_of_a_dead_fetch_is_taken_over(fetch, tmp_path):
    claims = tmp_path / "mirror" / CLAIMS
    claims.parent.mkdir(parents=True)
    code = f"from pathlib import Path; from trainers.store.claims import claim; claim(Path({str(claims)!r}), 'killed')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert "waiting" not in fetch()


def test_a_fetch_that_was_taken_over_writes_no_more(sweep_file, sandbox, tmp_path, monkeypatch):
    """As a machine that slept for an hour in the middle of a download finds it."""
    claims = tmp_path / "mirror" / CLAIMS

    def download(_remote, target, _advance):
        (claims / "000002").write_text("{}")
        target.parent.mkdir(parents=True)
        target.write_bytes((sandbox / TATOEBA).read_bytes())

    monkeypatch.setattr("launch.mirror.fetch.download", download)
    assert "another `retain fetch` has taken over this mirror" in in_process(sweep_file, tmp_path, monkeypatch, size=1)
    assert not (tmp_path / "mirror" / TATOEBA).exists()
    assert not (tmp_path / "mirror" / "fetched.json").exists()


def test_an_unreachable_hub_is_one_sentence(fetch):
    told = fetch(status=1, endpoint="http://127.0.0.1:9")
    assert told.count("cannot reach http://127.0.0.1:9") == 1


def test_the_sandbox_needs_no_hub(fetch):
    assert "needs nothing from the hub" in fetch(status=2, mirror=None, scales=["sandbox-s"])


def test_a_mirror_that_cannot_be_written_is_told(fetch, tmp_path):
    (tmp_path / "mirror").write_text("a file where the folder should be")
    assert "cannot write to" in fetch(status=1)


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; the same command resumes"),
        (KeyboardInterrupt(), "interrupted; the same command resumes"),
    ],
)
def test_a_fetch_that_ends_early_says_how_to_go_on(happens, told, sweep_file, tmp_path, monkeypatch):
    def download(*_):
        raise happens

    monkeypatch.setattr("launch.mirror.fetch.download", download)
    assert told in in_process(sweep_file, tmp_path, monkeypatch, size=1)


def test_what_does_not_fit_is_not_begun(sweep_file, tmp_path, monkeypatch):
    assert "GiB are needed" in in_process(sweep_file, tmp_path, monkeypatch, size=2**60)


def in_process(sweep_file, tmp_path: Path, monkeypatch, size: int) -> str:
    """What a fetch tells of one split of `size` bytes."""
    listed = repository("tatoeba.deu/validation.parquet", size=size)
    monkeypatch.setattr("launch.mirror.fetch.list_repository", lambda *_: listed)
    content = {
        "mirror": str(tmp_path / "mirror"),
        "intermediates": ["none"],
        "targets": ["tatoeba"],
        "languages": ["de"],
    }
    return "\n".join(fetch_sweep(load_sweep(sweep_file(**content)), Console()))


def test_a_job_stays_offline(monkeypatch):
    from launch.job.rank import stay_offline

    monkeypatch.delenv("HF_HUB_OFFLINE")
    stay_offline()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_joined_tasks_need_all_of_their_files(sweep_file):
    paths = {split.path for split in needed_splits(load_sweep(sweep_file(intermediates=["anli_plus"])))}
    assert {"facebook/anli/plain_text/train_r3.parquet", MNLI, "stanfordnlp/snli/plain_text/train.parquet"} <= paths


def test_text_is_to_be_brought_in_all_40_languages_and_each_is_named(tmp_path):
    sweep = load_sweep(Path("launch/sweeps/variants.yaml"), mirror=tmp_path, scales=["sandbox-s"])
    wanted = {f"text/{language}.parquet" for language in TASKS["panx"].languages}
    assert len(wanted) == 40
    assert {split.path for split in needed_splits(sweep) if split.source == "text"} == wanted
    (tmp_path / "text").mkdir()
    (tmp_path / "text/en.parquet").touch()
    (told,) = (line for line in fetch_sweep(sweep, Console()) if line.startswith("text is not on the hub"))
    assert {word.strip(",") for word in told.split() if word.startswith("text/")} == wanted - {"text/en.parquet"}


@pytest.mark.parametrize(
    ("path", "config", "split"),
    [
        ("mnli/train-00000-of-00001.parquet", "mnli", "train"),
        ("mnli/train.parquet", "mnli", "train"),
        ("mnli/train/0000.parquet", "mnli", "train"),
        ("data/train-00000-of-00001.parquet", "default", "train"),
        ("data/train-00000-of-00001-b5c1d0e9a2f34c56.parquet", "default", "train"),
        ("train-00000-of-00001.parquet", "default", "train"),
    ],
)
def test_the_layouts_of_the_hub_are_known(path, config, split):
    assert [file.path for file in repository(path).shards(config, split)] == [path]


@pytest.mark.parametrize("path", ["mnli/train_r1-00000-of-00001.parquet", "qnli/train.parquet", "mnli/train.csv"])
def test_other_files_are_not_taken_for_a_split(path):
    assert repository(path).shards("mnli", "train") == ()


def test_a_missing_shard_is_told():
    with pytest.raises(HubError, match="announces 2 shards, but 1 are there"):
        repository("mnli/train-00000-of-00002.parquet").shards("mnli", "train")


def repository(*paths: str, size: int = 1) -> Repository:
    files = {path: RemoteFile("a/b", "dataset", "c0ffee", path, size, None, None) for path in paths}
    return Repository("a/b", "c0ffee", files, [])
