"""What a W&B server remembers of runs, and how GraphQL fields are answered from it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLError

from tests.wandb_server.sweeps import Sweeps

ENTITY = "us"
LONGEST_TAG = 64
LONGEST_NAME = 128
"""W&B: "128 limit exceeded for GroupName"."""
WRITTEN = {
    "displayName": "display_name",
    "groupName": "group",
    "jobType": "job_type",
    "config": "config",
    "tags": "tags",
    "summaryMetrics": "summary",
    "state": "state",
    "sweep": "sweep",
}
"""Fields of `UpsertBucketInput` that are kept; what is not given stays as it was."""


@dataclass
class Run:
    """One run; `config` and `summary` are JSON, as the client sends them."""

    entity: str
    project: str
    name: str
    display_name: str = ""
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    tags: list[str] = field(default_factory=list)
    config: str = "{}"
    summary: str = "{}"
    state: str = "running"
    exit_code: int | None = None
    history: list[str] = field(default_factory=list)
    """Lines of wandb-history.jsonl."""
    events: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    heartbeat_at: str = ""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history without W&B's own columns."""
        return [{name: value for name, value in row.items() if name[0] != "_"} for row in map(json.loads, self.history)]

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration without W&B's own."""
        return {name: one["value"] for name, one in json.loads(self.config).items() if name != "_wandb"}

    def beat(self) -> None:
        self.heartbeat_at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.{time.time_ns() % 10**9:09d}Z"


class Runs(Sweeps):
    """The root object of GraphQL's queries and mutations."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.runs: dict[tuple[str, str, str], Run] = {}
        self.views: dict[str, dict[str, Any]] = {}
        """Reports, by id."""

    # -- queries ------------------------------------------------------------------------------------------

    def viewer(self, _info: Any, **_: Any) -> dict[str, Any]:
        return _user()

    def serverInfo(self, _info: Any) -> dict[str, Any]:
        return {"cliVersionInfo": json.dumps({"max_cli_version": "9.9.9"}), "features": []}

    def entity(self, _info: Any, name: str | None = None) -> dict[str, Any]:
        return _entity(name or ENTITY)

    def organization(self, _info: Any, name: str | None = None) -> None:
        return None

    def project(self, _info: Any, name: str, entityName: str | None = None) -> dict[str, Any] | None:
        entity = _known(entityName)
        if not any((entity, name) == place[:2] for place in (*self.runs, *self.sweeps)):
            return None
        return self._project(entity, name)

    model = project

    def models(self, _info: Any, entityName: str, **_: Any) -> dict[str, Any]:
        names = sorted({place[1] for place in (*self.runs, *self.sweeps) if place[0] == entityName})
        return _page([self._project(entityName, name) for name in names], 50, None)

    # -- mutations ----------------------------------------------------------------------------------------

    def upsertBucket(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:
        _refuse_too_long(input)
        if input.get("id"):
            _, name, project, entity = base64.b64decode(input["id"]).decode().split(":")
        else:
            name, project, entity = input["name"], input["modelName"], _known(input.get("entityName"))
        inserted = (entity, project, name) not in self.runs
        run = self.runs.setdefault((entity, project, name), Run(entity, project, name))
        run.state = "running"
        for given, kept in WRITTEN.items():
            if input.get(given) is not None:
                setattr(run, kept, input[given])
        run.beat()
        return {"bucket": self._run(run), "inserted": inserted}

    def createRunFiles(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:
        place = f"{input['entityName']}/{input['projectName']}/{input['runName']}"
        files = [{"name": name, "uploadUrl": f"{self.url}/storage/{place}/{name}"} for name in input["files"]]
        return {"runID": input["runName"], "uploadHeaders": [], "files": files}

    def markRunFilesUploaded(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"success": True, "files": []}

    def upsertView(self, _info: Any, input: dict[str, Any]) -> dict[str, Any]:
        identity = input.get("id") or _id("View", str(len(self.views)))
        inserted = identity not in self.views
        project = {"id": "p", "name": input["projectName"], "entityName": input["entityName"]}
        given = {name: input.get(name) for name in ("type", "name", "displayName", "description", "spec")}
        self.views[identity] = {"id": identity, **given, "project": project, "updatedAt": "2026-01-01T00:00:00Z"}
        return {"view": self.views[identity], "inserted": inserted}

    # -- the file stream ----------------------------------------------------------------------------------

    def stream(self, run: Run, sent: dict[str, Any]) -> None:
        """One message of `/files/<entity>/<project>/<run>/file_stream`; lines are addressed by their offset."""
        run.beat()
        for name, chunk in (sent.get("files") or {}).items():
            lines, offset = chunk["content"], chunk.get("offset", 0)
            if name == "wandb-history.jsonl":
                # NaN, which the client writes and JSON lacks, is given back as a word.
                run.history[offset:] = [json.dumps(json.loads(line, parse_constant=str)) for line in lines]
            elif name == "wandb-events.jsonl":
                run.events[offset:] = lines
            elif name == "wandb-summary.json":
                run.summary = lines[-1]
        if sent.get("complete"):
            run.exit_code = sent["exitcode"]
            run.state = "finished" if run.exit_code == 0 else "failed"

    # -- what objects show --------------------------------------------------------------------------------

    def _project(self, entity: str, name: str) -> dict[str, Any]:
        def one(_info: Any, name: str = name, **_: Any) -> dict[str, Any] | None:
            run = self.runs.get((entity, project["name"], name))
            return run and self._run(run)

        def several(
            _info: Any, filters: str = "{}", after: str | None = None, first: int = 50, order: str = ""
        ) -> dict[str, Any]:
            found = [run for run in self.runs.values() if (run.entity, run.project) == (entity, project["name"])]
            matching = [self._run(run) for run in found if _matches(run, json.loads(filters))]
            return _page(matching, first, after)

        def views(_info: Any, first: int = 50, after: str | None = None, **_: Any) -> dict[str, Any]:
            here = {"id": "p", "name": project["name"], "entityName": entity}
            return _page([view for view in self.views.values() if view["project"] == here], first, after)

        project: dict[str, Any] = {
            "id": _id("Project", name, entity),
            "internalId": "1",
            "name": name,
            "entityName": entity,
            "createdAt": "2026-01-01T00:00:00Z",
            "isBenchmark": False,
            "user": _user(),
            "readOnly": False,
            "entity": _entity(entity),
            "allViews": views,
            "run": one,
            "bucket": one,
            "runs": several,
            "sweep": lambda _info, sweepName=None, **_: self.show_sweep(self.sweeps.get((entity, name, sweepName))),
            "runCount": lambda info, filters="{}": several(info, filters)["totalCount"],
        }
        return project

    def _run(self, run: Run) -> dict[str, Any]:
        rows = [json.loads(line) for line in run.history]
        names = sorted({name for row in rows for name in row})
        typed = {name: {"typeCounts": [{"type": "number"}], "monotonic": False} for name in names}

        def history(_info: Any, minStep: int = 0, maxStep: int = 10**18, samples: int = 0) -> list[str]:
            chosen = (row for row in rows if minStep <= row["_step"] < maxStep)
            return [json.dumps(row) for row in chosen]

        def sampled(_info: Any, specs: Sequence[str]) -> list[list[dict[str, Any]]]:
            return [_sample(rows, json.loads(spec)) for spec in specs]

        return {
            "sweepName": run.sweep,
            "exitcode": run.exit_code,
            "running": run.state == "running",
            "failed": run.state == "failed",
            "shouldStop": False,
            "id": _id("Run", run.name, run.project, run.entity),
            "projectId": "1",
            "name": run.name,
            "displayName": run.display_name,
            "config": run.config,
            "state": run.state,
            "group": run.group,
            "jobType": run.job_type,
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00Z",
            "heartbeatAt": run.heartbeat_at,
            "summaryMetrics": run.summary,
            "systemMetrics": "{}",
            "historyLineCount": len(rows),
            "eventsLineCount": len(run.events),
            "logLineCount": 0,
            "historyTail": json.dumps(run.history[-1:]),
            "eventsTail": json.dumps(run.events[-1:]),
            "historyKeys": {"sets": [], "keys": typed, "lastStep": rows[-1]["_step"] if rows else -1},
            "user": _user(),
            "tags": run.tags,
            "project": lambda _info: self._project(run.entity, run.project),
            "wandbConfig": lambda _info, keys=(): json.dumps({"t": 1}),
            "stopped": False,
            "history": history,
            "sampledHistory": sampled,
            "parquetHistory": lambda _info, liveKeys=(): {"parquetUrls": [], "liveData": rows},
            "files": lambda _info, names=None, **_: _page(
                [{"id": name, "name": name, "sizeBytes": len(content)} for name, content in run.files.items()], 50, None
            ),
            "fileCount": len(run.files),
        }


def _sample(rows: list[dict[str, Any]], spec: dict[str, Any]) -> list[dict[str, Any]]:
    first, end, names = spec.get("minStep", 0), spec.get("maxStep", 10**18), spec.get("keys")
    chosen = [row for row in rows if first <= row["_step"] < end]
    return [row for row in chosen if all(name in row for name in names)] if names else chosen


def _matches(run: Run, filters: dict[str, Any]) -> bool:
    """Filters in the language of MongoDB, as far as tests need it; others are refused."""
    kept = {"group": run.group, "name": run.name, "state": run.state, "jobType": run.job_type}
    for name, wanted in filters.items():
        if name in ("$and", "$or"):
            found = (all if name == "$and" else any)([_matches(run, part) for part in wanted])
        elif name in kept and isinstance(wanted, str):
            found = kept[name] == wanted
        elif name in kept and set(wanted) == {"$in"}:
            found = kept[name] in wanted["$in"]
        else:
            raise GraphQLError(f"this server knows no filter {name}: {wanted}")
        if not found:
            return False
    return True


def _page(items: Sequence[Any], first: int, after: str | None) -> dict[str, Any]:
    start = int(after) + 1 if after else 0
    shown = list(enumerate(items))[start : start + first]
    last = shown[-1][0] if shown else start
    return {
        "edges": [{"node": item, "cursor": str(place)} for place, item in shown],
        "pageInfo": {"endCursor": str(last), "hasNextPage": last < len(items) - 1},
        "totalCount": len(items),
    }


def _refuse_too_long(input: dict[str, Any]) -> None:
    if long := [tag for tag in input.get("tags") or () if not 1 <= len(tag) <= LONGEST_TAG]:
        raise GraphQLError(f"tags must have 1 to {LONGEST_TAG} characters: {long[0]}")
    for name in ("name", "groupName", "displayName", "modelName"):
        if len(input.get(name) or "") > LONGEST_NAME:
            raise GraphQLError(f"invalid parameters: {LONGEST_NAME} limit exceeded for {name}")


def _known(entity: str | None) -> str:
    if entity not in (None, "", ENTITY):
        raise GraphQLError(f"permission denied: there is no entity {entity}")
    return ENTITY


def _user() -> dict[str, Any]:
    teams = {"edges": [{"node": _entity(ENTITY)}]}
    return {
        "id": _id("User", ENTITY),
        "name": ENTITY,
        "username": ENTITY,
        "email": "us@example.org",
        "admin": False,
        "flags": "{}",
        "entity": ENTITY,
        "teams": teams,
        "apiKeys": {"edges": []},
        "defaultEntity": _entity(ENTITY),
    }


def _entity(name: str) -> dict[str, Any]:
    return {"id": _id("Entity", name), "name": name, "isTeam": False}


def _id(*parts: str) -> str:
    return base64.b64encode(":".join(parts).encode()).decode()
