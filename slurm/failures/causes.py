"""Why a job ended, from what it left: the end of its log, its exit code, its signal, SLURM's word for it.

Every witness is a line of text and `SIGNS` says what each line means, the most telling first.  That order settles what
a dying job leaves many of: a rank that runs out of memory makes all others report a broken connection, and the kill
that follows makes them end by SIGKILL.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

MOST_CHARACTERS = 300
LONGEST_LINE = 4000
"""Characters of a line that are looked at: patterns take quadratic time on a hostile one."""
MASK = "***"
TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
SECRETS = (
    # NAME=value and "name": "value", where the name says that it is one
    re.compile(r"(?i)((?:key|token|secret|password|passwd)[\"']?\s*[=:]\s*[\"']?)(?!\s)[^\s\"',;]+"),
    re.compile(r"(?i)(\bbearer\s+|authorization:\s*\w+\s+)\S+"),
    re.compile(r"(://[^\s:/@]*:)[^\s@]+(?=@)"),  # user:password in an address
    # Keys that their own form gives away: W&B's new ones, Hugging Face, GitHub, OpenAI; W&B's old ones
    re.compile(r"()\b(?:wandb_v\d_|hf_|gh[pousr]_|github_pat_|sk-)[\w-]{8,}"),
    re.compile(r"()(?<![0-9a-fA-F])[0-9a-fA-F]{40}(?![0-9a-fA-F])"),
)


def clean(text: str) -> str:
    """`text` on one line: terminal codes gone, a blank for what is not printable, secrets masked."""
    if len(text) > LONGEST_LINE:
        text = text[:LONGEST_LINE].rpartition(" ")[0]  # not half a secret
    text = "".join(c if c.isprintable() else " " for c in TERMINAL_CODES.sub("", text))
    for secret in SECRETS:
        text = secret.sub(rf"\g<1>{MASK}", text)
    return " ".join(text.split())


def excerpt(line: str, around: int = 0) -> str:
    """At most `MOST_CHARACTERS` of a clean line, the one at position `around` among them."""
    start = max(0, min(around - MOST_CHARACTERS // 4, len(line) - MOST_CHARACTERS))
    end = start + MOST_CHARACTERS
    piece = line[start:end]
    if start > 0:
        piece = "…" + piece[1:]
    return piece[:-1] + "…" if end < len(line) else piece


class Cause(StrEnum):
    """Why a job ended."""

    COMPLETED = "completed"
    PREEMPTED = "preempted"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    BAD_DATA = "bad_data"
    NODE_FAILURE = "node_failure"
    COMMUNICATION = "communication"
    """Ranks lost each other; which node is to blame is not known."""
    STORAGE = "storage"
    """The shared disk did not answer."""
    DISK_FULL = "disk_full"
    CRASH = "crash"
    """An error of the code, which would come again."""
    CANCELLED = "cancelled"
    """A person ended it."""
    KILLED = "killed"
    """By SIGKILL, and nobody says why: the kernel short of memory, or a hand."""
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """The cause that the witnesses of one rank (or job) tell of."""

    cause: Cause
    evidence: str
    """The line that says so: clean, at most 300 characters."""
    order: int
    """Position among `SIGNS`: of several ranks the lowest tells most."""


def _sign(cause: Cause, *patterns: str) -> tuple[Cause, re.Pattern[str]]:
    return cause, re.compile("|".join(patterns))


NOT_ENDED_BY_SLURM = (None, "RUNNING", "COMPLETING", "COMPLETED")
STATE, KILLED, EXIT = "SLURM says ", "killed by ", "exit code "
"""How the lines begin that stand for witnesses other than the log."""
UNHEALTHY = "health gate: "
"""How a line begins in which the health gate tells what is wrong, with the cause's name next."""

CODE_ERRORS = (
    r"\b(Assertion|Value|Type|Key|Index|Attribute|Name|UnboundLocal|Import|ModuleNotFound|Syntax|Indentation"
    r"|NotImplemented|ZeroDivision|Recursion|FileNotFound|Permission|IsADirectory|NotADirectory|UnicodeDecode"
    r"|Validation)Error(:|$)"
)

# Sources: SLURM 26.05 (slurmd/slurmstepd/req.c, task_cgroup_memory.c, interfaces/jobacct_gather.c, api/step_launch.c);
# cudaGetErrorString; torch 2.11 (alloc_cpu.cpp, TCPStore.cpp, NCCLUtils.cpp, ProcessGroupNCCL.cpp, gloo), as raised
# here or in the issues that tests/slurm/failures/test_causes.py quotes; strerror(3); NVIDIA's Xid catalog.
SIGNS = (
    *(_sign(cause, rf"^{UNHEALTHY}{cause}: ") for cause in Cause),
    # scancel's word is final.  Only "JOB": SLURM cancels a STEP too, when one of its ranks has failed.
    _sign(
        Cause.CANCELLED,
        r"\*\*\* JOB \d+ ON \S+ CANCELLED AT \S+ (DUE to SIGNAL [\w ]+ )?\*\*\*",
        rf"^{STATE}(CANCELLED|DEADLINE)",
    ),
    _sign(
        Cause.OUT_OF_MEMORY,
        r"\bOutOfMemoryError\b",
        r"(CUDA|HIP) out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED",
        r"Cuda failure (\d+ )?'out of memory'",  # NCCL's own buffers
        r"DefaultCPUAllocator: (can't allocate|not enough) memory",
        r"\b(MemoryError|_ArrayMemoryError)\b|\bCannot allocate memory\b",
        r"Detected \d+ oom[_-]kill event|task \d+: Out Of Memory",
        r"Exceeded job memory limit|exceeded (virtual )?memory limit \(.*being killed",  # not "... at some point"
        r"Out of memory: Killed process|Memory cgroup out of memory",
        r"DataLoader worker \(pid.*killed by signal: Killed",
        rf"^{STATE}OUT_OF_ME",  # sacct shortens it
    ),
    _sign(
        Cause.NODE_FAILURE,
        rf"DUE TO NODE FAILURE|srun: error: Node failure on|^{STATE}(NODE_FAIL|BOOT_FAIL)",
        r"uncorrectable (ECC|NVLink) error|CUDA_ERROR_(ECC|NVLINK)_UNCORRECTABLE",
        r"fallen off the bus|GPU is lost|hardware stack error",
        # Of the Xids those of the hardware; 13, 31, 43, 45 and others come of the application.
        r"\bXid \(PCI:[0-9a-fA-F:.]+\): (48|62|64|74|79|92|94|95|119|120|140)\b",
        r"CUDA-capable device\S* (are|is/are) busy or unavailable|no CUDA-capable device is detected",
        r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed",
        r"CUDA error: (initialization error|unknown error|system not yet initialized)",
        r"Unexpected error from cudaGetDeviceCount",
        r"CUDA driver version is insufficient|unsupported display driver / cuda driver combination",
        r"Failed to initialize NVML|Unable to determine the device handle for",
    ),
    _sign(Cause.DISK_FULL, r"No space left on device|Disk quota exceeded"),
    _sign(
        Cause.STORAGE,
        r"Stale (NFS )?file handle|nfs: server \S+ not responding",
        r"[Tt]ransport endpoint (is not connected|shutdown)",  # FUSE; Lustre after an eviction
        r"Input/output error|Remote I/O error|Read-only file system",
    ),
    _sign(Cause.BAD_DATA, r"\bDataError: "),
    _sign(Cause.DIVERGED, r"\bloss is -?(nan|inf)\b"),
    # Above a crash: being killed makes code raise.
    _sign(Cause.PREEMPTED, rf"DUE TO (PREEMPTION|JOB REQUEUE)|^{STATE}(PREEMPTED|REQUEUED)"),
    _sign(
        Cause.CRASH,
        CODE_ERRORS,
        r"CUDA error: (an illegal memory access|device-side assert|no kernel image|misaligned address)",
        r"\bncclInvalid(Usage|Argument)\b",
    ),
    # Below a crash: the other ranks may have waited for the crashed one until the limit.
    _sign(Cause.TIMEOUT, rf"DUE TO TIME LIMIT|^{STATE}TIMEOUT"),
    _sign(
        Cause.COMMUNICATION,
        r"\bNCCL error\b|\bnccl(System|Internal|Remote|UnhandledCuda)Error\b",
        r"Watchdog caught collective operation timeout|Some NCCL operations have failed or timed out",
        r"Connection closed by remote peer|NET/IB : Got completion (from peer|with error)",  # NCCL's own log
        r"Gloo connectFullMesh failed|gloo/transport/\S+\] ",
        r"\bDist(Backend|Network|Store)Error\b|\[c10d\] The client socket has timed out",
        r"Did the remote server shutdown or crash|RuntimeError: Wait timeout$",
    ),
    # Any other error by its name, also behind "[rank3]: " or "3: ".
    _sign(
        Cause.UNKNOWN,
        r"(^|[\s.\]])[A-Za-z_]+(Error|Exception)(: |:?$)",
        r"unspecified launch failure",  # a kernel's bug or a bad GPU: only a second try can tell
        rf"Segmentation fault|Bus error|terminate called|^{KILLED}SIG(SEGV|BUS|ABRT|ILL|FPE)$",
    ),
    # Guesses, where nothing else speaks.
    _sign(Cause.CANCELLED, rf"^{STATE}COMPLETING$"),  # it was ended from outside, and SLURM would have said why else
    _sign(Cause.KILLED, rf"^{KILLED}SIGKILL$"),
    _sign(Cause.PREEMPTED, rf"^{KILLED}SIG(TERM|INT|USR1|USR2)$"),
    _sign(Cause.UNKNOWN, rf"^({KILLED}|{EXIT})"),
)


def classify(
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    stderr_tail: str = "",
    slurm_state: str | None = None,
    exception: BaseException | str | None = None,
) -> Finding:
    """The cause that the witnesses of one rank tell of, and the line that says so.

    Args:
        exit_code: of the process; -N (Python's) and 128 + N (the shell's) stand for signal N.
        signal: that ended it; sacct writes both as `exit_code:signal`.
        stderr_tail: the end of its log, any text.
        slurm_state: of the *job*, as sacct writes it; a step is called CANCELLED when only one of its ranks failed.
        exception: what it raised, where that is at hand.
    """
    # sacct writes 0:0 for a job that SLURM killed at its limit, too.
    if exit_code == 0 and not signal and exception is None and slurm_state in NOT_ENDED_BY_SLURM:
        return Finding(Cause.COMPLETED, f"{EXIT}0", len(SIGNS) + 1)
    witnesses = stderr_tail.splitlines()
    if exception is not None:
        text = exception if isinstance(exception, str) else f"{type(exception).__name__}: {exception}"
        witnesses += text.splitlines()
    if slurm_state:
        witnesses.append(f"{STATE}{slurm_state}")
    if number := signal or _signal_of(exit_code):
        witnesses.append(f"{KILLED}{_name(number)}")
    elif exit_code:
        witnesses.append(f"{EXIT}{exit_code} without a reason")
    # The last of equally telling lines: errors before it may have been caught.
    findings = [finding for line in reversed(witnesses) if (finding := _read(clean(line)))]
    nothing = Finding(Cause.UNKNOWN, "nothing says why it ended", len(SIGNS))
    return findings[most_telling(findings)] if findings else nothing


def most_telling(findings: Sequence[Finding]) -> int:
    """Index of the finding to believe (the rank that failed first, where each is a rank's): the others are its echo."""
    return min(range(len(findings)), key=lambda index: findings[index].order)


def _read(line: str) -> Finding | None:
    for order, (cause, pattern) in enumerate(SIGNS):
        if match := pattern.search(line):
            return Finding(cause, excerpt(line, match.start()), order)
    return None


def _signal_of(exit_code: int | None) -> int | None:
    """The signal that an exit code stands for."""
    if exit_code is None or 0 <= exit_code <= 128:
        return None
    return -exit_code if exit_code < 0 else exit_code - 128


def _name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
