"""The health gate lets a good machine pass and tells a bad node from a bad store."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from slurm import health
from slurm.failures.causes import Cause
from slurm.failures.decide import ExitRecord, decide
from slurm.health import Floors, Problem, check_node, in_time

EASY = Floors(store_free_bytes=0, local_free_bytes=0, limit_s=60, ranks_limit_s=60)
"""So that a slow or nearly full machine that runs the tests does not fail them."""


@pytest.fixture(autouse=True)
def local_disk(tmp_path, monkeypatch):
    local = tmp_path / "local"
    local.mkdir()
    monkeypatch.setattr(health.tempfile, "tempdir", str(local))
    return local


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def test_good_machine_passes_and_nothing_is_left_behind(store, local_disk):
    assert check_node(store, expected_gpus=0, floors=EASY) == []
    assert list(store.iterdir()) == []
    assert list(local_disk.iterdir()) == []


def test_default_floors_are_low_enough_for_this_machine():
    assert health.check_cpu(Floors()) is None


# -- disks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EROFS, Cause.STORAGE),
        (errno.EACCES, Cause.STORAGE),
        (errno.ENOSPC, Cause.DISK_FULL),
        (errno.EDQUOT, Cause.DISK_FULL),
        (errno.ESTALE, Cause.NODE_FAILURE),
        (errno.ENOTCONN, Cause.NODE_FAILURE),
    ],
)
def test_refused_write_is_the_stores_or_the_nodes(store, monkeypatch, number, cause):
    def refuse(_descriptor, _data):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(health.os, "write", refuse)
    problem = health.check_store(store, EASY)
    assert problem.cause == cause
    assert os.strerror(number) in problem.what
    assert list(store.iterdir()) == []
    assert health.check_local_disk(store, EASY).cause == Cause.NODE_FAILURE


def test_store_that_is_not_mounted_is_the_nodes_fault(tmp_path):
    problems = check_node(tmp_path / "nowhere", expected_gpus=0, floors=EASY)
    assert [problem.cause for problem in problems] == [Cause.NODE_FAILURE]
    assert "nowhere" in problems[0].what


def test_little_room_and_low_speed_are_told_with_numbers(store):
    full = health.check_store(store, replace(EASY, store_free_bytes=1 << 60))
    assert full.cause == Cause.DISK_FULL
    assert "GiB left" in full.what
    slow = health.check_store(store, replace(EASY, disk_mb_per_s=1e9))
    assert slow.cause == Cause.STORAGE
    assert "MB/s" in slow.what
    assert health.check_local_disk(store, replace(EASY, disk_mb_per_s=1e9)).cause == Cause.NODE_FAILURE


def test_disk_that_gives_back_other_bytes_is_found(store, monkeypatch):
    monkeypatch.setattr(health, "_read_back", lambda _descriptor: b"rot")
    assert "other bytes" in health.check_store(store, EASY).what


@pytest.fixture
def mount(tmp_path):
    """Mount a small tmpfs; only where root may."""
    mounted = []

    def mount(*options: str):
        folder = tmp_path / f"mounted-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_real_full_disk(mount):
    problem = health.check_store(mount("size=1m"), EASY)
    assert problem.cause == Cause.DISK_FULL
    assert "No space left on device" in problem.what


def test_real_read_only_disk(mount):
    problem = health.check_store(mount("ro"), EASY)
    assert problem.cause == Cause.STORAGE
    assert "Read-only file system" in problem.what


# -- clock ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [-3600, -11, 11, 3600])
def test_wrong_clock_is_the_nodes_fault(store, monkeypatch, off_s):
    real = health.time.time
    monkeypatch.setattr(health.time, "time", lambda: real() + off_s)
    problem = health.check_store(store, EASY)
    assert problem.cause == Cause.NODE_FAILURE
    assert f"{abs(off_s)} s off" in problem.what


def test_clock_a_little_off_is_let_pass(store, monkeypatch):
    real = health.time.time
    monkeypatch.setattr(health.time, "time", lambda: real() + 5)
    assert health.check_store(store, EASY) is None


# -- hanging and raising checks ------------------------------------------------------------------------------


def test_hanging_check_is_a_problem_and_does_not_hang_the_gate():
    never = threading.Event()
    problems = in_time(
        0.2,
        {
            "Reading the tape": (Cause.STORAGE, lambda: never.wait()),
            "Counting": (Cause.NODE_FAILURE, lambda: None),
            "Feeling": (Cause.NODE_FAILURE, lambda: Problem(Cause.NODE_FAILURE, "It is hot.")),
        },
    )
    never.set()
    assert problems == [
        Problem(Cause.STORAGE, "Reading the tape did not end within 0.2 s."),
        Problem(Cause.NODE_FAILURE, "It is hot."),
    ]


def test_hanging_store_does_not_hide_what_else_is_wrong(store, monkeypatch):
    never = threading.Event()
    real = health.os.fsync
    monkeypatch.setattr(health.os, "fsync", lambda fd: never.wait() if _is_in(store, fd) else real(fd))
    problems = check_node(store, expected_gpus=4, floors=replace(EASY, limit_s=2))
    never.set()
    assert [problem.cause for problem in problems] == [Cause.STORAGE, Cause.NODE_FAILURE]
    assert "not end within 2 s" in problems[0].what


def _is_in(folder, descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder))


@pytest.mark.usefixtures("cold")
def test_process_ends_although_a_check_still_hangs():
    script = """
import threading
from slurm.failures.causes import Cause
from slurm.health import in_time
print(len(in_time(0.1, {"The disk": (Cause.STORAGE, threading.Event().wait)})))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "1\n"


def test_raising_check_is_a_problem():
    def check():
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    (problem,) = in_time(5, {"GPU 3": (Cause.NODE_FAILURE, check)})
    assert problem.what == "GPU 3 failed: RuntimeError: CUDA error: uncorrectable ECC error encountered"


# -- compute -------------------------------------------------------------------------------------------------


def test_slow_processor_is_the_nodes_fault(store):
    (problem,) = check_node(store, expected_gpus=0, floors=replace(EASY, cpu_gflops=1e9))
    assert problem.cause == Cause.NODE_FAILURE
    assert "TFLOP/s" in problem.what


def test_wrong_product_is_found(monkeypatch):
    monkeypatch.setattr(torch, "ones", lambda *size, **kwargs: torch.full(size, 1.0001, **kwargs))
    assert "wrongly" in health.check_cpu(EASY).what


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that GPUs are there; their products are computed on the CPU."""

    def gpus(visible: int, free_gib: float = 79, bf16: bool = True):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (int(free_gib * health.GIB), 80 * health.GIB))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
        asked = SimpleNamespace(calls=[])
        monkeypatch.setattr(health, "_check_matmul", lambda *args: asked.calls.append(args))
        return asked

    return gpus


def test_missing_gpu_is_the_nodes_fault(gpus):
    gpus(visible=7)
    problem = health.check_gpu(8, 0, EASY)
    assert problem == Problem(Cause.NODE_FAILURE, "7 of the 8 GPUs of this job are visible.")


def test_gpu_in_use_by_others_is_the_nodes_fault(gpus):
    asked = gpus(visible=8, free_gib=40)
    problem = health.check_gpu(8, 3, EASY)
    assert problem.cause == Cause.NODE_FAILURE
    assert "GPU 3 is not free: 40.0 of 80.0 GiB" in problem.what
    assert asked.calls == []


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_free_gpu_is_made_to_compute_and_no_other(gpus, bf16, dtype):
    asked = gpus(visible=8, bf16=bf16)
    assert health.check_gpu(8, 3, EASY) is None
    ((device, _, _, used, floor),) = asked.calls
    assert (device, used, floor) == (torch.device("cuda", 3), dtype, EASY.gpu_tflops)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_real_gpu_passes():
    assert health.check_gpu(1, 0, Floors()) is None
    assert "TFLOP/s" in health.check_gpu(1, 0, replace(Floors(), gpu_tflops=1e9)).what


# -- between ranks -------------------------------------------------------------------------------------------


def _rank(rank: int, folder: str, floors: list[Floors], answers) -> None:
    """Check the ranks once for each of `floors`; without any, be there and say nothing."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    if not floors:
        threading.Event().wait()
    found = [health.check_ranks(each) for each in floors]
    answers.put([problem and (problem.cause, problem.what) for problem in found])


@pytest.fixture
def ranks(tmp_path):
    """Start two ranks, each with its own list of floors; give back the answers of those that give one."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = []

    def ranks(*floors: list[Floors]):
        for rank, own in enumerate(floors):
            processes.append(context.Process(target=_rank, args=(rank, str(tmp_path), own, answers)))
            processes[-1].start()
        return [answers.get(timeout=120) for own in floors if own]

    yield ranks
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.slow
def test_ranks_that_reach_each_other_pass_and_a_slow_link_is_found_by_both(ranks):
    floors = [EASY, replace(EASY, all_reduce_gb_per_s=1e9)]
    for fine, slow in ranks(floors, floors):
        assert fine is None
        assert slow[0] == Cause.COMMUNICATION
        assert "over 2 ranks" in slow[1]


@pytest.mark.slow
def test_rank_that_never_comes_is_a_problem_of_communication(ranks):
    ((found,),) = ranks([replace(EASY, ranks_limit_s=1)], [])
    assert found == (Cause.COMMUNICATION, "An all-reduce did not end within 1 s.")


# -- what follows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "action", "excluded"),
    [(Cause.NODE_FAILURE, "requeue", ("n7",)), (Cause.DISK_FULL, "stop", ())],
)
def test_bad_node_is_left_out_and_a_full_store_stops(cause, action, excluded):
    problem = Problem(cause, "GPU 3 is not free")
    decision = decide(ExitRecord(cause=problem.cause, evidence=problem.what, hosts=("n7",)))
    assert (decision.action, decision.exclude_nodes) == (action, excluded)
    assert "GPU 3 is not free" in decision.because
