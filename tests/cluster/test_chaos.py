"""Twenty-seven faults, at random instants and in random order, on a sweep that must not notice.

Repeat a run with its printed seed:  RETAIN_CHAOS_SEED=… pytest tests/cluster/test_chaos.py -s
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from launch.job.records import in_queue
from launch.story import allow_retry
from slurm.commands import QueuedJob, SlurmError, queue
from slurm.devcluster import DevCluster, DevClusterError
from tests.cluster.sweeps import SmallSweep, outcome
from tests.cluster.test_submission import retain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
EACH = 3
"""Times that each of the nine kinds of fault strikes."""
PAUSE_S = (0.3, 2.0)
OUTAGE_S = (3.0, 12.0)
LONGEST_S = 1800.0
SWEEP = {
    "intermediates": ["none", "mnli"],
    "targets": ["xnli", "tatoeba"],
    "seeds": [1, 2],
    "overrides": {"*": {"max_steps": 300}},
}


@dataclass
class Chaos:
    """What can happen to a cluster, each as a method; those with an end are mended some seconds later."""

    cluster: DevCluster
    sweep: SmallSweep
    random: random.Random
    to_mend: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        kinds = [
            self.preemption,
            self.time_limit,
            self.power_failure,
            self.killed_rank,
            self.frozen_node,
            self.controller_restart,
            self.accounting_outage,
            self.cancellation,
            self.read_only_store,
        ]
        self.deck = kinds * EACH
        self.random.shuffle(self.deck)

    def strike(self) -> None:
        """The next fault that finds something to strike."""
        for place, fault in enumerate(self.deck):
            with suppress(DevClusterError, SlurmError):  # e.g. the job has just ended
                if fault():
                    del self.deck[place]
                    print(f"{time.strftime('%X')}  {fault.__name__}", flush=True)
                    return

    def mend(self, everything: bool = False) -> None:
        """End what has lasted long enough."""
        now = time.monotonic()
        due = [item for item in self.to_mend if everything or item[0] <= now]
        for item in due:
            self.to_mend.remove(item)
            with suppress(DevClusterError):
                item[1]()

    def _later(self, mend: Callable[[], None]) -> None:
        self.to_mend.append((time.monotonic() + self.random.uniform(*OUTAGE_S), mend))

    def _running(self) -> list[QueuedJob]:
        jobs = in_queue(self.sweep.store.root, queue()).values()
        return sorted({job for job in jobs if job.state == "RUNNING"}, key=lambda job: job.job_id)

    def _victim(self) -> QueuedJob | None:
        running = self._running()
        return self.random.choice(running) if running else None

    def preemption(self) -> bool:
        if not self._running():
            return False
        nodes = str(self.random.randint(1, 4))
        self.cluster.run("sbatch", "--output=/dev/null", "-p", "main", "-N", nodes, "--exclusive", "--wrap", "sleep 2")
        return True

    def time_limit(self) -> bool:
        if (victim := self._victim()) is None:
            return False
        self.cluster.run("scontrol", "update", f"JobId={victim.job_id}", "TimeLimit=1")
        return True

    def power_failure(self) -> bool:
        up = [node for node in self.cluster.nodes if node.is_up]
        if len(up) < 3:
            return False
        node = self.random.choice(up)
        node.kill()
        self._later(node.start)
        return True

    def killed_rank(self) -> bool:
        if (victim := self._victim()) is None:
            return False
        self.sweep.kill_rank(victim.job_id, self.cluster)
        return True

    def frozen_node(self) -> bool:
        node = self.cluster.node(self.random.randint(1, 4))
        node.freeze()
        self._later(node.thaw)
        return True

    def controller_restart(self) -> bool:
        self.cluster.controller.restart()
        return True

    def accounting_outage(self) -> bool:
        self.cluster.accounting.stop()
        self._later(self.cluster.accounting.start)
        return True

    def cancellation(self) -> bool:
        if (victim := self._victim()) is None:
            return False
        self.cluster.run("scancel", victim.job_id)
        return True

    def read_only_store(self) -> bool:
        """On one node; what is open stays writable, as with a file server that fails over."""
        store, node = str(self.sweep.store.root), self.cluster.node(self.random.randint(1, 4))
        node.run("mount", "--bind", store, store)
        node.run("mount", "-o", "remount,bind,ro", store)
        self._later(lambda: node.run("umount", "--lazy", store))
        return True


def test_a_sweep_survives_whatever_happens_to_the_cluster(cluster, sweep, sandbox, tmp_path):
    seed = int(os.environ.get("RETAIN_CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"RETAIN_CHAOS_SEED={seed}")
    undisturbed = SmallSweep.write(tmp_path / "undisturbed", sandbox, **SWEEP)
    local = retain("run", undisturbed.file, timeout_s=1200)
    assert local.returncode == 0, local.stderr
    one = sweep({"partition": "scavenge"}, **SWEEP)
    chaos = Chaos(cluster, one, random.Random(seed))
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        striking = bool(chaos.deck)
        chaos.mend(everything=not striking)
        with suppress(SlurmError):  # slurmctld may be away: nothing was sent, or it is found again by its name
            one.submit()
        states = _states(one)
        for label, state in states.items():
            if state == "failed":  # three kills in a row stop a stage: a person looks, and lets it run again
                allow_retry(one.store.entry(one.key(label)))
        if states and set(states.values()) <= {"completed", "diverged"}:
            break
        if striking:
            time.sleep(chaos.random.uniform(*PAUSE_S))
            chaos.strike()
        else:
            time.sleep(1)
    chaos.mend(everything=True)
    assert set(one.states().values()) <= {"completed", "diverged"}, (one.states(), one.logs())
    assert not chaos.deck, "the sweep was over before the faults were: make it longer"
    assert outcome(one) == outcome(undisturbed)
    for label in states:
        ends = [event["outcome"] for event in one.events(label, "ended")]
        assert len([end for end in ends if end in ("completed", "diverged")]) == 1, f"{label} was run to its end twice"


def _states(sweep: SmallSweep) -> dict[str, str]:
    try:
        return sweep.states()
    except SlurmError:
        return {}
