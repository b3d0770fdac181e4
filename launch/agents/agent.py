"""What each agent's job runs: finish what was given, tell W&B, ask for more, until there is no more.

    python -m launch.agents.agent <store>/agents/<name> <store>/slurm/<array>     # on SLURM, as the batch step
    python -m launch.agents.agent <store>/agents/<name> local-2                   # a process of this machine

W&B alone would hand a requeued agent a new configuration and forget the old; here the store remembers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, Protocol

from launch.agents.trials import TEMPLATE, AgentsFolder, Trial
from launch.agents.wandb import ask, follow, is_over
from launch.job import batch
from launch.job.bundle import Bundle
from launch.job.rank import REQUEUE
from launch.job.records import ArrayFolder
from slurm.failures.causes import Cause
from trainers.stage import digest

LOOK_EVERY_S = 0.5
ASK_AGAIN_S = 10.0
ASK_SLURM_EVERY_S = 30.0
"""Whether the jobs of others still run."""
PATIENCE_S = 1800.0
"""How long a W&B that does not answer is asked again; nothing is lost by giving up."""
REPORT_S = 150.0
"""For W&B to be told of an end; it is told again before more is asked for, as long as it is asked for more."""
GRACE_S = 20.0
"""From being served to being noted, at the longest."""
Follower = subprocess.Popen[bytes] | None
End = Literal["ended", "stopped"]
"""Stopped: told to, with something left to do."""


class Runner(Protocol):
    """Where trials are carried out."""

    name: str
    """The agent's; the same after a requeue."""
    stopping: bool
    """It was told to stop."""

    def run(self, trial: Trial) -> tuple[End, str]:
        """Carry out a trial; how that ended and, where it failed, why."""

    def leave(self) -> int:
        """The exit status after being stopped."""


class Agent:
    """One agent: at most one trial at a time."""

    def __init__(self, folder: AgentsFolder, runner: Runner) -> None:
        self.folder, self.runner = folder, runner

    def work(self) -> int:
        """Until W&B has nothing more to give; the exit status."""
        while not self.runner.stopping:
            trial, follower = self._next()
            if trial is None:
                return self.runner.leave() if self.runner.stopping else 0
            if self.folder.result(trial.run) is None:
                end, why = self.runner.run(trial)
                if end == "stopped":
                    break
                self.folder.end(trial, why)
            if follower is not None and not self._told(trial, follower):
                return 1
        return self.runner.leave()

    def _told(self, trial: Trial, follower: subprocess.Popen[bytes]) -> bool:
        """Whether W&B knows how a trial ended, or will by whoever has this agent's name next."""
        end = time.monotonic() + PATIENCE_S
        _wait(follower, REPORT_S)
        while not self.folder.is_reported(trial.run) and not self.runner.stopping:
            if time.monotonic() > end:
                print(
                    f"W&B was not told how {trial.run} ended: {self.folder.folder / 'log'} says why. The same command "
                    "tells it later; the store has everything.",
                    file=sys.stderr,
                    flush=True,
                )
                return False
            time.sleep(ASK_AGAIN_S)
            _wait(follow(self.folder, trial.run), REPORT_S)
        return True

    def _next(self) -> tuple[Trial | None, Follower]:
        """What is to be done now, and who tells W&B of it."""
        self.folder.take_noted()
        for mine in self.folder.trials():
            if self.folder.agent_of(mine) == self.runner.name and not self._settled(mine) and self._take(mine):
                return self._with_follower(mine)
        trial, follower = (self._waiting(), None) if self.folder.study.broker else self._ask()
        if trial is None and not self.runner.stopping and (left := self._left()):
            return self._with_follower(left)
        return trial, follower

    def _with_follower(self, trial: Trial) -> tuple[Trial, Follower]:
        return trial, None if self.folder.study.broker else follow(self.folder, trial.run)

    def _take(self, trial: Trial) -> bool:
        """Whether it is ours: to carry out, or only to tell the end of."""
        return self.folder.claim(trial.run, self.runner.name)

    def _settled(self, trial: Trial) -> bool:
        if self.folder.study.broker:
            return self.folder.result(trial.run) is not None
        return self.folder.is_reported(trial.run)

    def _waiting(self) -> Trial | None:
        """A trial that the broker leased and nobody carries out; None when there will be no more."""
        look_at_all = 0.0
        while not self.runner.stopping:
            closed = self.folder.closed  # before looking: what comes between is seen
            if among_all := time.monotonic() >= look_at_all:
                look_at_all = time.monotonic() + ASK_SLURM_EVERY_S
            if trial := self._free(among_all):
                return trial
            if closed:
                break
            time.sleep(LOOK_EVERY_S)
        return None

    def _ask(self) -> tuple[Trial | None, Follower]:
        """An assignment from the real `wandb agent`; None when W&B has no more."""
        end = time.monotonic() + PATIENCE_S
        printed: set[str] = set()
        while not self.runner.stopping:
            known = {trial.run for trial in self.folder.trials()}
            agent = ask(self.folder, self.runner.name)
            while agent.poll() is None and not self.runner.stopping:
                for trial in self.folder.trials():
                    if trial.run not in known and trial.agent == self.runner.name and self._take(trial):
                        return trial, agent
                time.sleep(LOOK_EVERY_S)
            if self.runner.stopping:
                agent.terminate()
                break
            if is_over(self.folder, printed) or time.monotonic() > end:
                break
            time.sleep(ASK_AGAIN_S)
        return None, None

    def _free(self, among_all: bool = True) -> Trial | None:
        """A trial that nobody carried out, or told W&B the end of, now taken.

        Args:
            among_all: also those of agents that were cancelled or died, and not only what waited for an agent.
        """
        for trial in self.folder.trials():
            waits = not self._settled(trial) and (among_all or self.folder.agent_of(trial) is None)
            if waits and self._take(trial):
                return trial
        return None

    def _left(self) -> Trial | None:
        """What others left: trials, and what W&B served to an agent that died before it could note it."""
        if trial := self._free():
            return trial
        if not self.folder.study.broker and self.folder.forgotten():
            time.sleep(GRACE_S)  # it may be on its way
            for assignment in self.folder.forgotten():
                run = digest({"sweep": self.folder.study.id, **assignment})[:16]
                if self._take(trial := self.folder.take(run, assignment, self.runner.name)):
                    return trial
        return None


class Local:
    """Trials as processes of this machine."""

    def __init__(self, folder: AgentsFolder, name: str) -> None:
        self.name, self.template = name, folder.template
        self.stopping = False
        self._job: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._stop)

    def run(self, trial: Trial) -> tuple[End, str]:
        bundle = bundle_of_trial(self.template, trial)
        path = bundle.store / "bundles" / f"{trial.run}.json"
        bundle.save(path)
        log = path.with_suffix(".txt")
        with log.open("ab") as file:
            self._job = subprocess.Popen(
                [sys.executable, "-P", "-u", "-m", "launch.job.rank", str(path)], stdout=file, stderr=file
            )
        if self.stopping:
            self._job.terminate()
        status = self._job.wait()
        if status == REQUEUE or (self.stopping and status):
            return "stopped", ""
        return "ended", f"see {log}" if status else ""

    def leave(self) -> int:
        return REQUEUE

    def _stop(self, *_: object) -> None:
        self.stopping = True
        if self._job is not None:
            self._job.send_signal(signal.SIGTERM)


class Slurm:
    """Trials as steps of this job, each rank a GPU."""

    def __init__(self, array: ArrayFolder) -> None:
        self.array = array
        self.name = f"{array.name}/{os.environ['SLURM_ARRAY_TASK_ID']}"
        self.stopping = False
        self._exclude: tuple[str, ...] = ()
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._stop)

    def run(self, trial: Trial) -> tuple[End, str]:
        bundle_of_trial(self.array.bundle(TEMPLATE), trial).save(self.array.bundle(trial.run))
        status, decision = batch.attempt(self.array, trial.run)
        if decision is None:
            sys.exit(status or 1)
        self._exclude = decision.exclude_nodes
        if decision.action != "stop":
            return "stopped", ""
        if decision.cause == Cause.CANCELLED:
            sys.exit(status or 1)  # a person ended this job, not the trial
        return "ended", decision.because if status else ""

    def leave(self) -> int:
        return batch.again(self.array, self._exclude)

    def _stop(self, *_: object) -> None:
        """The ranks have signals of their own; while none run, this is the time to go."""
        self.stopping = True


def bundle_of_trial(template: Path, trial: Trial) -> Bundle:
    """The one file from which all ranks have a trial's configuration."""
    return Bundle.load(template).model_copy(update={"stages": trial.stages})


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()


def main() -> int:
    """One agent, until there is nothing more."""
    folder = AgentsFolder(Path(sys.argv[1]))
    where = sys.argv[2]
    runner: Runner = Slurm(ArrayFolder(Path(where))) if "/" in where else Local(folder, where)
    return Agent(folder, runner).work()


if __name__ == "__main__":
    sys.exit(main())
