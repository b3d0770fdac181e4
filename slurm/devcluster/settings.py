"""How large a cluster is, where it listens, and its configuration files."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from slurm.devcluster.daemons import DevClusterError

FIRST_ADDRESS = 11
"""Node 1 listens on 127.0.0.11."""
MOST_NODES = 200
MOST_PATH = 60
"""Characters of the root: the paths of Unix sockets end at 107."""
NEWEST_FIRST_JOB = 60_000_000
"""SLURM's job ids end at 67 million."""


@dataclass(frozen=True)
class Settings:
    """What one cluster was brought up with; kept in `<root>/cluster.json`."""

    root: str
    nodes: int
    gpus: int
    """Of each node; they are /dev/null by another name."""
    cpus: int
    """Of each node; this machine may have fewer."""
    memory_mb: int
    """Of each node; this machine may have less."""
    max_array_size: int
    """The largest index of a job array is one less."""
    grace_time_s: int
    """Between a preempted job's signal (`--signal`) and its TERM."""
    isolated: bool
    """Whether each node has namespaces of its own."""
    host: str
    """This machine's short name; slurmctld insists on it."""
    first_port: int
    """slurmctld's; slurmdbd has the next one and the nodes those behind it."""

    def __post_init__(self) -> None:
        if len(self.root) > MOST_PATH or not self.root.startswith("/"):
            raise DevClusterError(
                f"The cluster's folder {self.root} must be an absolute path of at most {MOST_PATH} characters, for the "
                "sockets in it: give a shorter one, e.g. --root /run/mine."
            )
        if not (1 <= self.nodes <= MOST_NODES and self.gpus >= 0 and self.cpus >= 1):
            raise DevClusterError(
                f"{self.nodes} nodes with {self.cpus} CPUs and {self.gpus} GPUs each cannot be: give 1 to {MOST_NODES} "
                "nodes, at least 1 CPU, and 0 or more GPUs."
            )

    @classmethod
    def load(cls, root: Path) -> Settings | None:
        """Those of the cluster under a root; None where there never was one.

        Raises:
            DevClusterError: the file is of another program, or of another version of this one.
        """
        path = root / "cluster.json"
        try:
            return cls(**json.loads(path.read_text())) if path.exists() else None
        except (ValueError, TypeError) as error:
            raise DevClusterError(f"{path} cannot be read ({error}); give the cluster another folder.") from None

    def save(self) -> None:
        """Keep them for whoever asks next."""
        (Path(self.root) / "cluster.json").write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @property
    def accounting_port(self) -> int:
        """slurmdbd's."""
        return self.first_port + 1

    def node_address(self, number: int) -> tuple[str, int]:
        """Where the slurmd of node `number`, from 1, listens."""
        last_byte = FIRST_ADDRESS + number - 1 if self.isolated else 1
        return f"127.0.0.{last_byte}", self.first_port + 1 + number

    def write_files(self) -> None:
        """Fill the templates into `<root>/etc`."""
        (first_address, first_port), (_, last_port) = self.node_address(1), self.node_address(self.nodes)
        last_byte = FIRST_ADDRESS + self.nodes - 1
        values = {
            **dataclasses.asdict(self),
            "accounting_port": self.accounting_port,
            "node_list": f"node[1-{self.nodes}]",
            "node_ports": f"[{first_port}-{last_port}]",
            "node_hosts": f"node[1-{self.nodes}]" if self.isolated else self.host,
            "node_addresses": f"127.0.0.[{FIRST_ADDRESS}-{last_byte}]" if self.isolated else first_address,
            "last_gpu": self.gpus - 1,
            # Folders of jobs are named by job id: an earlier cluster's results must not be taken for this one's.
            "first_job": int(time.time()) % NEWEST_FIRST_JOB + 1,
        }
        etc = Path(self.root) / "etc"
        for template in resources.files("slurm.devcluster").joinpath("templates").iterdir():
            path = etc / template.name.removesuffix(".in")
            path.touch(mode=0o600 if path.name == "slurmdbd.conf" else 0o644)  # slurmdbd insists on that
            path.write_text(Template(template.read_text(encoding="utf-8")).substitute(values))
        if not self.gpus:
            (etc / "gres.conf").write_text("")
        names = [f"{self.node_address(number)[0]} node{number}\n" for number in range(1, self.nodes + 1)]
        (etc / "hosts").write_text(Path("/etc/hosts").read_text() + "".join(names))


def short_host() -> str:
    """What `hostname -s` says."""
    return os.uname().nodename.split(".")[0]
