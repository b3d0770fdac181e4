"""One real SLURM cluster for all tests of this folder; they skip where this machine cannot have one, and say why."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.devcluster import DevCluster
from slurm.devcluster.packages import install_command, missing_packages
from tests.cluster.jobs import wait_until


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A new folder with a short path, for the paths of sockets; pytest's own are too long."""
    with tempfile.TemporaryDirectory(prefix="retain-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def running_cluster(short_folder) -> Iterator[DevCluster]:
    """Four nodes of 8 CPUs and 2 fake GPUs."""
    if missing := missing_packages():
        pytest.skip(f"no SLURM here: {install_command(missing)}")
    if os.geteuid():
        pytest.skip("a SLURM cluster's daemons run as root, and these tests do not")
    with DevCluster(short_folder / "cluster") as cluster:
        yield cluster.up()


@pytest.fixture
def cluster(running_cluster, monkeypatch) -> Iterator[DevCluster]:
    """The cluster, idle and whole; SLURM's commands and submitit find it.  What a test breaks is mended after it."""
    for name, value in running_cluster.env.items():
        monkeypatch.setenv(name, value)
    yield running_cluster
    mend(running_cluster)


def mend(cluster: DevCluster) -> None:
    """No jobs, all daemons, all nodes idle."""
    for daemon in cluster.daemons:
        daemon.start()
    cluster.run("scancel", "--user=root")
    for node in cluster.nodes:
        if node.is_up:
            node.thaw()
        else:
            node.start()
    states = ("sinfo", "--noheader", "--partition=main", "--format=%T")
    wait_until(lambda: cluster.run(*states) == "idle", "all nodes to be idle")
    assert not cluster.run("squeue", "--noheader")


@pytest.fixture(scope="session")
def mirror(short_folder) -> Path:
    """The sandbox's data sets."""
    from trainers.data.sandbox import write_mirror

    folder = short_folder / "mirror"
    write_mirror(folder)
    return folder


@pytest.fixture
def sweep(cluster, mirror, tmp_path):
    """Writes a small sweep, some fields changed, and its profile."""
    from tests.cluster.sweeps import SmallSweep

    def write(profile=None, **changes):
        return SmallSweep.write(tmp_path, mirror, profile, **changes)

    return write
