"""The health gate: a few seconds at the start of a job in which a bad node gives itself away.

    problems = check_node(store, expected_gpus=8, gpu=local_rank)        # before the process group is started
    problem = check_ranks()                                              # after it, on every rank

A problem names its cause, so that `failures.decide` tells them apart: a node that fails is left out, while a shared
store that is full or does not answer is the same from every node.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.failures.causes import UNHEALTHY, Cause

DISK_BYTES = 4 << 20
ALL_REDUCE_BYTES = 16 << 20
GPU_MATRIX, CPU_MATRIX = 4096, 512
REPEATS = 3
GIB = 1 << 30


@dataclass(frozen=True)
class Floors:
    """What is plausible for any machine worth using; far below what a good one does."""

    gpu_tflops: float = 10.0
    """Matrix product in bf16, or fp16 where the GPU has no bf16; a T4 does 25, an A100 200."""
    cpu_gflops: float = 1.0
    """Matrix product in fp32 on one core."""
    gpu_free_share: float = 0.9
    """Of a GPU's memory; the process's own context takes some."""
    all_reduce_gb_per_s: float = 0.02
    """Bytes of the tensor by seconds; Gigabit Ethernet does about 0.06."""
    disk_mb_per_s: float = 1.0
    """Written and confirmed."""
    store_free_bytes: int = 5 * GIB
    local_free_bytes: int = GIB
    clock_s: float = 10.0
    """Most difference between the node's clock and the file server's."""
    limit_s: float = 15.0
    """Time that a check of the node may take; a sound one needs a twentieth of it."""
    ranks_limit_s: float = 60.0
    """Time that the ranks may take to connect and to reduce; with thousands of ranks NCCL needs a good part of it."""


@dataclass(frozen=True)
class Problem:
    """Why a job must not go on here."""

    cause: Cause
    """Node failure: leave this node out.  Storage, disk full: the shared store's, the same on every node."""
    what: str

    def __str__(self) -> str:
        return f"{UNHEALTHY}{self.cause}: {self.what}"


def check_node(store: Path, expected_gpus: int, gpu: int = 0, floors: Floors | None = None) -> list[Problem]:
    """Check this node; every rank calls it, for the GPU that it will use: on no other may it leave a context.

    Takes at most twice `floors.limit_s`, whatever hangs.

    Args:
        store: the folder on the shared disk.
        expected_gpus: how many the job was given on this node; 0 leaves GPUs alone.
        gpu: index, among the visible ones, of the one that this process will use.
    """
    floors = floors or Floors()
    local = Path(tempfile.gettempdir())
    problems = in_time(
        floors.limit_s,
        {
            f"Writing to the store {store}": (Cause.STORAGE, lambda: check_store(store, floors)),
            f"Writing to {local}": (Cause.NODE_FAILURE, lambda: check_local_disk(local, floors)),
        },
    )
    import torch  # noqa: F401  (outside the limit: from a cold shared disk it takes its time)

    if not expected_gpus:
        compute = {"A matrix product": (Cause.NODE_FAILURE, lambda: check_cpu(floors))}
    else:
        compute = {f"GPU {gpu}": (Cause.NODE_FAILURE, lambda: check_gpu(expected_gpus, gpu, floors))}
    return problems + in_time(floors.limit_s, compute)


def in_time(limit_s: float, checks: Mapping[str, tuple[Cause, Callable[[], Problem | None]]]) -> list[Problem]:
    """Run checks side by side; one that hangs or raises has found a problem of the cause that it comes with.

    Their threads are daemons: one that hangs in a system call does not keep the process from ending.
    """
    answered: dict[str, Problem | None] = {}

    def run(name: str, cause: Cause, check: Callable[[], Problem | None]) -> None:
        try:
            answered[name] = check()
        except Exception as error:
            answered[name] = Problem(cause, f"{name} failed: {type(error).__name__}: {error}")

    threads = {
        name: threading.Thread(target=run, args=(name, *check), name=name, daemon=True)
        for name, check in checks.items()
    }
    deadline = time.monotonic() + limit_s
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    answers = dict(answered)  # a late answer comes too late
    hung = {name: Problem(cause, f"{name} did not end within {limit_s:g} s.") for name, (cause, _) in checks.items()}
    return [problem for name in checks if (problem := answers.get(name, hung[name])) is not None]


# -- disks and clock ----------------------------------------------------------------------------------------

NODES_ERRNOS = {errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN, errno.EIO, errno.ENODEV}
"""Of a shared folder: not mounted here, or this node was cut off; the others may well see it."""
FULL = {errno.ENOSPC, errno.EDQUOT}


def check_store(store: Path, floors: Floors) -> Problem | None:
    """The shared disk takes and gives back a few MB, at a plausible speed and with room left; and the clocks agree."""
    try:
        disk = _check_disk(store, floors.store_free_bytes, floors, Cause.DISK_FULL, Cause.STORAGE)
        return disk or check_clock(store, floors)
    except OSError as error:
        cause = Cause.NODE_FAILURE if error.errno in NODES_ERRNOS else Cause.STORAGE
        cause = Cause.DISK_FULL if error.errno in FULL else cause
        return Problem(cause, f"Cannot write to the store {store}: {error.strerror}.")


def check_local_disk(folder: Path, floors: Floors) -> Problem | None:
    """The same for this node's own disk."""
    try:
        return _check_disk(folder, floors.local_free_bytes, floors, Cause.NODE_FAILURE, Cause.NODE_FAILURE)
    except OSError as error:
        return Problem(Cause.NODE_FAILURE, f"Cannot write to {folder}: {error.strerror}.")


def _check_disk(folder: Path, free_bytes: int, floors: Floors, full: Cause, slow: Cause) -> Problem | None:
    free = shutil.disk_usage(folder).free
    if free < free_bytes:
        return Problem(full, f"{folder} has {free / GIB:.2f} GiB left; {free_bytes / GIB:.2f} GiB is the minimum.")
    data = os.urandom(DISK_BYTES)
    with _scratch_file(folder) as descriptor:
        started = time.monotonic()
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
        speed = DISK_BYTES / 1e6 / max(time.monotonic() - started, 1e-9)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # read the disk, not the cache
        if _read_back(descriptor) != data:
            return Problem(slow, f"{folder} returned other bytes than were written.")
    if speed < floors.disk_mb_per_s:
        return Problem(slow, f"{folder} writes {speed:.2f} MB/s; {floors.disk_mb_per_s:g} MB/s is the minimum.")
    return None


def check_clock(store: Path, floors: Floors) -> Problem | None:
    """The node's clock agrees with the file server's, by which a silent job is told from a dead one.

    Raises:
        OSError: the store cannot be written.
    """
    with _scratch_file(store) as descriptor:
        before = time.time()
        os.utime(descriptor)  # "now" as the server has it
        stamped = os.stat(descriptor).st_mtime
        after = time.time()
    off = max(before - stamped, stamped - after)
    if off > floors.clock_s:
        return Problem(Cause.NODE_FAILURE, f"The clock is {off:.0f} s off that of the file server behind {store}.")
    return None


@contextmanager
def _scratch_file(folder: Path) -> Iterator[int]:
    descriptor, name = tempfile.mkstemp(prefix=".health-", dir=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        os.unlink(name)


def _read_back(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


# -- compute ------------------------------------------------------------------------------------------------


def check_cpu(floors: Floors) -> Problem | None:
    """A matrix product is right and plausibly fast."""
    import torch

    return _check_matmul(torch.device("cpu"), "The CPU", CPU_MATRIX, torch.float32, floors.cpu_gflops / 1e3)


def check_gpu(expected: int, gpu: int, floors: Floors) -> Problem | None:
    """All GPUs are visible, and the one at index `gpu` is free, computes right and plausibly fast."""
    import torch

    visible = torch.cuda.device_count()
    if visible < expected:
        return Problem(Cause.NODE_FAILURE, f"{visible} of the {expected} GPUs of this job are visible.")
    free, total = torch.cuda.mem_get_info(gpu)
    if free < floors.gpu_free_share * total:
        used = f"{(total - free) / GIB:.1f} of {total / GIB:.1f} GiB"
        return Problem(Cause.NODE_FAILURE, f"GPU {gpu} is not free: {used} are in use before this job has started.")
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return _check_matmul(torch.device("cuda", gpu), f"GPU {gpu}", GPU_MATRIX, dtype, floors.gpu_tflops)


def _check_matmul(device: Any, name: str, size: int, dtype: Any, floor_tflops: float) -> Problem | None:
    """Ones times ones: every element of the product is `size`, a power of two and so exact in any dtype."""
    import torch

    ones = torch.ones(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(1 + REPEATS):  # the first warms up
        _finish(device)
        started = time.monotonic()
        product = ones @ ones
        _finish(device)
        seconds.append(time.monotonic() - started)
    if not bool((product == size).all()):
        return Problem(Cause.NODE_FAILURE, f"{name} multiplies matrices wrongly.")
    tflops = 2 * size**3 / 1e12 / max(min(seconds[1:]), 1e-9)
    if tflops < floor_tflops:
        return Problem(Cause.NODE_FAILURE, f"{name} does {tflops:.3g} TFLOP/s; {floor_tflops:.3g} is the minimum.")
    return None


def _finish(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


# -- between ranks ------------------------------------------------------------------------------------------


def check_ranks(floors: Floors | None = None) -> Problem | None:
    """An all-reduce over the process group is right and plausibly fast; every rank calls it.

    A slow or dead link makes it slow for all, so which node is to blame stays open: the cause is communication.
    """
    import torch
    import torch.distributed as dist

    floors = floors or Floors()
    on_gpu = dist.get_backend() == "nccl"
    # Asked here: the thread of the check would get GPU 0.
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    check = (Cause.COMMUNICATION, lambda: _check_all_reduce(device, floors))
    problems = in_time(floors.ranks_limit_s, {"An all-reduce": check})
    return problems[0] if problems else None


def _check_all_reduce(device: Any, floors: Floors) -> Problem | None:
    import torch
    import torch.distributed as dist

    if device.type == "cuda":
        torch.cuda.set_device(device)
    ranks = dist.get_world_size()
    seconds = []
    for _ in range(1 + REPEATS):  # the first connects the ranks
        tensor = torch.full((ALL_REDUCE_BYTES // 4,), dist.get_rank() + 1.0, device=device)
        _finish(device)
        started = time.monotonic()
        dist.all_reduce(tensor)
        _finish(device)
        seconds.append(time.monotonic() - started)
        if not bool((tensor == ranks * (ranks + 1) // 2).all()):
            return Problem(Cause.COMMUNICATION, f"An all-reduce over {ranks} ranks gave wrong sums.")
    speed = ALL_REDUCE_BYTES / 1e9 / max(min(seconds[1:]), 1e-9)
    if speed < floors.all_reduce_gb_per_s:
        least = f"{floors.all_reduce_gb_per_s:g} GB/s is the minimum"
        return Problem(Cause.COMMUNICATION, f"An all-reduce over {ranks} ranks moves {speed:.3g} GB/s; {least}.")
    return None
