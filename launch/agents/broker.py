"""The broker: asks W&B, on a machine with a network, for agents that have none.

It holds real `wandb agent`s, one for each job: what they are served is written down in the store, where jobs find it;
each stays until its trial has ended, shows meanwhile what is measured, and reports the objective, so that a Bayesian
sweep learns.  Killed and started again, it goes on: all it knows is in the store.
"""

from __future__ import annotations

import subprocess
import time

from launch.agents.trials import AgentsFolder
from launch.agents.wandb import ask, follow, is_over

LOOK_EVERY_S = 0.5
ASK_AGAIN_S = 10.0


class Broker:
    """Leases for up to `count` jobs at a time."""

    def __init__(self, folder: AgentsFolder, count: int) -> None:
        self.folder, self.count = folder, count
        self._followers: dict[str, subprocess.Popen[bytes]] = {}
        self._asking: subprocess.Popen[bytes] | None = None
        self._over = False
        self._not_before = 0.0
        self._told: set[str] = set()

    def work(self) -> None:
        """Until the sweep has nothing more to give and W&B knows the end of every trial."""
        while not self._over or self._unreported():
            if time.monotonic() >= self._not_before:
                self._look()
            time.sleep(LOOK_EVERY_S)
        self.folder.close()

    def _look(self) -> None:
        self.folder.take_noted()
        for run in self._unreported():
            if run not in self._followers and self._asking is not None:
                self._followers[run], self._asking = self._asking, None  # nobody else takes anything
            follower = self._followers.get(run)
            if follower is None or follower.poll() is not None:
                self._followers[run] = follow(self.folder, run)
                self._not_before = time.monotonic() + (ASK_AGAIN_S if follower else 0.0)
        if self._asking is not None and self._asking.poll() is not None:
            self._asking = None
            self._not_before = time.monotonic() + ASK_AGAIN_S
            self._over = is_over(self.folder, self._told)
        elif self._asking is None and not self._over and len(self._unreported()) < self.count:
            self._asking = ask(self.folder, None)

    def _unreported(self) -> list[str]:
        return [trial.run for trial in self.folder.trials() if not self.folder.is_reported(trial.run)]
