"""What runs inside a job, on every rank: the stop flag, then `trainers.run` for each stage of the bundle.

python -m launch.job.rank <bundle>.json [micro-batch factor]        # as `launch.job.batch` calls it, one process a rank
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.job.bundle import Bundle, stages_in
from launch.job.pretokenise import Pretokeniser
from slurm.job import DEADLINE, first_node, job_runs
from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import StageEntry, Store
from trainers.store.claims import StageInUse
from trainers.training.ranks import Ranks, connect, disconnect

if TYPE_CHECKING:
    from slurm.health import Problem

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
WAIT_FOR_OTHERS_S = 1.0
REQUEUE = 75
"""Exit status of a job that has more to do: `EX_TEMPFAIL` of sysexits.h."""
FAILED = 1
CACHES = ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "HF_HOME")


class StopFlag:
    """Set by a signal and asked at step boundaries; a handler does nothing else (collectives would hang)."""

    def __init__(self) -> None:
        self.name: str | None = None

    def listen(self) -> StopFlag:
        for number in STOP_SIGNALS:
            signal.signal(number, self._set)
        return self

    def _set(self, number: int, _frame: Any) -> None:
        self.name = signal.Signals(number).name

    def __call__(self) -> bool:
        return self.name is not None


FIRST_GUESS_S = 120.0
"""What a stage takes until it has something to save, while no stage of this job has shown it."""
WITH_SAVING = 1.5
"""Over what another stage took until then: it has to be written, too."""


class Deadline:
    """The time limit of this job, and what its stages take until there is something to save."""

    def __init__(self) -> None:
        self.end = float(os.environ.get(DEADLINE, "inf"))
        # Of a job that is short as a whole, its last fifth: it could never begin anything else.
        self._guess_s = min(FIRST_GUESS_S, 0.2 * (self.end - time.time()))
        self._shown_s: dict[str, float] = {}

    def too_late(self, kind: str) -> bool:
        """Whether a stage of this kind that began now would end before anything of it is saved."""
        shown_s = self._shown_s.get(kind)
        return time.time() > self.end - (self._guess_s if shown_s is None else WITH_SAVING * shown_s)

    def learn(self, kind: str, entry: StageEntry) -> None:
        """Remember how long a stage of this kind, which has just ended, took until there was something to save."""
        if self.end < float("inf") and (shown_s := to_save_s(entry)) is not None:
            self._shown_s[kind] = shown_s


def to_save_s(entry: StageEntry) -> float | None:
    """Seconds from the begin of a stage's last attempt to its first step, or to the result of what takes no steps; None
    where it came to neither."""
    begun = took_s = None
    for event in entry.events("attempt", "step", "ended"):
        if event["event"] == "attempt":
            begun, took_s = event["time"], None
        elif begun is not None and took_s is None:
            took_s = event["time"] - begun
    return took_s


def main() -> int:
    """One rank of a job; 0 when nothing of the bundle is left, `REQUEUE` when it was told to stop, else `FAILED`."""
    should_stop = StopFlag().listen()
    bundle = Bundle.load(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        bundle = bundle.with_micro_batches(float(sys.argv[2]))
    ranks = Ranks.from_environment()
    if "SLURM_STEP_NODELIST" in os.environ:
        os.environ["MASTER_ADDR"] = first_node(os.environ)
    if problems := unhealthy(bundle, ranks):
        print("\n".join(map(str, problems)), file=sys.stderr, flush=True)
        return FAILED
    outcomes = run_stages(bundle, should_stop)
    disconnect()
    if any(outcome in ("failed", "blocked") for outcome in outcomes.values()):
        return FAILED
    unfinished = len(outcomes) < len(bundle.stages) or "preempted" in outcomes.values()
    return REQUEUE if unfinished else 0


def unhealthy(bundle: Bundle, ranks: Ranks) -> list[Problem]:
    """What makes this node, the store or the way between ranks unfit; asked once, before anything is begun."""
    from slurm.health import check_node, check_ranks

    problems = check_node(bundle.store, bundle.gpus_per_node if _has_cuda() else 0, ranks.local_rank)
    if not problems and ranks.world_size > 1:
        connect(ranks)
        problems = list(filter(None, [check_ranks()]))
    return problems


def _has_cuda() -> bool:
    """Whether this torch can use a GPU at all: a build for CPUs leaves those it was given idle."""
    import torch

    return torch.version.cuda is not None


def run_bundle(path: str, gpu: int | None = None) -> dict[str, str]:
    """Run every stage of a bundle file; a failed stage stops its descendants only.

    Args:
        path: a `Bundle` as JSON.
        gpu: the only GPU that this job may see; None leaves the environment alone.

    Returns:
        Outcome by key: completed, diverged, preempted, failed, or blocked (its parent failed or diverged).
    """
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    return run_stages(Bundle.load(Path(path)), StopFlag().listen())


def stay_offline() -> None:
    """A stage reads the mirror and nothing else; `huggingface_hub` reads this when it is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def keep_caches_local(scratch: str) -> None:
    """Compilers' and libraries' caches on the node's own disk: ranks of many jobs would fight over shared ones."""
    folder = Path(os.path.expandvars(scratch)) / f"retain-{os.getuid()}"
    for name in CACHES:
        os.environ.setdefault(name, str(folder / name.lower()))


def run_stages(bundle: Bundle, should_stop: StopFlag) -> dict[str, str]:
    """The bundle's stages in order, and the retries of those that diverge; then those of others that nobody has begun.

    A stage that another job holds is looked at again and again until it is done.

    Returns:
        Outcome by key, of the stages that have one.
    """
    stay_offline()
    if bundle.scratch:
        keep_caches_local(bundle.scratch)
    return _Worker(bundle, should_stop).work()


class _Worker:
    """One rank at the stages of its bundle."""

    def __init__(self, bundle: Bundle, should_stop: StopFlag) -> None:
        from trainers.run import Context  # torch is imported here, and only here

        self._bundle, self._should_stop = bundle, should_stop
        self._ranks = Ranks.from_environment()
        connect(self._ranks)
        self._store, mirror = Store(bundle.store), Mirror(bundle.mirror)
        self._context = Context(
            self._store, mirror, bundle.execution, bundle.tracking, should_stop, _job_name(), job_runs
        )
        self._pretokeniser, self._deadline = Pretokeniser(self._store, mirror), Deadline()
        self.outcomes: dict[str, str] = {}

    def work(self) -> dict[str, str]:
        while waiting := self._missing():
            before = len(self.outcomes)
            if not self._run_what_can_start(waiting):
                return self.outcomes
            if len(self.outcomes) == before:
                time.sleep(WAIT_FOR_OTHERS_S)
        # Looked for anew each time: others begin them as well.
        while stage := next(filter(self._nobody_has_begun, self._bundle.others), None):
            self._attempt(stage, None)
        return self.outcomes

    def _missing(self) -> list[Stage]:
        stages = stages_in(self._bundle, self._store, lambda key: self.outcomes.get(key) or self._store.outcome(key))
        return [stage for stage in stages if stage.key not in self.outcomes]

    def _run_what_can_start(self, waiting: list[Stage]) -> bool:
        """One look at each stage; False where the job is to stop."""
        for stage, following in zip_longest(waiting, waiting[1:]):
            # The first rank decides for all: they must enter a stage together or not at all.
            step = self._ranks.share(self._next_step(stage))
            if step == "stop":
                return False
            if step == "blocked":
                self.outcomes[stage.key] = "blocked"
            elif step == "run":
                self._pretokeniser.wait()
                self._attempt(stage, following)
                if self.outcomes.get(stage.key) == "diverged":
                    break  # what comes after may start from the next attempt
        return True

    def _next_step(self, stage: Stage) -> str:
        """`run`, `wait` (for its parent), `blocked` (its parent has failed), or `stop`: the whole job is to end."""
        if self._should_stop() or self._deadline.too_late(stage.kind):
            return "stop"
        if stage.parent is None:
            return "run"
        parent = self._store.entry(stage.parent)
        if parent.done:
            return "run" if parent.encoder.is_dir() else "blocked"
        return "blocked" if self.outcomes.get(stage.parent) in ("failed", "blocked") else "wait"

    def _attempt(self, stage: Stage, following: Stage | None) -> None:
        """Run a stage, and tokenise the following one meanwhile; its outcome is noted, unless another job holds it."""
        from trainers.run import run

        context = self._context
        if self._ranks.first and following is not None:
            context = replace(context, ready=partial(self._pretokeniser.start, following))
        try:
            self.outcomes[stage.key] = run(stage, context)
        except StageInUse:
            return
        except Exception as error:
            if self._ranks.world_size > 1:
                raise  # the others may wait for this rank in the middle of the stage: end the job
            self.outcomes[stage.key] = "failed"  # other stages of the bundle can still run
            print(f"{stage.label}  failed: {error}", file=sys.stderr, flush=True)
            traceback.print_exc()
        if self._ranks.first:
            self._deadline.learn(stage.kind, self._store.entry(stage.key))

    def _nobody_has_begun(self, stage: Stage) -> bool:
        """Of those that failed here even the folder may be missing, where the disk is full."""
        begun = stage.key in self.outcomes or self._store.entry(stage.key).folder.exists()
        return not begun and self._next_step(stage) == "run"


def _job_name() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    return f"job {job}" if job else f"pid {os.getpid()}"


if __name__ == "__main__":
    try:
        status = main()
    except BaseException:
        traceback.print_exc()
        status = FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the interpreter would give up its signal handlers first, and gloo's threads sometimes abort it.
    os._exit(status)
