"""The cluster: munged, MariaDB, slurmdbd, slurmctld and one slurmd for each node, brought up and taken down.

<root>/etc/      configuration; the SLURM_CONF that clients need is etc/slurm.conf
<root>/log/      what each daemon said
<root>/pids/     process ids of the daemons and the nodes
<root>/run/      sockets, and the pid files that daemons write themselves, some time after their start
<root>/db/ state/ spool/ dev/      what the daemons keep, and the fake GPUs
<root>/cluster.json                what it was brought up with
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from slurm.devcluster.daemons import Daemon, DevClusterError, alone_at
from slurm.devcluster.node import NAMESPACES, NODE_INIT, Node
from slurm.devcluster.packages import PATH, install_command, missing_packages
from slurm.devcluster.settings import Settings, short_host
from slurm.job import free_ports

DEFAULT_ROOT = Path("/run/retain-devcluster")
FOLDERS = ("etc", "pids", "run", "log", "state", "spool", "db", "dev")
ACCOUNT = "retain"
TINY_QOS_JOBS = 2
SERVING = ("idle", "mixed", "allocated", "completing")
COMMAND_TIMEOUT_S = 60.0


class DevCluster:
    """A throwaway SLURM cluster under one folder.  Any process of root may bring it up, use it and take it down.

    Partitions: `main`; `scavenge`, whose jobs `main` preempts (requeued); `short`, of 2 minutes at most.  Jobs of the
    QOS `tiny` beyond two for each user are refused.

    Args:
        root: absolute path of a folder that is empty, absent, or a cluster's; at most 60 characters.
    """

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    @property
    def env(self) -> dict[str, str]:
        """What a client's environment needs: SLURM_CONF, and nothing else."""
        return {"SLURM_CONF": str(self.root / "etc" / "slurm.conf")}

    @property
    def is_up(self) -> bool:
        """Whether slurmctld runs."""
        return self.settings() is not None and self.controller.process() is not None

    def settings(self) -> Settings | None:
        """What it was brought up with; None where nothing was."""
        return Settings.load(self.root)

    # What it is made of.

    @property
    def munge(self) -> Daemon:
        """Who authenticates every message."""
        run, etc = self.root / "run", self.root / "etc"
        sockets = (f"--socket={run}/munge.sock", f"--key-file={etc}/munge.key")
        files = (f"--pid-file={run}/munged.pid", f"--seed-file={run}/munged.seed", f"--log-file={run}/munged.log")
        # --force: the folder's owner is root and not munge's own user.
        return self._daemon(
            "munged", "--foreground", "--force", *sockets, *files, ready=partial(_listens, f"{run}/munge.sock")
        )

    @property
    def database(self) -> Daemon:
        """slurmdbd's MariaDB."""
        defaults = f"--defaults-file={self.root}/etc/my.cnf"
        return self._daemon("mariadbd", defaults, ready=partial(_listens, f"{self.root}/run/mariadb.sock"))

    @property
    def accounting(self) -> Daemon:
        """slurmdbd, which answers sacct; while it is stopped jobs can be submitted and run."""
        address = ("127.0.0.1", self._settings().accounting_port)
        return self._daemon("slurmdbd", "-D", ready=partial(_listens, address))

    @property
    def controller(self) -> Daemon:
        """slurmctld.  Its restart keeps the jobs; a KILL would lose the last seconds."""
        return self._daemon(
            "slurmctld", "-D", "-f", self.env["SLURM_CONF"], ready=partial(self._answers, "scontrol", "ping")
        )

    def node(self, number: int) -> Node:
        """Node `number`, from 1.

        Raises:
            DevClusterError: there is no such node.
        """
        settings = self._settings()
        if not 1 <= number <= settings.nodes:
            raise DevClusterError(f"There is no node {number}: this cluster has {settings.nodes}, counted from 1.")
        name = f"node{number}"
        slurmd = ("slurmd", "-D", "-N", name, "-f", self.env["SLURM_CONF"])
        isolated = (*NAMESPACES, "sh", "-c", NODE_INIT, "node", name, str(self.root))
        return Node(
            name,
            Daemon(
                name=name,
                command=isolated if settings.isolated else slurmd,
                pid_file=self.root / "pids" / name,
                log_file=self.root / "log" / f"{name}.log",
                folder=self.root / "spool" / name,
                environment={**self.env, "SLURMD_NODENAME": name},
                ready=partial(self._serves, name, settings.node_address(number)),
            ),
        )

    @property
    def nodes(self) -> list[Node]:
        """All of them, in order."""
        return [self.node(number) for number in range(1, self._settings().nodes + 1)]

    @property
    def daemons(self) -> list[Daemon]:
        """All but the nodes', in the order in which they start."""
        return [self.munge, self.database, self.accounting, self.controller]

    # What one does with it.

    def up(
        self,
        nodes: int = 4,
        gpus: int = 2,
        cpus: int = 8,
        memory_mb: int = 16000,
        max_array_size: int = 10001,
        grace_time_s: int = 10,
        isolated: bool = True,
    ) -> DevCluster:
        """Bring it up and wait until all nodes are idle; nothing happens where it is up already.

        Args: what `Settings` says of them; nodes are isolated only where this machine allows it.

        Raises:
            DevClusterError: this machine cannot, or a daemon would not start; nothing is left running.  Or another
                process brings it up or takes it down at this moment.
        """
        with alone_at(self.root):
            self.check_machine()
            if self.is_up:
                return self
            settings = Settings(
                root=str(self.root),
                nodes=nodes,
                gpus=gpus,
                cpus=cpus,
                memory_mb=memory_mb,
                max_array_size=max_array_size,
                grace_time_s=grace_time_s,
                isolated=isolated and has_namespaces(),
                host=short_host(),
                first_port=free_ports(nodes + 2),
            )
            self._end()
            try:
                self._write(settings)
                self._start()
            except BaseException:
                self._end()
                raise
        return self

    def check_machine(self) -> None:
        """Whether a cluster can be here.

        Raises:
            DevClusterError: SLURM is not installed, the user is not root, or the folder is used otherwise.
        """
        if missing := missing_packages():
            raise DevClusterError(f"SLURM is not installed here. As root: {install_command(missing)}")
        if os.geteuid():
            raise DevClusterError("A cluster's daemons run as root, and you do not: use sudo.")
        if self.root.exists() and any(self.root.iterdir()) and not self.settings():
            raise DevClusterError(f"{self.root} holds other files: give the cluster a folder of its own.")

    def down(self) -> None:
        """Take it down: no process, listener or mount is left.  The folder stays, for its logs, until the next `up`.

        Raises:
            DevClusterError: another process brings it up or takes it down at this moment.
        """
        with alone_at(self.root):
            self._end()

    def __enter__(self) -> DevCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def run(self, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """What a command, such as `sbatch`, prints when it runs on this cluster.

        Raises:
            DevClusterError: it failed; with what it said.
            subprocess.TimeoutExpired: it took too long.
        """
        done = subprocess.run(
            command, env={**os.environ, "PATH": PATH, **self.env}, capture_output=True, text=True, timeout=timeout_s
        )
        if done.returncode:
            raise DevClusterError(
                f"`{' '.join(command)}` exited with {done.returncode}: {(done.stderr or done.stdout).strip()}"
            )
        return done.stdout.strip()

    # How.

    def _end(self) -> None:
        if self.settings():
            for node in self.nodes:
                node.kill()
            for daemon in reversed(self.daemons):
                daemon.stop()

    def _settings(self) -> Settings:
        if (settings := self.settings()) is None:
            raise DevClusterError(f"There is no cluster under {self.root}: bring one up first.")
        return settings

    def _write(self, settings: Settings) -> None:
        if self.root.exists():
            shutil.rmtree(self.root)
        self.root.mkdir(parents=True)
        settings.save()  # before anything else: by it the folder is known for a cluster's
        for folder in FOLDERS:
            (self.root / folder).mkdir()
        self.root.chmod(0o755)
        settings.write_files()
        for node in self.nodes:
            node.daemon.folder.mkdir()
        for gpu in range(settings.gpus):
            (self.root / "dev" / f"nvidia{gpu}").symlink_to(os.devnull)
        key = self.root / "etc" / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))

    def _start(self) -> None:
        self.munge.start()
        defaults = f"--defaults-file={self.root}/etc/my.cnf"
        owner = ("--user=root", "--auth-root-authentication-method=socket", "--auth-root-socket-user=root")
        self.run("mariadb-install-db", defaults, *owner, "--skip-test-db")
        self.database.start()
        self.accounting.start()
        self._add_users()
        self.controller.start()
        for node in self.nodes:
            node.daemon.launch()
        for node in self.nodes:
            node.start()

    def _add_users(self) -> None:
        """Those who may submit: root, and who called sudo; and the QOS `tiny`."""
        users = ",".join({"root", os.environ.get("SUDO_USER", "root")})
        for words in (
            "add cluster devcluster",
            f"add qos tiny MaxSubmitJobsPerUser={TINY_QOS_JOBS}",
            f"add account {ACCOUNT}",
            f"add user {users} account={ACCOUNT} qos=normal,tiny",
            f"modify user {users} set defaultaccount={ACCOUNT}",
        ):
            self.run("sacctmgr", "--immediate", *words.split())

    def _answers(self, *command: str) -> bool:
        with suppress(DevClusterError):
            self.run(*command)
            return True
        return False

    def _serves(self, node: str, address: tuple[str, int]) -> bool:
        """Whether slurmd answers and slurmctld knows (a * after the state says that it does not)."""
        query = ("sinfo", "--noheader", "--partition=main", f"--nodes={node}", "--format=%T")
        return _listens(address) and self.run(*query) in SERVING

    def _daemon(self, name: str, *words: str, ready: Callable[[], bool]) -> Daemon:
        return Daemon(
            name=name,
            command=(name, *words),
            pid_file=self.root / "pids" / name,
            log_file=self.root / "log" / f"{name}.log",
            folder=self.root / "run",
            environment={**self.env, "MYSQL_UNIX_PORT": str(self.root / "run" / "mariadb.sock")},
            ready=ready,
        )


def has_namespaces() -> bool:
    """Whether this machine lets a node have namespaces of its own."""
    needed = "hostname node && mount --bind /etc/hosts /etc/hosts"
    return not subprocess.run([*NAMESPACES, "sh", "-c", needed], capture_output=True).returncode


def _listens(address: str | tuple[str, int]) -> bool:
    """Whether somebody accepts connections at a Unix socket's path or a (host, port)."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        return not client.connect_ex(address)
