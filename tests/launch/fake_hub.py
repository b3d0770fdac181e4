"""A hub on loopback: the few endpoints that `huggingface_hub` uses to list and to download, and the ways they fail."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class FakeHub:
    """Repositories by (id, revision); data sets and models alike."""

    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """Bytes after which the next downloads of a path break off."""
    corrupt: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Host, path and headers of everything asked."""
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, repo: str, path: str, content: bytes, revision: str = "main") -> None:
        self.files.setdefault((repo, revision), {})[path] = content

    def commit(self, repo: str, revision: str) -> str:
        listed = sorted(
            (path, hashlib.sha1(content).hexdigest()) for path, content in self.files[repo, revision].items()
        )
        return hashlib.sha1(json.dumps([repo, listed]).encode()).hexdigest()

    def at(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """Files at a branch or a commit."""
        for (name, branch), files in self.files.items():
            if name == repo and revision in (branch, self.commit(repo, branch)):
                return files
        return None

    def asked(self, part: str) -> list[dict[str, str]]:
        """Headers of the requests whose path holds `part`."""
        return [headers for _, path, headers in self.requests if part in path]

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = unquote(path).strip("/").split("/")
        if parts[0] == "api":
            return self._info("/".join(parts[2:4]), "/".join(parts[5:]) or "main")
        if parts[0] == "cdn":
            return self._content("/".join(parts[1:3]), parts[3], "/".join(parts[4:]))
        parts = parts[1:] if parts[0] == "datasets" else parts
        repo, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if file.endswith((".parquet", ".safetensors")):  # as large files are: on another host
            return 302, {"Location": f"http://localhost:{self.port}/cdn/{repo}/{revision}/{file}?Signature=s3cret"}, b""
        return self._content(repo, revision, file)

    def _info(self, repo: str, revision: str) -> tuple[int, dict[str, str], bytes]:
        if repo in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        if not any(name == repo for name, _ in self.files):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        files = self.at(repo, revision)
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        branch = next(name for one, name in self.files if one == repo and self.at(repo, name) is files)
        siblings = [_sibling(path, content) for path, content in files.items()]
        told = {
            "id": repo,
            "sha": self.commit(repo, branch),
            "siblings": siblings,
            "cardData": self.cards.get(repo, {}),
        }
        return 200, {}, json.dumps(told).encode()

    def _content(self, repo: str, revision: str, file: str) -> tuple[int, dict[str, str], bytes]:
        files = self.at(repo, revision) or {}
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        content = files[file]
        return 200, {}, content[::-1] if file in self.corrupt else content


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    lfs = {"lfs": large} if path.endswith((".parquet", ".safetensors")) else {}
    return {"rfilename": path, "size": len(content), "blobId": blob, **lfs}


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub on a free port, in a thread."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(
                (self.headers["Host"], path, {name.lower(): value for name, value in self.headers.items()})
            )
            status, headers, body = hub.answer(path)
            name = Path(path).name
            asked = self.headers.get("Range")
            if status == 200 and asked:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                status, headers = 206, {**headers, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
                body = body[start:]
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if hub.cuts.get(name) and status in (200, 206):
                self.wfile.write(body[: hub.cuts[name].pop(0)])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
