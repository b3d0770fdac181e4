"""What `retain init` finds out about a cluster: sinfo, scontrol and sacctmgr are asked, nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from slurm.commands import SlurmError, ask
from slurm.profile import Profile, ProfileError
from slurm.sizing.gpus import GPUS, Gpu, named

DAY_MIN = 24 * 60
LONGEST_MIN = 7 * DAY_MIN
"""Asked for where a partition has no limit of its own."""
GPU_MEMORY = re.compile(r"(?i)(?:gpu|vram)\D*(\d{2,3})")
"""How a node's features tell it, e.g. `gpu_mem:80gb`; `mem80gb` would be the host's."""


@dataclass(frozen=True)
class Partition:
    """One row of the cluster: nodes of a partition that are alike."""

    name: str
    default: bool
    nodes: int
    gpus: int
    """Per node."""
    gpu_type: str | None
    cpus: int
    memory_mib: int
    time_limit_min: int | None
    """None is unlimited."""

    def __str__(self) -> str:
        gpus = f"{self.gpus} × {self.gpu_type or 'gpu'}" if self.gpus else "no GPU"
        limit = f"{self.time_limit_min} min" if self.time_limit_min else "no time limit"
        return f"{self.name}: {self.nodes} nodes, {gpus}, {self.cpus} CPUs, {self.memory_mib} MiB, {limit}"


def minutes(text: str) -> int | None:
    """SLURM's `days-hours:minutes:seconds` in minutes, rounded down; None is no limit.

    Raises:
        ValueError: it is no time.
    """
    if text.lower() in ("infinite", "unlimited", "n/a"):
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:  # days-hours[:minutes[:seconds]]
        hours, mins, _ = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, mins, _ = parts
    else:  # minutes[:seconds]
        hours, mins = 0, parts[0]
    return int(days or 0) * DAY_MIN + hours * 60 + mins


def gres(text: str) -> tuple[int, str | None]:
    """GPUs of a node and their type, from e.g. `gpu:a100:4(S:0-1)`; (0, None) without."""
    count, kind = 0, None
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        words = part.split(":")
        if words[0] != "gpu":
            continue
        count += int(re.match(r"\d+", words[-1]).group()) if words[-1][:1].isdigit() else 1  # type: ignore[union-attr]
        if len(words) == 3:
            kind = words[1]
    return count, kind


def partitions() -> list[Partition]:
    """What the cluster offers, by kind of node.

    Raises:
        SlurmError: SLURM cannot be asked.
    """
    answer = ask(["sinfo", "--noheader", "--format", "%P|%D|%G|%c|%m|%l"])
    offered = []
    for line in answer.splitlines():
        name, nodes, resources, cpus, memory, limit = line.split("|")
        gpus, kind = gres(resources)
        count = int(nodes), gpus, kind, int(cpus.rstrip("+")), int(memory.rstrip("+")), minutes(limit)
        offered.append(Partition(name.rstrip("*"), name.endswith("*"), *count))
    return offered


def meant(kind: str | None, features: Iterable[str]) -> tuple[Gpu, ...]:
    """The known GPUs that a node may have, the smallest first.

    Args:
        kind: SLURM's name for them, where it has one.
        features: of the node, e.g. `a100_80`, `gpu_mem:80gb`; what has nothing to do with GPUs is passed over.
    """
    left = set(named(kind)) if kind else set()
    if kind and not left:
        return ()
    for feature in sorted(features, key=lambda words: not named(words)):  # a memory says nothing before the model
        named_gpus = set(named(feature)) or {gpu for gpu in left if gpu.words[1] in GPU_MEMORY.findall(feature)}
        left = left & named_gpus or left or named_gpus
    return tuple(sorted(left, key=lambda gpu: gpu.memory_bytes))


def _gpu(chosen: Partition) -> tuple[str | None, str]:
    """What to call a partition's GPUs, and where that comes from or what a person must do about it."""
    answer = ask(["sinfo", "--noheader", "--partition", chosen.name, "--format", "%G|%f"])
    rows = [line.split("|") for line in answer.splitlines()]
    alike = [features.split(",") for kind, features in rows if gres(kind) == (chosen.gpus, chosen.gpu_type)]
    possible = {gpu.name: gpu for features in alike for gpu in meant(chosen.gpu_type, features)}
    known, source = ", ".join(GPUS), f"sinfo: {chosen.gpu_type or 'features of the nodes'}"
    if len(possible) == 1:
        return next(iter(possible)), source
    if possible:
        smallest = min(possible.values(), key=lambda gpu: gpu.memory_bytes)
        return (
            smallest.name,
            f"{source}, which may be {' or '.join(possible)}: write which one it is; this is the smallest",
        )
    if chosen.gpu_type:
        return chosen.gpu_type, f"{source}; write the nearest of {known}, and its memory below"
    return None, f"SLURM does not name it; write one of {known}, or every stage gets one GPU"


def probe(partition: str | None = None) -> tuple[Profile, dict[str, str]]:
    """A profile of the cluster, and by field where its value comes from.

    Args:
        partition: where jobs are to go; None takes the one with most GPUs, the default one first.

    Raises:
        SlurmError: SLURM cannot be asked.
        ProfileError: the partition does not exist.
    """
    offered = partitions()
    chosen = _choose(offered, partition)
    settings = _settings(ask(["scontrol", "show", "config"]))
    ranks = max(1, chosen.gpus)
    association = _association(settings)
    account = association.get("account")
    others = "; ".join(str(other) for other in offered if other is not chosen)
    by_gres = "cons_tres" not in settings.get("SelectType", "")
    config = "scontrol show config"
    submitted = association.get("submitted")
    looked_up: dict[str, tuple[Any, str]] = {
        "cluster": (settings.get("ClusterName", "cluster"), config),
        "partition": (chosen.name, f"sinfo; others here: {others}" if others else "sinfo: the only one"),
        "account": (account, "sacctmgr" if account else "sacctmgr: your default, or none is needed"),
        "qos": (None, _qualities(association.get("qos", ()))),
        "nodes": (chosen.nodes, "sinfo"),
        "gpus_per_node": (chosen.gpus, "sinfo"),
        "gpu": _gpu(chosen) if chosen.gpus else (None, "sinfo: none"),
        "gpu_request": ("gres" if by_gres else "gpus-per-node", f"{config}: {settings.get('SelectType', 'unknown')}"),
        "gpu_type": (chosen.gpu_type, ""),
        "cpus_per_rank": (max(1, chosen.cpus // ranks), f"sinfo: {chosen.cpus} CPUs a node"),
        "memory_per_rank_gib": (_share_gib(chosen.memory_mib, ranks), f"sinfo: {chosen.memory_mib} MiB a node"),
        "time_limit_min": (
            chosen.time_limit_min or LONGEST_MIN,
            "sinfo" if chosen.time_limit_min else "the partition has no limit: a week",
        ),
        "max_array_size": (int(settings.get("MaxArraySize", 1001)), config),
        "max_submitted": (submitted, "sacctmgr" if submitted else "sacctmgr: no limit found"),
        "scratch": (settings.get("TmpFS", "/tmp"), f"{config}: TmpFS"),
    }
    profile = Profile(**{name: value for name, (value, _) in looked_up.items()})
    return profile, {name: note for name, (_, note) in looked_up.items() if note}


def _choose(offered: list[Partition], wanted: str | None) -> Partition:
    if wanted is None:
        return max(
            offered,
            key=lambda partition: (
                partition.gpus * partition.nodes > 0,
                partition.default,
                partition.gpus * partition.nodes,
            ),
        )
    of_name = [partition for partition in offered if partition.name == wanted]
    if not of_name:
        names = ", ".join(dict.fromkeys(partition.name for partition in offered))
        raise ProfileError(f"partition {wanted!r} does not exist on this cluster: it has {names}")
    return max(of_name, key=lambda partition: partition.gpus * partition.nodes)


def _settings(answer: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in answer.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if value}


def _share_gib(memory_mib: int, ranks: int) -> float:
    """A rank's share of a node's memory; a twentieth is the system's."""
    return round(0.95 * memory_mib / 1024 / ranks, 1)


def _association(settings: dict[str, str]) -> dict:
    """Account, submit limit and QOS of this user, where accounting holds them."""
    if "slurmdbd" not in settings.get("AccountingStorageType", ""):
        return {}
    import getpass

    try:
        answer = ask(
            [
                "sacctmgr", "--noheader", "--parsable2", "show", "association", "where",
                f"user={getpass.getuser()}", f"cluster={settings.get('ClusterName', '')}",
                "format=Account,MaxSubmit,QOS",
            ]
        )  # fmt: skip
    except SlurmError:
        return {}
    rows = [line.split("|") for line in answer.splitlines() if "|" in line]
    if not rows:
        return {}
    limits = [int(row[1]) for row in rows if row[1].isdigit()]
    qualities = dict.fromkeys(name for row in rows for name in row[2].split(",") if name)
    # Several accounts: which one pays is a person's choice, and SLURM has a default.
    return {
        "account": rows[0][0] if len(rows) == 1 else None,
        "submitted": min(limits) if limits else None,
        "qos": tuple(qualities),
    }


def _qualities(yours: Collection[str]) -> str:
    """The QOS that this user may name, each with its limits: of a job's time, of a user's resources and jobs."""
    if not yours:
        return "sacctmgr: none found"
    try:
        answer = ask(
            ["sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name,MaxWall,MaxTRESPU,MaxSubmitPU"]
        )
    except SlurmError:
        return f"sacctmgr: you may use {', '.join(yours)}"
    shown = dict.fromkeys(yours, "")
    for line in answer.splitlines():
        name, longest, resources, jobs = line.split("|")
        limits = ", ".join(filter(None, (longest, resources.replace(",", " "), jobs and f"{jobs} jobs submitted")))
        if name in shown and limits:
            shown[name] = f" ({limits})"
    return f"sacctmgr: you may use {', '.join(name + limits for name, limits in shown.items())}"
