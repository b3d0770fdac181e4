"""The store is the only source of truth: one holder a stage, nothing half-written, clear errors on bad disks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.trainers.stages import CHECKOUT, losses, run_here
from trainers.stage import Execution, Stage
from trainers.store import EventLog, StageEntry, Store
from trainers.store import claims as claims_module
from trainers.store.claims import Claim, ClaimLost, StageInUse
from trainers.store.files import StoreError, write_json
from trainers.training.checkpoint import KEEP, unfinished

CLAIM_FROM_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from trainers.store.claims import StageInUse
from trainers.store import StageEntry

sys.stdin.readline()
try:
    print("holds", StageEntry(Path(sys.argv[1])).claim(sys.argv[2]).number, flush=True)
    sys.stdin.readline()
except StageInUse as error:
    print("refused", error, flush=True)
"""


@pytest.fixture
def stage(arm) -> Stage:
    return arm[0]


@pytest.fixture
def entry(store, stage) -> StageEntry:
    return store.open(stage)


# -- identity ---------------------------------------------------------------------------------------------------


def test_same_key_with_other_content_is_refused_and_both_are_shown(store, stage, entry):
    stored = json.loads((entry.folder / "stage.json").read_text())
    write_json(entry.folder / "stage.json", stored | {"seed": 99})
    with pytest.raises(StoreError, match=f"seed: stored 99\n *wanted {stage.seed}") as raised:
        store.open(stage)
    assert stage.key in str(raised.value)
    assert "move this folder away" in str(raised.value)


def test_refused_stage_is_not_run(store, stage, entry, mirror):
    stored = json.loads((entry.folder / "stage.json").read_text())
    write_json(entry.folder / "stage.json", stored | {"development_examples": 25})
    with pytest.raises(StoreError, match="development_examples"):
        run_here(stage, store, mirror)
    assert sorted(path.name for path in entry.folder.iterdir()) == ["stage.json"]


def test_stage_under_another_name_is_the_same_stage(store, stage, entry):
    renamed = stage.model_copy(update={"intermediate": "another name"})
    assert store.open(renamed).key == entry.key


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema_version": 999}', "no json"])
def test_stage_file_of_another_version_is_refused(store, stage, entry, content):
    (entry.folder / "stage.json").write_text(content)
    with pytest.raises(StoreError, match="is not a stage of this version"):
        store.open(stage)


# -- claims -----------------------------------------------------------------------------------------------------


@pytest.fixture
def claimants(entry, cold) -> Iterator[list[subprocess.Popen]]:
    """Three processes, all ready to claim the stage; fresh ones, which are gone when they are killed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_FROM_ANOTHER_PROCESS, str(entry.folder), f"job {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        for number in range(3)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_several_processes_at_one_stage_exactly_one_holds_it(claimants, entry):
    for process in claimants:
        say(process)
    answers = sorted(process.stdout.readline() for process in claimants)
    assert answers[0] == "holds 1\n"
    holder = entry.claimant()
    for refused in answers[1:]:
        assert refused.startswith(f"refused stage {entry.key} is being run by")
        assert holder["job"] in refused


def test_claim_number_is_given_out_once(entry):
    """Two processes that saw the same free number: the first to link its file has it, the other must look again."""
    folder = entry.folder / "claims"
    folder.mkdir()
    assert Claim(folder, 1).create("first")
    assert not Claim(folder, 1).create("second")
    assert entry.claimant()["job"] == "first"
    assert [path.name for path in folder.iterdir()] == ["000001"]


def test_claim_of_a_killed_process_is_taken_over_with_a_higher_number(claimants, entry):
    holder, heir, late = claimants
    say(holder)
    assert holder.stdout.readline() == "holds 1\n"
    holder.kill()
    holder.wait()
    assert entry.claimant() is None
    say(heir)
    assert heir.stdout.readline() == "holds 2\n"
    say(late)
    assert late.stdout.readline().startswith("refused")


def test_released_claim_is_free_at_once(entry):
    claim = entry.claim("first")
    claim.release()
    assert entry.claimant() is None
    assert entry.claim("second").number == 2


def forge(entry: StageEntry, **owner: object) -> Path:
    """A claim as another process would have left it."""
    claim = entry.claim("forged")
    content = json.loads(claim.path.read_text())
    write_json(claim.path, content | owner)
    return claim.path


def test_reused_process_id_is_not_taken_for_the_holder(entry):
    forge(entry, pid=os.getpid(), process_started=psutil.Process().create_time() - 1000)
    assert entry.claimant() is None
    assert entry.claim("mine").number == 2


def test_claim_of_another_host_counts_while_its_file_is_touched(entry):
    path = forge(entry, host=f"not-{socket.gethostname()}", pid=1)
    with pytest.raises(StageInUse, match="forged"):
        entry.claim("mine")
    stale = time.time() - claims_module.CLAIM_STALE_S - 1
    os.utime(path, (stale, stale))
    assert entry.claim("mine").number == 2


def test_check_keeps_a_claim_fresh(entry):
    claim = entry.claim("mine")
    os.utime(claim.path, (0, 0))
    claim.check()
    assert time.time() - claim.path.stat().st_mtime < claims_module.CLAIM_STALE_S


def test_a_living_job_keeps_its_claim_fresh_between_checkpoints(entry, monkeypatch):
    monkeypatch.setattr(claims_module, "BEAT_EVERY_S", 0.0)
    claim = entry.claim("mine")
    os.utime(claim.path, (0, 0))
    claim.beat()
    assert time.time() - claim.path.stat().st_mtime < claims_module.CLAIM_STALE_S


def test_claim_file_that_is_not_json_belongs_to_nobody(entry):
    forge(entry).write_text("{")
    assert entry.claim("mine").number == 2


def test_stage_that_runs_cannot_be_run_a_second_time(store, stage, mirror):
    """The second start comes while the first is between two steps."""
    refused = []

    def run_again() -> bool:
        if not refused:
            with pytest.raises(StageInUse) as raised:
                run_here(stage, store, mirror)
            refused.append(raised.value)
        return False

    run_here(stage, store, mirror, should_stop=run_again)
    assert stage.key in str(refused[0])
    entry = store.entry(stage.key)
    assert entry.done
    assert len(entry.events("attempt")) == 1


def test_holder_whose_stage_was_taken_over_writes_nothing_more(store, stage, mirror):
    folder, checkpoints = store.entry(stage.key).folder, store.entry(stage.key).checkpoints
    left: dict[Path, bytes] = {}
    asked = iter(range(100))

    def files() -> dict[Path, bytes]:
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def taken_over() -> bool:
        if next(asked) == 4:
            # The one that was under way may end, and an older one make room for it.
            while unfinished(checkpoints) or len([*checkpoints.iterdir()]) > KEEP:
                time.sleep(0.01)
            write_json(folder / "claims" / "000002", {"host": "elsewhere", "pid": 1, "job": "thief"})
            left.update(files())
        return False

    with pytest.raises(ClaimLost, match="taken over"):
        run_here(stage, store, mirror, should_stop=taken_over, execution=Execution(checkpoint_every_s=0))
    entry = store.entry(stage.key)
    assert not entry.done
    assert not entry.events("ended")
    now = files()
    changed = {str(path) for path in now.keys() | left.keys() if now.get(path) != left.get(path)}
    assert changed <= {"events.jsonl", "claims/000001"}, "the step that was under way, and its own claim, at the most"
    assert len(losses(entry)) == 5


# -- events -----------------------------------------------------------------------------------------------------


def test_line_torn_by_a_crash_is_passed_over_and_does_not_spoil_the_next(entry):
    log = EventLog(entry)
    log.write("step", step=1)
    log.close()
    with (entry.folder / "events.jsonl").open("a") as file:
        file.write('{"event": "step", "st')
    log = EventLog(entry)
    log.write("step", step=2)
    log.close()
    assert [event["step"] for event in entry.events("step")] == [1, 2]


def test_events_are_read_while_they_are_written(entry):
    log = EventLog(entry)
    log.write("step", step=1, text="ключ 钥匙 🔑")
    assert entry.events()[0]["text"] == "ключ 钥匙 🔑"
    log.close()


# -- disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`small_disk("64k")`: a file system of its own; needs the right to mount."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"disk-{size}"
        folder.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(*arguments: str) -> None:
    if shutil.which("mount") is None or subprocess.run(["mount", *arguments], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root; CI has it")


def half_written(root: Path) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("size", ["4k", "16k", "32k", "64k", "100k", "500k", "900k"])
def test_full_disk_stops_a_stage_clearly_wherever_it_is(small_disk, stage, mirror, size):
    """The sizes make claim, caches, events, predictions and checkpoints the first that do not fit."""
    store = Store(small_disk(size) / "store")
    with pytest.raises(StoreError, match=r"cannot write .*Free space or choose another store"):
        run_here(stage, store, mirror, execution=Execution(checkpoint_every_s=0))
    assert not store.entry(stage.key).done
    assert not half_written(store.root)


def test_stage_goes_on_when_space_is_freed(small_disk, stage, mirror):
    disk = small_disk("2m")
    store = Store(disk / "store")
    (disk / "ballast").write_bytes(bytes(1_900_000))
    with pytest.raises(StoreError):
        run_here(stage, store, mirror, execution=Execution(checkpoint_every_s=0))
    (disk / "ballast").unlink()
    run_here(stage, store, mirror)
    assert store.entry(stage.key).done


def test_read_only_store_is_told_before_anything_runs(small_disk, stage, mirror):
    disk = small_disk("1m")
    mount("-o", "remount,ro", str(disk))
    with pytest.raises(StoreError, match=r"cannot write .*Read-only file system"):
        run_here(stage, Store(disk / "store"), mirror)


def test_store_that_became_read_only_is_told_too(small_disk, stage, mirror):
    disk = small_disk("1m")
    store = Store(disk / "store")
    store.open(stage)
    mount("-o", "remount,ro", str(disk))
    with pytest.raises(StoreError, match=r"cannot write .*Read-only file system"):
        run_here(stage, store, mirror)


def test_finished_stage_is_found_in_a_read_only_store(small_disk, stage, mirror):
    disk = small_disk("8m")
    store = Store(disk / "store")
    outcome = run_here(stage, store, mirror)
    mount("-o", "remount,ro", str(disk))
    assert run_here(stage, store, mirror) == outcome


def test_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "result.json"
    write_json(path, {"whole": True})
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StoreError, match=r"cannot write .*result.json: No space left on device"):
        write_json(path, {"whole": "no"})
    assert json.loads(path.read_text()) == {"whole": True}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    """Or a machine that loses power leaves the new name with nothing in it."""
    happened = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    for name in real:
        monkeypatch.setattr(os, name, lambda *about, name=name: (happened.append(name), real[name](*about)))
    write_json(tmp_path / "result.json", {})
    assert happened == ["fsync", "replace"]


def test_when_the_result_is_written_all_that_belongs_to_it_is_there(store, stage, mirror, monkeypatch):
    """A stage is done if its result exists: whoever sees that reads the rest, whatever happens to its process now."""
    entry, seen = store.entry(stage.key), []

    def write(path: Path, value: dict) -> None:
        if path.name == "result.json":
            assert entry.events("ended")[-1]["outcome"] == value["outcome"]
            assert list(entry.checkpoints.glob("step-*")), "they are needed until the stage is done"
            seen.extend(sorted(one.name for one in entry.folder.iterdir()))
        write_json(path, value)

    monkeypatch.setattr("trainers.run.write_json", write)
    run_here(stage, store, mirror, execution=Execution(checkpoint_every_s=0))
    expected = {"encoder", "heads.safetensors", "predictions", "provenance.json", "stage.json"}
    assert expected <= set(seen)
    assert entry.done


def test_events_that_cannot_be_written_are_told(entry, monkeypatch):
    log = EventLog(entry)
    log._file.close()
    log._file = open("/dev/full", "w")  # noqa: SIM115
    with pytest.raises(StoreError, match=r"cannot write .*No space left on device"):
        log.write("step", step=1)
    log.close()
