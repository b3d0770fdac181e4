"""One real SLURM cluster for all tests of this folder; they skip where this machine cannot have one, and say why."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from slurm.devcluster import DevCluster
from slurm.devcluster.packages import install_command, missing_packages
from tests import warm
from tests.cluster.jobs import wait_until


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take longest comes first, and something short after each: a process of pytest-xdist is given its next
    test while it runs one, and that must wait, whoever is idle."""

    def longest_s(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return marker.args[0] if marker else 0.0

    if all(item.path.parent == Path(__file__).parent for item in items):
        items.sort(key=longest_s, reverse=True)
        items[:] = list(chain.from_iterable(zip(items, reversed(items), strict=True)))[: len(items)]


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


@pytest.fixture(scope="session")
def warm_ranks(shared) -> dict[str, str]:
    """The environment in which ranks start warm; see `hook/sitecustomize.py`."""
    folder = shared("warm", warm.make)
    # The server is started here, or the first rank would start it on its node, to end with it.
    subprocess.Popen([folder / "python", "-c", "pass"])
    return {
        "RETAIN_WARM": f"{folder}:{warm.owner()}",
        "PYTHONPATH": os.pathsep.join((warm.CHECKOUT, str(Path(__file__).with_name("hook")))),
    }


@pytest.fixture
def cluster(running_cluster, warm_ranks, cold, monkeypatch) -> Iterator[DevCluster]:
    """The cluster, idle and whole; SLURM's commands and submitit find it.  What a test breaks is mended after it.

    Jobs are sent with the real Python, in whose command line and children SLURM and tests find what they look for.
    """
    for name, value in (running_cluster.env | warm_ranks).items():
        monkeypatch.setenv(name, value)
    yield running_cluster
    mend(running_cluster)


def mend(cluster: DevCluster) -> None:
    """No jobs, all daemons, all nodes idle."""
    for daemon in cluster.daemons:
        daemon.start()
    for node in cluster.nodes:
        if node.is_up:
            node.thaw()
        else:
            node.start()

    def is_idle() -> bool:
        cluster.run("scancel", "--user=root")  # again, too: a job that was about to requeue itself does so once more
        states = cluster.run("sinfo", "--noheader", "--partition=main", "--format=%T")
        return states == "idle" and not cluster.run("squeue", "--noheader")

    wait_until(is_idle, "the cluster to be idle")


@pytest.fixture
def sweep(cluster, sandbox, tmp_path):
    """Writes a small sweep, some fields changed, and its profile."""
    from tests.cluster.sweeps import SmallSweep

    def write(profile=None, **changes):
        return SmallSweep.write(tmp_path, sandbox, profile, **changes)

    return write
