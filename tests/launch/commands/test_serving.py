"""The report of a running sweep: on loopback only, written again when a stage ends, and open pages follow."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from launch.commands import results
from launch.commands.results import Report
from launch.commands.serving import ReportServer


@pytest.fixture
def server(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("<html><body>the page</body></html>")
    (tmp_path / "out" / "tables").mkdir()
    (tmp_path / "out" / "tables" / "cells.csv").write_text("a,b")
    (tmp_path / "secret").write_text("nobody's business")
    with ReportServer(tmp_path / "out") as one:
        one.version = "abc"
        one.start()
        yield one
        one.shutdown()


def get(server: ReportServer, path: str, host: str = "localhost") -> tuple[int, str]:
    connection = http.client.HTTPConnection(*server.server_address)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_follows_its_version(server):
    status, page = get(server, "/")
    assert status == 200
    assert "the page" in page
    assert 'fetch("/version")' in page
    assert '!== "abc"' in page
    assert get(server, "/version") == (200, "abc")
    server.version = "def"
    assert get(server, "/version") == (200, "def")


def test_nothing_but_the_report_is_served(server):
    assert get(server, "/tables/cells.csv") == (200, "a,b")
    for path in ("/../secret", "/%2e%2e/secret", "/tables/", "/tables/../../secret", "/no", "//etc/passwd"):
        assert get(server, path)[0] == 404, path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "10.0.0.1"])
def test_a_page_elsewhere_cannot_ask_under_its_own_name(server, host):
    assert get(server, "/", host)[0] == 403
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_used_is_told(tmp_path, server, port):
    for wrong in (port, server.server_port):
        with pytest.raises(ValueError, match=f"port {wrong} cannot be used"):
            ReportServer(tmp_path, wrong)


def test_what_cannot_be_watched_is_refused(sweep_file):
    for wrong in ({"reproduce": "abc"}, {"source": "wandb"}):
        with pytest.raises(ValueError, match="--watch follows the store"):
            results.report(Report(sweep_file(), watch=True, **wrong))


@pytest.mark.slow
def test_a_report_is_written_again_when_a_stage_has_ended(ran, tmp_path):
    mine = ran.copied(tmp_path)
    stage = mine.stages[0]
    result = mine.store.entry(stage.key).folder / "result.json"
    kept = result.rename(tmp_path / "kept.json")
    command = [sys.executable, "-m", "launch.cli", "report", str(mine.file), "--store", str(mine.store.root), "--watch"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(watching.stdout), daemon=True)
    reader.start()
    try:
        wait_for(lambda: any("serving" in line for line in said))
        port = int(re.search(r":(\d+)/", " ".join(said)).group(1))
        before = ask(port, "/version")
        assert ask(port, "/").count("fingerprint") == 1
        kept.rename(result)
        wait_for(lambda: ask(port, "/version") != before)
        assert f"--reproduce {ask(port, '/version')}" in ask(port, "/")
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
    reader.join(10)
    assert [line.split("  ")[-1].strip() for line in said if line.startswith("written")] == [
        f"{len(mine.stages) - 1} stages have ended",
        f"{len(mine.stages)} stages have ended",
    ]


def ask(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def wait_for(condition, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
