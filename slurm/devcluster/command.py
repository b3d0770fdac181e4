"""`retain devcluster up | status | down`: the cluster for a user at a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from slurm.devcluster.cluster import DEFAULT_ROOT, DevCluster
from slurm.devcluster.daemons import DevClusterError

Action = Literal["up", "status", "down"]


def command(action: Action, root: Path | None, nodes: int, gpus: int, cpus: int) -> int:
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
            # A person reads the description; the shell of `eval "$(retain devcluster up)"` takes the export line.
            print(describe(cluster), file=sys.stderr)
            print(export_line(cluster))
        elif action == "down":
            cluster.down()
            print(f"no cluster runs under {cluster.root}")
        elif cluster.is_up:
            print(describe(cluster), export_line(cluster), sep="\n")
        else:
            print(f"no cluster runs under {cluster.root}")
            return 1
    except DevClusterError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


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
