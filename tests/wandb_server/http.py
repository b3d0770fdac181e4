"""The server's wire: who may ask, what is answered, and how it is kept from answering."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, build_schema, execute_sync, parse, validate

from tests.wandb_server.runs import ENTITY, Run, Runs

SCHEMA = build_schema(Path(__file__).with_name("schema.graphql").read_text(encoding="utf-8"))
Answer = tuple[int, Any]


class WandbServer:
    """The state of a server, and the switches of its faults."""

    entity = ENTITY
    key = "a1" * 20

    def __init__(self, url: str) -> None:
        self.url = url
        self.state = Runs(url)
        self.asked: Counter[str] = Counter()
        """How often each operation came, by name; also `file_stream` and `file`."""
        self.refused: list[str] = []
        """What the schema, or W&B's own limits, did not allow."""
        self.latency_s = 0.0
        self.errors: list[int] = []
        """Statuses of the next answers (429, 500, …), one for each request."""
        self.status: int | None = None
        """The status of every answer, while it is set."""
        self.awake = threading.Event()
        """Set it to end waits of `latency_s`."""
        self._one_at_a_time = threading.RLock()

    @property
    def runs(self) -> list[Run]:
        return list(self.state.runs.values())

    def runs_of_kind(self, job_type: str) -> list[Run]:
        return [run for run in self.runs if run.job_type == job_type]

    def run(self, name: str, project: str = "retain") -> Run:
        return self.state.runs[ENTITY, project, name]

    def heal(self) -> None:
        """End all faults; those who wait are answered now."""
        self.latency_s, self.status = 0.0, None
        self.errors.clear()
        self.awake.set()

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        if self.latency_s:
            self.awake.wait(self.latency_s)
        with self._one_at_a_time:
            if status := self.errors.pop(0) if self.errors else self.status:
                self.asked[f"error {status}"] += 1
                return status, {"errors": [{"message": f"this server was told to answer {status}"}]}
            where = path.strip("/").split("/")
            if where[0] == "storage":  # as in the cloud, upload addresses are their own permission
                self.asked["file"] += 1
                self.state.runs[where[1], where[2], where[3]].files["/".join(where[4:])] = body
                return 200, {}
            if authorization != "Basic " + base64.b64encode(f"api:{self.key}".encode()).decode():
                self.asked["wrong key"] += 1
                return 401, {"errors": [{"message": "invalid API key"}]}
            if where == ["graphql"]:
                return self._graphql(json.loads(body))
            if where[0] == "files" and where[-1] == "file_stream":
                return self._file_stream((where[1], where[2], where[3]), json.loads(body))
            self.refused.append(f"{method} {path}")
            return 404, {"error": f"nothing at {path}"}

    def _graphql(self, asked: dict[str, Any]) -> Answer:
        document = parse(asked["query"])
        names = [node.name.value for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        self.asked.update(names)
        errors: list[GraphQLError] = validate(SCHEMA, document)
        if errors:
            self.refused += [f"{names}: {error.message}" for error in errors]
            return 400, {"errors": [{"message": error.message} for error in errors]}
        done = execute_sync(SCHEMA, document, self.state, variable_values=asked.get("variables") or {})
        self.refused += [f"{names}: {error.message}" for error in done.errors or ()]
        if done.errors:
            return 400, {"data": done.data, "errors": [{"message": error.message} for error in done.errors]}
        return 200, {"data": done.data}

    def _file_stream(self, place: tuple[str, str, str], sent: dict[str, Any]) -> Answer:
        self.asked["file_stream"] += 1
        if place not in self.state.runs:
            self.refused.append(f"file_stream of {place}")
            return 404, {"error": "no such run"}
        self.state.stream(self.state.runs[place], sent)
        return 200, {"limits": {}}


@contextmanager
def serving() -> Iterator[WandbServer]:
    """A server on a free port, in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, told = server.answer(self.command, self.path, self.headers.get("Authorization", ""), self._body())
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_GET = do_POST

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                body = b"".join(parts)
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that has gone away is none of ours."""

    listener = Quiet(("127.0.0.1", 0), Handler)
    server = WandbServer(f"http://127.0.0.1:{listener.server_port}")
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.heal()
        listener.shutdown()
        listener.server_close()
