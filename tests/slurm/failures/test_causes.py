"""Real last words of jobs tell their cause, whatever is around them; of many ranks the first to fail is believed."""

from __future__ import annotations

import signal
import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.failures.causes import Cause, Finding, classify, most_telling

OOM = (  # pytorch#16417, comment of 2024-03-13
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.00 MiB. GPU 0 has a total capacity of "
    "23.65 GiB of which 11.06 MiB is free. Including non-PyTorch memory, this process has 23.60 GiB memory in use."
)
WATCHDOG = (  # open-r1#620
    "  what():  [PG ID 0 PG GUID 0(default_pg) Rank 3] Process group watchdog thread terminated with exception: "
    "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4, OpType=BROADCAST, NumelIn=112, "
    "NumelOut=112, Timeout(ms)=1800000) ran for 1800011 milliseconds before timing out."
)
GLOO_RESET = (  # torch 2.11, raised here when the other rank ended
    "[rank0]: RuntimeError: [/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error "
    "[127.0.0.1]:42389: Connection reset by peer. This is typically caused by a remote worker hanging or bugs in the "
    "application. Check the logs of the remote worker before reporting an error. GLHF! 🏖️"
)
TIME_LIMIT = "slurmstepd: error: *** JOB 4711 ON n1 CANCELLED AT 2026-08-20T17:10:37 DUE TO TIME LIMIT ***"
STEP_CANCELLED = (
    "slurmstepd: error: *** STEP 4711.0 ON n1 CANCELLED AT 2026-08-20T17:10:37 DUE to SIGNAL Terminated ***"
)
ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"  # vllm#5222

LAST_WORDS = [
    # out of memory
    (Cause.OUT_OF_MEMORY, OOM),
    (Cause.OUT_OF_MEMORY, "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
    (Cause.OUT_OF_MEMORY, "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    (
        Cause.OUT_OF_MEMORY,  # torch 2.11 on a CPU
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 140737488355328 bytes. Error code 12 (Cannot allocate memory)",
    ),
    (
        Cause.OUT_OF_MEMORY,  # SLURM since 20.11
        "slurmstepd: error: Detected 1 oom_kill event in StepId=69596.0. Some of the step tasks have been OOM Killed.",
    ),
    (
        Cause.OUT_OF_MEMORY,  # and before
        "slurmstepd: error: Detected 1 oom-kill event(s) in step 370626.batch cgroup.",
    ),
    (Cause.OUT_OF_MEMORY, "srun: error: holy8a24101: task 0: Out Of Memory"),
    (Cause.OUT_OF_MEMORY, "slurmstepd: error: Exceeded job memory limit"),
    (
        Cause.OUT_OF_MEMORY,
        "slurmstepd: error: StepId=7.batch exceeded memory limit (734003200 > 52428800), being killed",
    ),
    (Cause.OUT_OF_MEMORY, "RuntimeError: DataLoader worker (pid(s) 17) is killed by signal: Killed."),
    (Cause.OUT_OF_MEMORY, "gpu5:35917 [1] enqueue.cc:1438 NCCL WARN Cuda failure 2 'out of memory'"),
    # the node
    (Cause.NODE_FAILURE, ECC),
    (Cause.NODE_FAILURE, "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=python3, GPU has fallen off the bus."),
    (Cause.NODE_FAILURE, "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable"),
    (Cause.NODE_FAILURE, "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    (Cause.NODE_FAILURE, "RuntimeError: CUDA error: no CUDA-capable device is detected"),
    (Cause.NODE_FAILURE, "RuntimeError: No CUDA GPUs are available"),
    (
        Cause.NODE_FAILURE,
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
        "NumCudaDevices() that might have already set an error? Error 802: system not yet initialized",
    ),
    (Cause.NODE_FAILURE, "Failed to initialize NVML: Driver/library version mismatch"),
    (Cause.NODE_FAILURE, "srun: error: Node failure on jean-zay-iam37"),
    (
        Cause.NODE_FAILURE,
        "slurmstepd: error: *** STEP 1943824.0 ON jean-zay-iam17 CANCELLED AT 2023-03-06T03:17:51 DUE TO NODE FAILURE, "
        "SEE SLURMCTLD LOG FOR DETAILS ***",
    ),
    # lost ranks
    (Cause.COMMUNICATION, WATCHDOG),
    (
        Cause.COMMUNICATION,
        "[rank1]:[E ProcessGroupNCCL.cpp:1414] [PG 0 Rank 1] Process group watchdog thread terminated with exception: "
        "NCCL error: remote process exited or there was a network error, NCCL version 2.20.5",
    ),
    (Cause.COMMUNICATION, "ncclSystemError: System call (e.g. socket, malloc) or external library call failed"),
    (Cause.COMMUNICATION, "ncclInternalError: Internal check failed."),
    (Cause.COMMUNICATION, "socketProgress: Connection closed by remote peer gpu-node1.int.example.edu<45074>"),
    (
        Cause.COMMUNICATION,  # nccl#1405
        "transport/net_ib.cc:1615 NCCL WARN NET/IB : Got completion from peer 10.216.210.236<54862> with status=12",
    ),
    (Cause.COMMUNICATION, GLOO_RESET),
    (
        Cause.COMMUNICATION,
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:598] Connection closed by peer [18.2.6.3]:3087",
    ),
    (
        Cause.COMMUNICATION,
        "RuntimeError: Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error",
    ),
    (
        Cause.COMMUNICATION,
        "torch.distributed.DistNetworkError: The client socket has timed out after 1000ms while trying to connect to "
        "(127.0.0.1, 29999).",
    ),
    # storage
    (Cause.STORAGE, "OSError: [Errno 116] Stale file handle: '/store/stages/0a1b/events.jsonl'"),
    (Cause.STORAGE, "OSError: [Errno 107] Transport endpoint is not connected: '/store'"),
    (Cause.STORAGE, "OSError: [Errno 5] Input/output error"),
    (Cause.DISK_FULL, "OSError: [Errno 28] No space left on device"),
    (
        Cause.DISK_FULL,
        "trainers.store.files.StoreError: cannot write /store/x: Disk quota exceeded. Free space or choose …",
    ),
    # the code and the data
    (Cause.CRASH, "AssertionError"),
    (Cause.CRASH, "2: ValueError: the encoder does not fit"),
    (Cause.CRASH, "ModuleNotFoundError: No module named 'trainers'"),
    (Cause.CRASH, "pydantic_core._pydantic_core.ValidationError: 1 validation error for Bundle"),
    (Cause.CRASH, "RuntimeError: CUDA error: an illegal memory access was encountered"),
    (Cause.CRASH, "RuntimeError: CUDA error: device-side assert triggered"),
    (Cause.CRASH, "ncclInvalidUsage: This usually reflects invalid usage of NCCL library."),
    (Cause.BAD_DATA, "trainers.data.stagedata.DataError: xnli has no test examples in sw"),
    (Cause.DIVERGED, "the loss is nan at step 12"),
    # SLURM and people
    (Cause.TIMEOUT, TIME_LIMIT),
    (Cause.PREEMPTED, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-08-20T17:10:37 DUE TO PREEMPTION ***"),
    (Cause.PREEMPTED, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-08-20T17:10:37 DUE TO JOB REQUEUE ***"),
    (
        Cause.CANCELLED,
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-08-20T17:10:37 DUE to SIGNAL Terminated ***",
    ),
    (Cause.CANCELLED, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2019-08-20T17:10:37 ***"),
    # neither clearly the node's nor clearly the code's
    (Cause.UNKNOWN, "RuntimeError: CUDA error: unspecified launch failure"),
    (Cause.UNKNOWN, "RuntimeError: something else"),
]


@pytest.mark.parametrize(("cause", "line"), LAST_WORDS, ids=[f"{c}-{i}" for i, (c, _) in enumerate(LAST_WORDS)])
def test_last_words_tell_the_cause(cause, line):
    found = classify(exit_code=1, stderr_tail=f"Traceback (most recent call last):\n{line}\n")
    assert found.cause == cause
    assert found.evidence[:40] == " ".join(line.split())[:40]


NOISE = st.lists(st.text(string.ascii_lowercase + string.digits + " .:/%[]|\t", max_size=60), max_size=6)


@given(before=NOISE, after=NOISE, words=st.sampled_from(LAST_WORDS), prefix=st.sampled_from(["", "[rank7]: ", "12: "]))
def test_noise_around_the_evidence_changes_nothing(before, after, words, prefix):
    cause, line = words
    tail = "\n".join([*before, prefix + line, *after])
    assert classify(exit_code=1, stderr_tail=tail).cause == cause


@pytest.mark.parametrize(
    "line",
    [
        "wandb: Network error (ConnectionError), entering retry loop.",
        "urllib3.connectionpool: ('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
        "NVRM: Xid (PCI:0000:01:00): 31, pid=1 CE0",  # an application's page fault
        "slurmstepd: error: Exceeded step memory limit at some point.",  # caches count; such jobs go on
        "Loaded 3 out of memory-mapped sets",
        STEP_CANCELLED,
    ],
)
def test_line_that_explains_nothing_is_not_taken_for_a_cause(line):
    assert classify(exit_code=1, stderr_tail=line).cause == Cause.UNKNOWN


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("TIMEOUT", Cause.TIMEOUT),
        ("PREEMPTED", Cause.PREEMPTED),
        ("NODE_FAIL", Cause.NODE_FAILURE),
        ("BOOT_FAIL", Cause.NODE_FAILURE),
        ("OUT_OF_ME+", Cause.OUT_OF_MEMORY),
        ("CANCELLED by 1000", Cause.CANCELLED),
        ("FAILED", Cause.UNKNOWN),
    ],
)
def test_slurm_is_asked_where_the_log_is_silent(state, cause):
    assert classify(exit_code=0, slurm_state=state).cause == cause  # sacct writes 0:0 for TIMEOUT and PREEMPTED


@pytest.mark.parametrize(
    ("tail", "state", "cause"),
    [
        ("ValueError: no", "TIMEOUT", Cause.CRASH),  # the other ranks waited for it
        ("ValueError: I/O operation on closed file.", "PREEMPTED", Cause.PREEMPTED),  # it was being killed
        (GLOO_RESET, "TIMEOUT", Cause.TIMEOUT),
        (GLOO_RESET, "NODE_FAIL", Cause.NODE_FAILURE),
        (OOM, "NODE_FAIL", Cause.OUT_OF_MEMORY),
        (OOM, "CANCELLED by 1000", Cause.CANCELLED),  # what a person stopped stays stopped
    ],
)
def test_slurm_is_a_second_witness(tail, state, cause):
    assert classify(exit_code=1, stderr_tail=tail, slurm_state=state).cause == cause


@pytest.mark.parametrize("ended", [{"exit_code": 137}, {"exit_code": -9}, {"exit_code": 0, "signal": 9}])
def test_bare_sigkill_is_taken_for_the_kernels_lack_of_memory(ended):
    assert classify(**ended)[:2] == (Cause.KILLED, "killed by SIGKILL")


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        ({"exit_code": 143}, Cause.PREEMPTED),
        ({"signal": signal.SIGSEGV}, Cause.UNKNOWN),
        ({"exit_code": 255}, Cause.UNKNOWN),
        ({"exit_code": 3}, Cause.UNKNOWN),
        ({}, Cause.UNKNOWN),
        ({"exit_code": 0}, Cause.COMPLETED),
        ({"exit_code": 0, "slurm_state": "COMPLETING"}, Cause.COMPLETED),
        ({"exit_code": 0, "slurm_state": "COMPLETED", "stderr_tail": OOM}, Cause.COMPLETED),  # caught, it seems
    ],
)
def test_exit_codes_and_signals(ended, cause):
    assert classify(**ended).cause == cause


def test_exception_is_a_witness():
    assert classify(exception=MemoryError()).cause == Cause.OUT_OF_MEMORY
    assert classify(exception=KeyError("label")).cause == Cause.CRASH
    assert classify(exception="OSError: [Errno 28] No space left on device").cause == Cause.DISK_FULL
    assert classify(exit_code=0, exception=ConnectionResetError(104, "reset")).cause == Cause.UNKNOWN


@pytest.mark.parametrize(
    ("endings", "guilty"),
    [
        # rank 3 runs out of memory, rank 0 waits for it, ranks 1 and 2 are killed afterwards
        ([WATCHDOG, "", "", OOM], 3),
        ([GLOO_RESET, GLOO_RESET, ECC], 2),
        ([GLOO_RESET, "AssertionError"], 1),
        ([WATCHDOG, WATCHDOG], 0),
    ],
)
def test_first_rank_to_fail_is_believed(endings, guilty):
    findings = [classify(exit_code=1 if tail else 137, stderr_tail=tail) for tail in endings]
    assert most_telling(findings) == guilty


RANK = """
import sys, torch, torch.distributed as dist
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
{failure}
dist.all_reduce(torch.ones(1 << 20))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        ("if rank: torch.empty(1 << 45)", Cause.OUT_OF_MEMORY),
        ("assert not rank", Cause.CRASH),
    ],
)
def test_real_ranks_accuse_the_one_that_failed(tmp_path, failure, cause):
    command = [sys.executable, "-c", RANK.format(failure=failure)]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    tails = [rank.communicate(timeout=120)[1] for rank in ranks]
    findings = [classify(exit_code=r.returncode, stderr_tail=t) for r, t in zip(ranks, tails, strict=True)]
    assert findings[0].cause == Cause.COMMUNICATION  # the echo
    assert most_telling(findings) == 1
    assert findings[1].cause == cause


def test_last_of_equally_telling_lines_is_the_evidence():
    """Errors before it may have been caught."""
    found = classify(exit_code=1, stderr_tail="ValueError: caught\nKeyError: 'fatal'\nRuntimeError: echo\n")
    assert found.evidence == "KeyError: 'fatal'"


def test_job_of_many_ranks_is_short_of_memory_when_all_die_silently_and_lost_ranks_otherwise():
    silent = classify(exit_code=137)
    completed = classify(exit_code=0)
    assert most_telling([completed, silent]) == 1
    assert most_telling([silent, classify(exit_code=1, stderr_tail=GLOO_RESET)]) == 1


@given(st.binary(max_size=400), st.none() | st.integers(-70, 300), st.none() | st.text(max_size=20))
def test_any_bytes_get_a_cause_and_a_clean_line(raw, exit_code, state):
    text = raw.decode("utf-8", "surrogateescape")
    found = classify(exit_code=exit_code, stderr_tail=text, slurm_state=state)
    assert isinstance(found, Finding)
    assert 0 < len(found.evidence) <= 300
    assert found.evidence.isprintable()
    found.evidence.encode("utf-8")
