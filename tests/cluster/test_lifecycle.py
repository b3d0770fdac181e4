"""A cluster comes up beside others, goes without a trace, and says why where it cannot come up."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from slurm.devcluster import DevCluster, DevClusterError, daemons, packages
from slurm.devcluster import cluster as cluster_module
from slurm.devcluster.daemons import Daemon, alone_at, runs_in
from slurm.job import EPHEMERAL, free_ports
from tests.cluster.jobs import sbatch, wait_for_running


def processes(cluster: DevCluster) -> list[psutil.Process]:
    """Everything that was started for a cluster, its jobs included; slurmstepd tells by its working folder only."""

    def belongs(process: psutil.Process) -> bool:
        with suppress(psutil.Error, OSError):
            return runs_in(process, cluster.env) or Path(process.cwd()).is_relative_to(cluster.root)
        return False

    return list(filter(belongs, psutil.process_iter()))


def listeners(cluster: DevCluster) -> list[int]:
    settings = cluster.settings()
    ports = range(settings.first_port, settings.first_port + settings.nodes + 2)
    return [
        one.laddr.port for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.laddr.port in ports
    ]


def retain(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "launch.cli", *map(str, words)], capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("isolated", [True, False], ids=["namespaces", "no-namespaces"])
def test_a_second_cluster_comes_up_beside_the_first_and_leaves_nothing(
    running_cluster, short_folder, isolated, monkeypatch, tmp_path
):
    mounts = Path("/proc/mounts").read_text()
    table_of_another = tmp_path / "#sql-temptable-1-1-1.MAI"  # MariaDB removes such at its start
    table_of_another.touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with DevCluster(short_folder / "second") as second:
        second.up(nodes=2, gpus=1, isolated=isolated)
        daemons = [daemon.process() for daemon in second.daemons]
        assert second.up() is second
        assert [daemon.process() for daemon in second.daemons] == daemons
        job = sbatch(second, "setsid sleep 600 & sleep 600", "--gpus-per-node=1")
        wait_for_running(second, job)
        assert len(listeners(second)) == 4
        assert running_cluster.run("squeue", "--noheader") == ""
    assert processes(second) == []
    assert listeners(second) == []
    assert table_of_another.exists()
    assert Path("/proc/mounts").read_text() == mounts
    assert not second.is_up
    second.down()
    assert running_cluster.is_up


@pytest.mark.slow
def test_a_cluster_that_does_not_come_up_takes_itself_down_and_tells_the_log(
    running_cluster, short_folder, monkeypatch
):
    with socket.socket() as holder:
        port = free_ports(4)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        monkeypatch.setattr(cluster_module, "free_ports", lambda count: port)
        broken = DevCluster(short_folder / "broken")
        with pytest.raises(DevClusterError, match=r"(?s)slurmctld ended.*Address already in use") as caught:
            broken.up(nodes=2)
    assert str(broken.root / "log" / "slurmctld.log") in str(caught.value)
    assert processes(broken) == []


@pytest.mark.slow
def test_retain_devcluster_is_told_in_one_line_to_the_shell(running_cluster, short_folder, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "nobody")
    words = ("--root", short_folder / "third")
    try:
        for _ in range(2):
            up = retain("devcluster", "up", *words, "--nodes", 1, "--gpus", 0)
            assert (up.returncode, up.stdout) == (0, f"export SLURM_CONF={short_folder}/third/etc/slurm.conf\n")
            assert "nodes: 1, each with 8 CPUs and 0 GPUs" in up.stderr
        third = DevCluster(short_folder / "third")
        as_who_called_sudo = subprocess.run(
            ["sbatch", "--output=/dev/null", "--wrap=true"], env={"PATH": packages.PATH, **third.env}, user="nobody"
        )
        assert as_who_called_sudo.returncode == 0
        status = retain("devcluster", "status", *words)
        assert status.returncode == 0
        assert re.search(r"\b(idle|mix)\b", status.stdout), status.stdout  # the job may not have ended yet
        facts = json.loads(retain("devcluster", "status", *words, "--json").stdout)
        assert (facts["up"], facts["nodes"], facts["environment"]) == (True, {"node1": True}, third.env)
    finally:
        down = retain("devcluster", "down", *words)
    assert down.returncode == 0, down.stderr
    assert retain("devcluster", "status", *words).returncode == 1


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "PATH", str(tmp_path))
    with pytest.raises(DevClusterError, match=r"apt-get install .*slurmctld slurmdbd slurmd slurm-client munge"):
        DevCluster(tmp_path).up()


def test_a_pid_that_now_belongs_to_another_program_is_left_alone(tmp_path):
    with subprocess.Popen(["sleep", "600"]) as other:
        pid_file = tmp_path / "pid"
        pid_file.write_text(f"{other.pid}\n")
        mine = {"SLURM_CONF": str(tmp_path)}
        daemon = Daemon("mine", ("sleep", "600"), pid_file, tmp_path / "log", tmp_path, mine, ready=lambda: True)
        daemon.stop()
        assert other.poll() is None
        daemon.start()
        assert daemon.process() not in (None, psutil.Process(other.pid))
        daemon.stop()
        assert daemon.process() is None
        assert other.poll() is None
        other.kill()


def test_a_daemon_that_does_not_hear_term_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(daemons, "STOP_TIMEOUT_S", 0.5)
    deaf = ("sh", "-c", "trap '' TERM; touch deaf; while :; do sleep 0.1; done")
    daemon = Daemon("deaf", deaf, tmp_path / "pid", tmp_path / "log", tmp_path, {}, ready=(tmp_path / "deaf").exists)
    daemon.start()
    process = daemon.process()
    daemon.stop()
    assert not daemons.alive(process)


@pytest.fixture
def installed():
    if packages.missing_packages():
        pytest.skip(f"no SLURM here: {packages.install_command(packages.missing_packages())}")


def test_who_is_not_root_is_told_so(installed, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DevClusterError, match="use sudo"):
        DevCluster(tmp_path).up()


@pytest.fixture
def as_root(installed, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_a_folder_with_other_files_is_left_alone(as_root, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(DevClusterError, match="holds other files"):
        DevCluster(tmp_path).up()
    assert (tmp_path / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize("text", ["{", "[]", '{"nodes": 4}'])
def test_a_file_that_is_not_of_a_cluster_is_not_taken_for_one(as_root, tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(DevClusterError, match="give the cluster another folder"):
        DevCluster(tmp_path).up()
    assert (tmp_path / "cluster.json").read_text() == text


@pytest.mark.parametrize("root", ["/tmp/" + "x" * 56, "relative"])
def test_a_path_that_sockets_cannot_have_is_refused(as_root, root):
    with pytest.raises(DevClusterError, match="absolute path of at most 60 characters"):
        DevCluster(Path(root)).up()


def test_while_one_brings_a_cluster_up_another_is_refused(as_root, short_folder):
    busy = short_folder / "busy"
    with alone_at(busy):
        for action in ("up", "down"):
            refused = retain("devcluster", action, "--root", busy)
            assert refused.returncode == 2
            assert "Another process is bringing the cluster under" in refused.stderr
        assert not busy.exists()
    assert retain("devcluster", "down", "--root", busy).returncode == 0


@pytest.mark.parametrize("size", [{"nodes": 0}, {"nodes": 201}, {"gpus": -1}, {"cpus": 0}], ids=str)
def test_a_size_that_cannot_be_is_refused(as_root, short_folder, size):
    with pytest.raises(DevClusterError, match="nodes with"):
        DevCluster(short_folder / "fourth").up(**size)
    assert not (short_folder / "fourth").exists()


def test_a_node_that_does_not_exist_is_refused(cluster):
    with pytest.raises(DevClusterError, match="There is no node 5: this cluster has 4"):
        cluster.node(5)


def test_ports_are_free_and_not_given_to_outgoing_connections():
    first = free_ports(8)
    assert first > 1024
    assert first + 8 <= int(EPHEMERAL.read_text().split()[0])
    with socket.socket() as one:
        one.bind(("", first))
