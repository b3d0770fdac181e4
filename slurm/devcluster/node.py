"""One node: slurmd in PID, UTS and mount namespaces of its own, and what can happen to a node.

With namespaces the node has its own hostname, /proc and /etc/hosts, and ending it is a power failure: the kernel ends
everything that ran on it.  Without them it is a plain `slurmd -N nodeK` on this machine, and its jobs are looked for
by their environment.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass

import psutil

from slurm.devcluster.daemons import STOP_TIMEOUT_S, Daemon, DevClusterError, alive, end, runs_in, wait_for

# The shell is the node's process 1: it collects orphans, as slurmd would not, and when slurmd ends so does the node.
NODE_INIT = """
set -e
hostname "$1"
mount --bind "$2/etc/hosts" /etc/hosts
slurmd -D -N "$1" -f "$2/etc/slurm.conf"
exit
"""
NAMESPACES = ("unshare", "--pid", "--fork", "--kill-child", "--uts", "--mount", "--mount-proc")


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    name: str
    """As SLURM calls it."""
    daemon: Daemon
    """slurmd, or the one that holds the node's namespaces."""

    @property
    def is_up(self) -> bool:
        """Whether its slurmd runs, frozen or not."""
        return self.daemon.process() is not None

    def start(self) -> None:
        """Switch it on; SLURM takes it back by itself."""
        self.daemon.start()

    def stop(self) -> None:
        """Shut it down: slurmd ends by TERM, then everything that ran on the node."""
        with suppress(DevClusterError):
            self.slurmd().terminate()
            wait_for(lambda: not self.is_up, f"the end of {self.name}", STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """Cut its power: everything on the node ends at once; SLURM notices some 25 seconds later."""
        if process := self.daemon.process():
            end([process])
        self.daemon.pid_file.unlink(missing_ok=True)
        self._end_jobs()

    def freeze(self) -> None:
        """Let slurmd hang; its jobs run on.

        Raises:
            DevClusterError: the node is down.
        """
        self.slurmd().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen slurmd go on.

        Raises:
            DevClusterError: the node is down.
        """
        self.slurmd().send_signal(signal.SIGCONT)

    def run(self, *command: str) -> None:
        """Run a command as root on the node, with its own view of disks and processes.

        Raises:
            DevClusterError: the node is down, has no namespaces of its own, or the command fails; with what it said.
        """
        inside = ("nsenter", f"--target={self.slurmd().pid}", "--mount", "--pid", "--uts", "--", *command)
        done = subprocess.run(inside, capture_output=True, text=True, timeout=STOP_TIMEOUT_S)
        if done.returncode:
            raise DevClusterError(f"`{' '.join(command)}` failed on {self.name}: {done.stderr.strip()}")

    def slurmd(self) -> psutil.Process:
        """Its slurmd, which with namespaces is a grandchild of the daemon.

        Raises:
            DevClusterError: the node is down.
        """
        process = self.daemon.process()
        for child in [process, *process.children(recursive=True)] if process else []:
            with suppress(psutil.NoSuchProcess):
                if child.name() == "slurmd":
                    return child
        raise DevClusterError(f"{self.name} is down; start it first.")

    def _end_jobs(self) -> None:
        """Without namespaces, the steps of jobs outlive slurmd."""
        while left := list(filter(self._is_of_this_node, psutil.process_iter())):
            end(left)

    def _is_of_this_node(self, process: psutil.Process) -> bool:
        """Told by its environment; slurmstepd overwrites that with its title, but stays in slurmd's working folder."""
        with suppress(psutil.Error, OSError):
            if process.name() == "slurmstepd":
                return alive(process) and process.cwd() == str(self.daemon.folder)
        return runs_in(process, self.daemon.environment)
