"""`retain report --watch`: the report of a sweep that runs, on this machine's loopback only.

It is written again whenever a stage has ended, and pages that are open follow.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Under any other name a page elsewhere may be asking, through a browser of this machine."""
FOLLOW = """<script>
setInterval(async () => {
  const answer = await fetch("/version").catch(() => null);
  if (answer && answer.ok && (await answer.text()) !== "VERSION") location.reload();
}, 2000);
</script>
"""


class ReportServer(ThreadingHTTPServer):
    """Serves one folder; `/` is its report, which reloads itself when `version` has changed."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        """
        Args:
            port: 0 takes a free one.

        Raises:
            ValueError: the port is taken, or none that this user may have.
        """
        self.folder = folder
        self.version = ""
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ValueError(f"port {port} cannot be used: {error}; --port 0 takes a free one") from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def start(self) -> None:
        """Answer from another thread."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(SimpleHTTPRequestHandler):
    server: ReportServer

    def __init__(self, request: Any, address: Any, server: ReportServer) -> None:
        super().__init__(request, address, server, directory=str(server.folder))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in NAMES:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif path == "/version":
            self._send(self.server.version, "text/plain")
        elif path == "/":
            page = (self.server.folder / "report.html").read_text(encoding="utf-8")
            self._send(page.replace("</body>", FOLLOW.replace("VERSION", self.server.version) + "</body>"), "text/html")
        else:
            super().do_GET()

    def list_directory(self, path: Any) -> None:  # type: ignore[override]
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for what happens to the sweep."""

    def _send(self, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)
