"""`retain doctor`: what this machine has of what a sweep needs, and what to do about the rest."""

from __future__ import annotations

import netrc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from slurm.commands import SlurmError, ask, queue
from slurm.failures.causes import Cause
from slurm.health import GIB, Floors, Problem, check_cpu, check_gpu, check_local_disk, check_store, in_time

Verdict = Literal["fine", "note", "problem"]
ANSWER_S = 5.0
"""How long W&B's server may take to answer."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    """A note stands in nobody's way."""
    found: str
    advice: str = ""
    """What to do, where there is something to do."""


def examine(store: Path) -> Iterator[Finding]:
    """Look at everything, one thing after another; takes some seconds, writes only files that it deletes again."""
    yield from packages()
    yield from processors()
    yield from gpus()
    yield from disks(store)
    yield from scheduler()
    yield wandb_key()
    yield wandb_server()


def packages() -> Iterator[Finding]:
    """Python and what setup.cfg asks for."""
    from packaging.requirements import Requirement

    yield Finding("python", "fine", f"{sys.version.split()[0]} in {sys.prefix}")
    try:
        requirements = [Requirement(line) for line in requires("retain") or ()]
    except PackageNotFoundError:
        yield Finding("packages", "problem", "retain is not installed here", "pip install -e . in its folder")
        return
    wrong, installed = [], {}
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            installed[requirement.name] = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement} is missing")
            continue
        if not requirement.specifier.contains(installed[requirement.name], prereleases=True):
            wrong.append(f"{requirement} is needed, {installed[requirement.name]} is there")
    shown = ("torch", "transformers", "deepspeed", "submitit", "wandb", "datasets")
    if wrong:
        yield Finding("packages", "problem", "; ".join(wrong), "pip install -c constraints.txt -e . in retain's folder")
    else:
        yield Finding("packages", "fine", ", ".join(f"{name} {installed[name]}" for name in shown if name in installed))


def processors() -> Iterator[Finding]:
    """Cores and memory of this process, and whether they compute."""
    import psutil

    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory().available / GIB
    offered = f"{cores} cores, {memory:.0f} GiB of memory free"
    slow = _problem("A matrix product", lambda: check_cpu(Floors()))
    yield _judged("processor", offered, slow, "ask for more cores, or for another node")


def gpus() -> Iterator[Finding]:
    """What torch sees of GPUs, and whether each is free and computes."""
    import torch

    count = torch.cuda.device_count()
    if not count and shutil.which("nvidia-smi") and torch.version.cuda is None:
        advice = "install torch's CUDA build (constraints.txt names the version)"
        yield Finding("GPU", "problem", f"torch {torch.__version__} is built without CUDA", advice)
    elif not count:
        yield Finding("GPU", "note", "none here", "fine on a login node; `retain run` uses the CPU")
    for gpu in range(count):
        facts = torch.cuda.get_device_properties(gpu)
        described = f"{facts.name}, {facts.total_memory / GIB:.0f} GiB, compute capability {facts.major}.{facts.minor}"
        problem = _problem(f"GPU {gpu}", partial(check_gpu, count, gpu, Floors()))
        yield _judged(f"GPU {gpu}", described, problem, "take another GPU, or see who uses this one")
    if count and torch.distributed.is_nccl_available():
        yield Finding("NCCL", "fine", ".".join(map(str, torch.cuda.nccl.version())))
    elif count:
        yield Finding("NCCL", "problem", "torch is built without it", "install torch's own CUDA build")


def disks(store: Path) -> Iterator[Finding]:
    """The store's disk and this machine's own take what is written, quickly enough, and have room."""
    folder = store.resolve()
    while not folder.exists():
        folder = folder.parent
    local = Path(tempfile.gettempdir())
    checks = {
        "store": (folder, lambda: check_store(folder, Floors())),
        "own disk": (local, lambda: check_local_disk(local, Floors())),
    }
    for subject, (place, check) in checks.items():
        if problem := _problem(f"Writing to {place}", check):
            advice = "choose another `store:`" if subject == "store" else "make room, or set TMPDIR to another folder"
            yield Finding(subject, "problem", problem, advice)
        else:
            yield Finding(subject, "fine", f"{place}, {shutil.disk_usage(place).free / GIB:.0f} GiB free")


def _judged(subject: str, what: str, problem: str | None, advice: str) -> Finding:
    """What was looked at, fine or with its problem."""
    return Finding(subject, "problem", f"{what}; {problem}", advice) if problem else Finding(subject, "fine", what)


def _problem(name: str, check: Callable[[], Problem | None]) -> str | None:
    """What one of the health gate's checks says; None where it passes."""
    return next((problem.what for problem in in_time(Floors().limit_s, {name: (Cause.NODE_FAILURE, check)})), None)


def scheduler() -> Iterator[Finding]:
    """SLURM's commands, its controller and its accounting."""
    if not shutil.which("sbatch"):
        advice = "`retain run` needs no SLURM; for `retain submit` go to a login node"
        yield Finding("SLURM", "note", "no sbatch on the PATH", advice)
        return
    try:
        slurm_version = ask(["sbatch", "--version"]).strip()
        yield Finding("SLURM", "fine", f"{slurm_version}, {len(queue())} jobs in the queue")
    except SlurmError as error:
        advice = "`retain run` needs no SLURM; on a cluster ask its operators whether slurmctld is up"
        yield Finding("SLURM", "problem", str(error), advice)
        return
    try:
        ask(["sacctmgr", "--noheader", "--parsable2", "show", "cluster", "format=Cluster"])
        yield Finding("accounting", "fine", "slurmdbd answers")
    except SlurmError as error:
        yield Finding("accounting", "note", str(error), "nothing needs it, but `retain init` cannot find your limits")


def wandb_key() -> Finding:
    """Whether W&B's client would find an API key; which one is nobody's business."""
    if os.environ.get("WANDB_API_KEY"):
        return Finding("W&B key", "fine", "in WANDB_API_KEY")
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        known = netrc.netrc(file).authenticators(urlsplit(_wandb_url()).hostname or "")
    except FileNotFoundError:
        known = None
    except (OSError, netrc.NetrcParseError) as error:
        return Finding("W&B key", "problem", f"{file} cannot be read: {type(error).__name__}", "repair or remove it")
    if known:
        return Finding("W&B key", "fine", f"in {file}")
    advice = "run `wandb login` for `tracking: {mode: online}` or `retain wandb sync`; offline needs no key"
    return Finding("W&B key", "note", "none", advice)


def wandb_server() -> Finding:
    """Whether W&B's server can be reached from here."""
    import urllib.error
    import urllib.request

    url = _wandb_url()
    try:
        urllib.request.urlopen(f"{url}/healthz", timeout=ANSWER_S).close()
    except urllib.error.HTTPError:
        pass  # it is there and answers
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        advice = "track offline (the default), then run `retain wandb sync` where there is a network"
        return Finding("W&B server", "note", f"{url} cannot be reached: {reason}", advice)
    return Finding("W&B server", "fine", f"{url} answers")


def _wandb_url() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rstrip("/")
