"""How the server hands out a sweep: a grid in order, random draws, or draws about the best run so far ("bayes").

As W&B does, an assignment is given once: what becomes of an agent that was killed is not asked.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from graphql import GraphQLError

METHODS = ("grid", "random", "bayes")
EXPLORING = 3
"""Draws before a Bayesian sweep looks at results."""


@dataclass
class Sweep:
    """One sweep, and what it has served."""

    entity: str
    project: str
    name: str
    config: str = ""
    state: str = "PENDING"
    served: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Assignments by run."""
    asked_with: list[int] = field(default_factory=list)
    """For each draw of a Bayesian sweep, the number of objectives that were known."""

    @property
    def settings(self) -> dict[str, Any]:
        return yaml.safe_load(self.config)


class Sweeps:
    """The part of the root object that is about sweeps."""

    runs: dict[tuple[str, str, str], Any]

    def __init__(self) -> None:
        self.sweeps: dict[tuple[str, str, str], Sweep] = {}
        self._agents: list[Sweep] = []
        self._random = random.Random(0)

    def upsertSweep(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:
        if input.get("id"):
            sweep = next(one for one in self.sweeps.values() if one.name == input["id"])
        else:
            place = (input.get("entityName") or "us", input["projectName"], f"sweep{len(self.sweeps)}")
            sweep = self.sweeps[place] = Sweep(*place)
        if input.get("config"):
            _refuse_unsound(yaml.safe_load(input["config"]))
            sweep.config = input["config"]
        sweep.state = input.get("state") or sweep.state
        return {"sweep": self.show_sweep(sweep), "configValidationWarnings": []}

    def createAgent(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:
        place = (input.get("entityName") or "us", input.get("projectName"), input["sweep"])
        if place not in self.sweeps:
            raise GraphQLError(f"no sweep {place}")
        self._agents.append(self.sweeps[place])
        return {"agent": {"id": str(len(self._agents) - 1)}}

    def agentHeartbeat(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:
        sweep, running = self._agents[int(input["id"])], json.loads(input.get("runState") or "{}")
        commands = [] if running else [self._next(sweep)]
        return {"agent": {"id": input["id"]}, "commands": json.dumps(commands)}

    def _next(self, sweep: Sweep) -> dict[str, Any]:
        assignment = None if sweep.state == "FINISHED" else next(self._draws(sweep), None)
        if assignment is None:
            sweep.state = "FINISHED"
            return {"type": "exit"}
        sweep.state = "RUNNING"
        run = f"{sweep.name}run{len(sweep.served)}"
        sweep.served[run] = assignment
        args = {name: {"value": value} for name, value in assignment.items()}
        return {"type": "run", "run_id": run, "program": sweep.settings.get("program"), "args": args}

    def _draws(self, sweep: Sweep) -> Iterator[dict[str, Any]]:
        settings = sweep.settings
        parameters = settings["parameters"]
        if settings["method"] == "grid":
            grid = itertools.product(*(parameter["values"] for parameter in parameters.values()))
            yield from (
                dict(zip(parameters, values, strict=True)) for values in itertools.islice(grid, len(sweep.served), None)
            )
        elif len(sweep.served) < settings.get("run_cap", math.inf):
            best = self._best(sweep) if settings["method"] == "bayes" else None
            yield {name: self._draw(parameter, (best or {}).get(name)) for name, parameter in parameters.items()}

    def _best(self, sweep: Sweep) -> dict[str, Any] | None:
        metric = sweep.settings["metric"]["name"]
        known: list[tuple[float, dict[str, Any]]] = []
        for run, assignment in sweep.served.items():
            shown = self.runs.get((sweep.entity, sweep.project, run))
            value = json.loads(shown.summary).get(metric) if shown else None
            if shown and shown.state == "finished" and value is not None:
                known.append((value, assignment))
        sweep.asked_with.append(len(known))
        return max(known, key=lambda one: one[0])[1] if len(known) >= EXPLORING else None

    def _draw(self, parameter: dict[str, Any], near: Any) -> Any:
        if "values" in parameter:
            return self._random.choice(parameter["values"]) if near is None else near
        low, high = parameter["min"], parameter["max"]
        if parameter["distribution"] == "int_uniform":
            return self._random.randint(low, high)
        if parameter["distribution"] == "log_uniform_values":
            low, high = math.log(low), math.log(high)
            drawn = self._random.uniform(low, high) if near is None else math.log(near) + self._random.gauss(0, 0.1)
            return math.exp(min(high, max(low, drawn)))
        return self._random.uniform(low, high)

    def show_sweep(self, sweep: Sweep | None) -> dict[str, Any] | None:
        if sweep is None:
            return None
        runs = [run for run in self.runs.values() if run.sweep == sweep.name]
        return {
            "id": sweep.name,
            "name": sweep.name,
            "method": sweep.settings["method"],
            "state": sweep.state,
            "config": sweep.config,
            "createdAt": "2026-01-01T00:00:00Z",
            "runCount": len(runs),
            "project": {"id": "p", "name": sweep.project, "entityName": sweep.entity},
            "runs": lambda _info, **_: {
                "edges": [{"node": self._run(run)} for run in runs],  # type: ignore[attr-defined]
                "pageInfo": {"hasNextPage": False},
            },
        }


def _refuse_unsound(config: dict[str, Any]) -> None:
    """What W&B would not accept."""
    if config.get("method") not in METHODS:
        raise GraphQLError(f"Invalid sweep config: method {config.get('method')!r}")
    if config["method"] == "bayes" and "metric" not in config:
        raise GraphQLError("Invalid sweep config: a bayes search needs a metric")
    for name, parameter in config.get("parameters", {}).items():
        if "values" not in parameter and not {"min", "max"} <= set(parameter):
            raise GraphQLError(f"Invalid sweep config: parameter {name} has neither values nor min and max")
        if config["method"] == "grid" and "values" not in parameter:
            raise GraphQLError(f"Invalid sweep config: a grid needs the values of {name}")
