"""One daemon of the cluster: started in the foreground of a session of its own, found again by its pid file."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from slurm.devcluster.packages import PATH

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05
TOLD_LINES = 5


class DevClusterError(RuntimeError):
    """The cluster could not be brought up or changed; the message says why and what to do."""


def alive(process: psutil.Process) -> bool:
    """Whether it runs.  A zombie does not: process 1 of a container may take its time to collect it."""
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # leaves no zombie where it is a child of this process
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def runs_in(process: psutil.Process, environment: Mapping[str, str]) -> bool:
    """Whether a process runs and has these variables: it was started with them, or by one that was."""
    try:
        return alive(process) and environment.items() <= process.environ().items()
    except (psutil.Error, OSError):
        return False


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait for a condition.

    Raises:
        DevClusterError: it did not come true in time.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise DevClusterError(f"Waited {timeout_s:.0f} s in vain for {what}.")
        time.sleep(POLL_S)


@contextmanager
def alone_at(root: Path) -> Iterator[None]:
    """Two that brought one cluster up at once would overwrite each other's files and lose each other's daemons.

    The kernel holds a name as long as this process lives: one that is killed leaves nothing behind.

    Raises:
        DevClusterError: another process is at the cluster under this root.
    """
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind(f"\0retain-devcluster-{hashlib.sha256(os.fsencode(root)).hexdigest()}")
        except OSError:
            raise DevClusterError(
                f"Another process is bringing the cluster under {root} up or taking it down: try again when it is "
                "done, or give this one another folder, e.g. --root /run/mine."
            ) from None
        yield


def end(processes: list[psutil.Process]) -> None:
    """KILL processes and wait until they are gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not any(map(alive, processes)), f"the end of {processes}", STOP_TIMEOUT_S)


@dataclass(frozen=True)
class Daemon:
    """A program that runs until it is stopped."""

    name: str
    """For people."""
    command: tuple[str, ...]
    """Stays in the foreground, and writes its log to standard error."""
    pid_file: Path
    log_file: Path
    folder: Path
    """Its working folder."""
    environment: Mapping[str, str]
    """Added to this process's."""
    ready: Callable[[], bool]
    """Whether it serves."""

    def process(self) -> psutil.Process | None:
        """The running process, or None.

        A pid file can outlive its process, and the number be given to another one: program and environment must match.
        """
        try:
            process = psutil.Process(int(self.pid_file.read_text()))
            named = process.name() == self.command[0]
            return process if named and runs_in(process, self.environment) else None
        except (OSError, ValueError, psutil.Error):
            return None

    def start(self) -> None:
        """Start it, unless it runs already, and wait until it serves.

        Raises:
            DevClusterError: it ended, or did not serve in time; with the last lines of its log.
        """
        if not self.process():
            self.launch()
        try:
            wait_for(lambda: self.process() is None or self.ready(), f"{self.name} to serve")
            if not self.process():
                raise DevClusterError(f"{self.name} ended at its start.")
        except DevClusterError as error:
            raise DevClusterError(f"{error} The end of {self.log_file}:\n{self.last_lines()}") from None

    def launch(self) -> None:
        """Start it without waiting."""
        with self.log_file.open("ab") as log:
            started = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, "PATH": PATH, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid_file.write_text(f"{started.pid}\n")
        # The kernel lets a parent go on shortly before /proc shows the new program.
        wait_for(lambda: self.process() is not None or started.poll() is not None, f"{self.name} to start")

    def stop(self) -> None:
        """TERM, and KILL where that is not heard; nothing happens where it does not run."""
        if process := self.process():
            process.terminate()
            with suppress(DevClusterError):
                wait_for(lambda: not alive(process), f"the end of {self.name}", STOP_TIMEOUT_S)
            end([process])
        self.pid_file.unlink(missing_ok=True)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def last_lines(self) -> str:
        """The end of its log, those lines that report errors where there are any."""
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        telling = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
        return "\n".join((telling or lines)[-TOLD_LINES:])
