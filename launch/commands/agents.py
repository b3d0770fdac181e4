"""`retain agents`: a W&B sweep over a study, and agents that work through it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from launch.commands.common import Common, checked_plan, load

if TYPE_CHECKING:
    from launch.agents.trials import AgentsFolder
    from launch.job.bundle import Bundle
    from launch.study.plan import Plan
    from launch.study.sweep import Sweep
    from trainers.data.mirror import Mirror


@dataclass
class Agents(Common):
    """Let a W&B sweep hand out the work: jobs run the real `wandb agent`, and each trial becomes stages in the store.

    The W&B sweep is over the arms and the points of `search:`.  Repeat the command to continue the same W&B sweep.
    """

    count: int = 1
    """Number of agents, including those already alive; each is a job and runs one trial at a time."""
    on: Literal["local", "slurm"] = "local"
    """Run agents on this machine, or on the cluster of `--cluster`."""
    method: Literal["grid", "random", "bayes"] = "grid"
    """grid tries every value of `search:`; the others draw between the smallest and the largest value of each axis."""
    runs: int | None = None
    """Total number of trials; random and bayes need it, because they do not end by themselves."""
    scale: str | None = None
    """Only this scale of the sweep; None is all."""
    intermediate: str | None = None
    """Only this intermediate of the sweep; None is all."""
    seed: int | None = None
    """Only this seed of the sweep; None is all.  `--method bayes` needs a single arm: with several, it would draw the
    best arm more and more often, and not look for the best point of each."""
    broker: bool = False
    """For jobs without a network: this command asks W&B for them, and must keep running."""
    cluster: Path = Path("cluster.yaml")
    """The cluster file (see `retain init`)."""


def agents(chosen: Agents) -> int:
    """Carry out `retain agents`; 1 where W&B cannot be asked."""
    from analysis.records.wandb_api import WandbError
    from launch.study.sweep import SweepError

    if chosen.method != "grid" and not chosen.runs:
        raise SweepError(f"--method {chosen.method} does not end by itself: give the number of trials with --runs")
    sweep, mirror = load(chosen)
    sweep = narrowed(sweep, chosen)
    if chosen.method == "bayes" and (several := [name for name, values in arms_of(sweep).items() if len(values) > 1]):
        raise SweepError(
            f"--method bayes searches one arm, and this sweep has several {' and '.join(several)}: it would draw the "
            "best arm more and more often, and not look for the best point of each. Choose one arm with --scale, "
            "--intermediate and --seed, and repeat the command for each arm."
        )
    plan = checked_plan(sweep, mirror)
    try:
        folder = _registered(chosen, sweep)
    except WandbError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"sweep    {folder.study.address}", flush=True)
    if chosen.on == "slurm":
        print(f"queue    {_submit(chosen, plan, mirror, folder)} agents sent, {chosen.count} in all", flush=True)
        if chosen.broker:
            _broker(folder, chosen.count)
        return 0
    return _here(chosen, plan, mirror, folder)


def arms_of(sweep: Sweep) -> dict[str, tuple[Any, ...]]:
    """What arms are made of."""
    return {name: getattr(sweep, name) for name in ("scales", "intermediates", "seeds")}


def narrowed(sweep: Sweep, chosen: Agents) -> Sweep:
    """The sweep's arms that were asked for.

    Raises:
        SweepError: it has none of them.
    """
    from launch.study.sweep import SweepError

    wanted = {"scales": chosen.scale, "intermediates": chosen.intermediate, "seeds": chosen.seed}
    asked = {name: value for name, value in wanted.items() if value is not None}
    for name, value in asked.items():
        if value not in (there := arms_of(sweep)[name]):
            raise SweepError(f"{value} is not among the sweep's {name}: {', '.join(map(str, there))}")
    return sweep.model_copy(update={name: (value,) for name, value in asked.items()})


def _registered(chosen: Agents, sweep: Sweep) -> AgentsFolder:
    """The folder of this study's W&B sweep, which is created where there is none yet.

    Raises:
        WandbError: W&B refuses it or cannot be asked.
    """
    from analysis.records.wandb_api import connect
    from launch.agents.trials import AgentsFolder, Study
    from launch.agents.wandb import register, sweep_config
    from trainers.stage import digest

    config = sweep_config(sweep, chosen.method, chosen.runs)
    place = {"entity": sweep.tracking.entity, "project": sweep.tracking.project}
    name = f"{sweep.name}-{digest({'config': config, **place, 'broker': chosen.broker})[:8]}"
    folder = AgentsFolder(sweep.store.resolve() / "agents" / name)
    if not (folder.folder / "agents.json").exists():
        entity = sweep.tracking.entity or connect().default_entity
        resolved = {"store": sweep.store.resolve(), "mirror": sweep.mirror.resolve() if sweep.mirror else None}
        folder.write(
            Study(
                sweep=sweep.model_copy(update=resolved),
                entity=entity,
                project=sweep.tracking.project,
                id=register(config, entity, sweep.tracking.project),
                grid=chosen.method == "grid",
                broker=chosen.broker,
            )
        )
    return folder


def _template(chosen: Agents, bundle: Bundle) -> Bundle:
    """All that an agent needs to know but what to train; where it has no network, W&B's client would wait for one."""
    if not chosen.broker:
        return bundle
    return bundle.model_copy(update={"tracking": bundle.tracking.model_copy(update={"mode": "offline"})})


def _here(chosen: Agents, plan: Plan, mirror: Mirror, folder: AgentsFolder) -> int:
    """Agents as processes of this machine; Ctrl-C lets each save, and the same command resumes."""
    from launch.job.bundle import bundle_of

    _template(chosen, bundle_of(plan, mirror, (), plan.sweep.execution)).save(folder.template)
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "launch.agents.agent", str(folder.folder), f"local-{number}"],
            start_new_session=True,
        )
        for number in range(chosen.count)
    ]
    try:
        if chosen.broker:
            _broker(folder, chosen.count)
        ended = [process.wait() for process in processes]
        return next(filter(None, ended), 0)
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()


def _broker(folder: AgentsFolder, count: int) -> None:
    from launch.agents.broker import Broker

    Broker(folder, count).work()


def _submit(chosen: Agents, plan: Plan, mirror: Mirror, folder: AgentsFolder) -> int:
    """Send an array of as many agents as are not yet in the queue; their number."""
    from launch.agents.trials import TEMPLATE
    from launch.estimate.placement import placements
    from launch.job.records import PREFIX
    from launch.submit.send import Sender
    from launch.submit.snapshot import take_snapshot
    from slurm.commands import queue
    from slurm.profile import load_profile

    profile, name = load_profile(chosen.cluster), f"agents-{folder.folder.name}"
    living = sum(job.living and job.name.startswith(f"{PREFIX}{name}-") for job in queue())
    missing = chosen.count - living
    if missing <= 0:
        return 0
    # One W&B sweep serves all scales: a job takes what the largest needs.
    placement = max(placements(plan, profile).values(), key=lambda each: each.ranks)
    sender = Sender(plan, mirror, profile, take_snapshot(plan.sweep.store.resolve()))
    array = sender.folder(name, [])
    job = sender.job(
        array.folder,
        missing,
        "launch.agents.agent",
        str(folder.folder),
        str(array.folder),
        placement=placement,
        minutes=profile.time_limit_min,
        comment=f"retain {plan.sweep.name} agents",
    )
    sender.write(array, "", placement, job.minutes, [()] * missing)
    _template(chosen, sender.bundle((), placement)).save(array.bundle(TEMPLATE))
    sender.send(job)
    return missing
