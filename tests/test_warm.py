"""The warm Python does what the real one does, but for taking long to start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests import warm

TELL = """
import json, os, signal, sys
print(json.dumps({
    "words": sys.argv, "path": sys.path[0], "name": __name__, "folder": os.getcwd(), "umask": os.umask(0),
    "environment": dict(os.environ), "first": open(0).read(),
    "deaf": signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "cores": sorted(os.sched_getaffinity(0)),
    "files": sorted(map(int, os.listdir("/proc/self/fd")))[:4],
}))
print("told", file=sys.stderr)
"""


def both(*words: str, **settings) -> list[subprocess.CompletedProcess[str]]:
    """What the warm and the real Python made of the same words."""
    settings = {"input": "what is read\n", **settings}
    return [
        subprocess.run([python, *words], capture_output=True, text=True, timeout=480, **settings)
        for python in (sys.executable, warm.REAL)
    ]


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "tell.py"
    path.write_text(TELL)
    return path


@pytest.mark.parametrize("way", ["-c", "-m", "script", "-P -m"])
def test_a_program_finds_what_it_would_have_found(way, script, tmp_path):
    words = {"-c": ["-c", TELL], "-m": ["-m", "tell"], "script": [str(script)], "-P -m": ["-P", "-u", "-m", "tell"]}
    environment = {**os.environ, "A": "1"}
    found, expected = both(*words[way], "a word", "--b", cwd=tmp_path, env=environment, umask=0o27)
    assert (found.returncode, found.stderr != "") == (expected.returncode, expected.stderr != "")
    if way == "-P -m":
        assert "No module named tell" in found.stderr
        return
    ours, theirs = (json.loads(done.stdout) for done in (found, expected))
    for told in (ours, theirs):
        assert told["words"][1:] == ["a word", "--b"]
        told["environment"].pop("LC_CTYPE", None)  # Python's own, where no language is set
    assert ours == theirs


@pytest.mark.parametrize(
    "code", ["pass", "import sys; sys.exit(3)", "import sys; sys.exit('because')", "1 / 0", "import os; os.abort()"]
)
def test_it_ends_as_it_would_have_ended(code):
    found, expected = both("-c", code)
    assert found.returncode == expected.returncode
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_what_is_done_at_exit_is_done_and_threads_are_waited_for():
    code = (
        "import atexit, threading, time\n"
        "atexit.register(print, 'last')\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()"
    )
    assert [done.stdout for done in both("-c", code)] == ["thread\nlast\n"] * 2


@pytest.fixture
def asleep():
    """A warm process that tells who does its work, then waits; it says goodbye where it is let."""
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 7), (signal.SIGUSR1, -signal.SIGUSR1), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_reaches_whoever_does_the_work(asleep, number, status):
    process, worker = asleep
    process.send_signal(number)
    assert process.wait(60) == status
    assert not worker.is_running()


def test_whoever_does_the_work_does_not_outlive_the_process(asleep):
    process, worker = asleep
    assert set(warm.family(process.pid)) == {process.pid, worker.pid}
    process.kill()
    process.wait(60)
    deadline = time.monotonic() + 60
    while worker.is_running():
        assert time.monotonic() < deadline


def test_a_killed_worker_is_a_killed_process(asleep):
    process, worker = asleep
    worker.kill()
    assert process.wait(60) == -signal.SIGKILL


def test_what_it_starts_is_warm_as_well_and_of_its_family():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert len(warm.family(process.pid)) == 4  # two callers, two workers
    process.communicate(b"\n")


@pytest.mark.parametrize(
    "changes", [{"HF_ENDPOINT": "http://localhost"}, {"PYTHONHASHSEED": "0"}, {"PYTHONPATH": "/nowhere"}]
)
def test_what_is_read_at_import_is_read_by_a_real_python(changes):
    code = "import os, sys; print(sys.executable, 'torch' in sys.modules)"
    cold = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **changes}
    )
    assert cold.stdout == f"{warm.REAL} False\n"


@pytest.mark.usefixtures("cold")
def test_a_test_can_ask_for_a_fresh_interpreter():
    assert sys.executable == warm.REAL
