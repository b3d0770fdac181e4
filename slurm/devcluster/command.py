"""`retain devcluster up | status | down`: the cluster for a user at a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from slurm.devcluster.cluster import DEFAULT_ROOT, DevCluster
from slurm.devcluster.daemons import DevClusterError

Action = Literal["up", "status", "down"]


def command(action: Action, root: Path | None, nodes: int, gpus: int, cpus: int, as_json: bool = False) -> int:
    """Do it and say what there is now.

    Returns:
        Exit status: 0; 1 where `status` finds no cluster; 2 where the cluster could not be brought up.
    """
    cluster = DevCluster((root or DEFAULT_ROOT).absolute())
    try:
        cluster.check_machine()
        if action == "up":
            if cluster.is_up:
                print("It is up already; to change its size, take it down first.", file=sys.stderr)
            cluster.up(nodes, gpus, cpus)
        elif action == "down":
            cluster.down()
        is_up = cluster.is_up
        if as_json:
            print(json.dumps(facts(cluster)))
        elif is_up:
            # A person reads the description; the shell of `eval "$(retain devcluster up)"` takes the export line.
            print(describe(cluster), file=sys.stderr if action == "up" else sys.stdout)
            print(export_line(cluster))
        else:
            print(f"no cluster runs under {cluster.root}")
    except DevClusterError as error:
        print(error, file=sys.stderr)
        return 2
    return int(action == "status" and not is_up)


def facts(cluster: DevCluster) -> dict[str, Any]:
    """The cluster for a program."""
    if not cluster.is_up:
        return {"root": str(cluster.root), "up": False}
    settings = cluster.settings()
    assert settings is not None
    return {
        "root": str(cluster.root),
        "up": True,
        "cpus_per_node": settings.cpus,
        "gpus_per_node": settings.gpus,
        "nodes": {node.name: node.is_up for node in cluster.nodes},
        "daemons": {daemon.name: daemon.process() is not None for daemon in cluster.daemons},
        "environment": cluster.env,
    }


def export_line(cluster: DevCluster) -> str:
    """What a shell needs so that `sbatch` and `retain` find the cluster."""
    return "\n".join(f"export {name}={value}" for name, value in cluster.env.items())


def describe(cluster: DevCluster) -> str:
    """The nodes and partitions, and what does not run."""
    settings = cluster.settings()
    assert settings is not None
    lines = [
        f"nodes: {settings.nodes}, each with {settings.cpus} CPUs and {settings.gpus} GPUs; logs: {cluster.root}/log",
        cluster.run("sinfo"),
        *(f"{daemon.name} does not run" for daemon in cluster.daemons if not daemon.process()),
        *(f"{node.name} does not run" for node in cluster.nodes if not node.is_up),
    ]
    if not settings.isolated:
        lines.append(f"No namespaces on this machine: every node calls itself {settings.host} and sees all processes.")
    return "\n".join(lines)
