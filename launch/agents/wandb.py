"""The W&B side of agents: a sweep is registered once; the real `wandb agent` serves; each trial has one run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Literal

from analysis.records.wandb_api import SERVICE
from launch.agents.trial import AGENT, FOLDER, PARENT
from launch.agents.trials import OBJECTIVE, AgentsFolder
from launch.study.sweep import Sweep
from trainers.stage import Setting

Method = Literal["grid", "random", "bayes"]
OVER = ("FINISHED", "CANCELED", "CANCELLED", "STOPPED", "CRASHED", "FAILED")
"""States of a W&B sweep that serves nothing more."""


def sweep_config(sweep: Sweep, method: Method, runs: int | None) -> dict[str, Any]:
    """A study as W&B's sweep: its arms, and the axes of its search.

    A grid tries the values of `search:`; random and bayes draw between the smallest and the largest.  Its name says
    which scale, intermediate and seed, where it has one: sweeps of single arms stand side by side.
    """
    parameters: dict[str, dict[str, Any]] = {
        "scale": {"values": list(sweep.scales)},
        "intermediate": {"values": list(sweep.intermediates)},
        "seed": {"values": list(sweep.seeds)},
    }
    fixed = [str(axis["values"][0]) for axis in parameters.values() if len(axis["values"]) == 1]
    for axis, values in sweep.search.items():
        parameters[axis] = {"values": list(values)} if method == "grid" else between(values)
    config = {
        "name": " · ".join([sweep.name, *fixed]),
        "method": method,
        "metric": {"name": OBJECTIVE, "goal": "maximize"},
        "parameters": parameters,
        "program": "retain",
        "command": ["${envvar:RETAIN_PYTHON}", "-P", "-m", "launch.agents.trial"],
    }
    return {**config, "run_cap": runs} if runs else config


def between(values: tuple[Setting, ...]) -> dict[str, Any]:
    """The distribution of an axis that is drawn from: what is positive by its order of magnitude."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return {"values": list(values)}
    numbers = [value for value in values if isinstance(value, int | float)]
    span = {"min": min(numbers), "max": max(numbers)}
    if all(isinstance(value, int) for value in numbers):
        return {"distribution": "int_uniform", **span}
    return {"distribution": "log_uniform_values" if span["min"] > 0 else "uniform", **span}


def register(config: dict[str, Any], entity: str | None, project: str) -> str:
    """Create a W&B sweep; its id.

    Raises:
        WandbError: W&B refuses it or cannot be asked.
    """
    import wandb

    from analysis.records.wandb_api import told_in_words

    with told_in_words():
        return wandb.sweep(config, entity=entity, project=project)


def is_over(folder: AgentsFolder, printed: set[str]) -> bool:
    """Whether W&B's sweep serves nothing more.  Where W&B cannot be asked: False, and a line of why.

    Args:
        printed: the lines that were printed before; each is printed once.
    """
    from analysis.records.wandb_api import WandbError, connect, told_in_words

    try:
        with told_in_words():
            return connect().sweep(folder.study.address).state.upper() in OVER
    except WandbError as error:
        if str(error) not in printed:
            print(error, file=sys.stderr, flush=True)
        printed.add(str(error))
        return False


def ask(folder: AgentsFolder, agent: str | None) -> subprocess.Popen[bytes]:
    """Start the real `wandb agent` for one assignment; it starts `launch.agents.trial`."""
    address = folder.study.address
    return _start(folder, agent, ["-m", "wandb", "agent", "--count", "1", address])


def follow(folder: AgentsFolder, run: str) -> subprocess.Popen[bytes]:
    """Start `launch.agents.trial` for an assignment that was taken before: the same W&B run goes on."""
    given = {"WANDB_RUN_ID": run, "WANDB_SWEEP_ID": folder.study.id}
    return _start(folder, None, ["-P", "-m", "launch.agents.trial"], **given)


def _start(folder: AgentsFolder, agent: str | None, words: list[str], **given: str) -> subprocess.Popen[bytes]:
    """In a session of its own: a signal that ends a job's training must not end what reports it."""
    logs = folder.folder / "log"
    logs.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in (AGENT, SERVICE, "WANDB_RUN_ID")}
    environment |= {
        "RETAIN_PYTHON": sys.executable,
        FOLDER: str(folder.folder),
        PARENT: str(os.getpid()),
        "WANDB_ENTITY": folder.study.entity,
        "WANDB_PROJECT": folder.study.project,
        "WANDB_DIR": str(folder.folder),
        "WANDB_ERROR_REPORTING": "false",
        **given,
    }
    if agent:
        environment[AGENT] = agent
    with (logs / f"{(agent or 'broker').replace('/', '-')}.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder.folder,
            start_new_session=True,
        )
