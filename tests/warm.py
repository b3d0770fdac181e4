"""A Python that starts at once: what tests start through it is forked from a process that has imported everything.

    make(folder)                                 # conftest.py does it; `sys.executable` of the tests is folder/python
    subprocess.run([sys.executable, "-m", "launch.cli", "run", "sweep.yaml"])

The process that is started is the *caller*: it hands its words, environment and open files to the *server*, which the
first caller starts. The server forks a *keeper* for each caller, and that the *worker*, which does the work where the
caller is: in its folder and its namespaces. The keeper passes signals on, kills the worker when the caller is gone, and
the caller ends as the worker ended. Only the process's number, and its parent, are others than with a real Python.

What must be fresh is started by the real one (the fixture `cold`), and so is what the server cannot stand for: see
`_is_cold`. Callers import this file without site-packages, and so little else.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REAL = sys.executable
"""The interpreter of the tests, which this module is imported by before they replace it."""
CHECKOUT = str(Path(__file__).parents[1])
MODULES = (
    *(
        "torch",
        "trainers.training.sharded",
        "scipy.stats",
        "sklearn.metrics",
        "pyarrow.parquet",
    ),
    *("transformers.models.xlm_roberta.modeling_xlm_roberta", "transformers.models.auto.modeling_auto"),
    *("transformers.models.xlm_roberta_xl.modeling_xlm_roberta_xl", "transformers.models.auto.tokenization_auto"),
    *("transformers.trainer", "wandb.cli.cli", "submitit"),
    *(
        "trainers.run",
        "launch.cli",
        "launch.job.rank",
        "launch.agents.agent",
        "launch.agents.trial",
        "analysis.report.report",
    ),
)
"""What the server imports, with all that they import."""
READ_AT_IMPORT = ("PYTHON", "HF_", "TRANSFORMERS_", "LD_", "LC_", "LANG")
"""Variables that begin so are read while modules are imported, and tests may set them."""
HARMLESS = {"jemalloc_bg_thd", "polars-ooc-clea"}
"""Threads that hold no lock when a process is forked from the server."""
NAMESPACES = ("pid", "net", "uts", "ipc", "mnt")
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def make(folder: Path) -> None:
    """Write the program; its server lives no longer than the tests' first process, whoever starts it."""
    (folder / "environment").write_bytes(marshal.dumps(_read_at_import(dict(os.environ))))
    program = folder / "python"
    program.write_text(
        f"#!{REAL} -IS\n"
        f"import sys\nsys.path.insert(0, {CHECKOUT + '/tests'!r})\n"
        f"import warm\nwarm.call({str(folder)!r}, {REAL!r}, {owner()})\n"
    )
    program.chmod(0o755)


def owner() -> int:
    """The number of the tests' first process."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


# -- the caller -----------------------------------------------------------------------------------------------


def call(folder: str, real: str, owner: int) -> None:
    """Have a worker do what `sys.argv` says, and end as it ends."""
    words, environment = sys.argv[1:], dict(os.environ)
    if _is_cold(words, environment, folder):
        os.execv(real, [real, *words])
    hand_over(folder, words, real, owner, os.path.join(folder, "python"))


def hand_over(folder: str, words: list[str], real: str, owner: int, program: str) -> None:
    """Have a worker, whose `sys.executable` is `program`, do what words say, and end as it ends."""
    umask = os.umask(0)
    os.umask(umask)
    ignored = [int(number) for number in FORWARDED if signal.getsignal(number) == signal.SIG_IGN]
    files = [int(name) for name in os.listdir("/proc/self/fd")]
    files = [number for number in files if os.path.exists(f"/proc/self/fd/{number}")]  # not what listed them
    with _connected(folder, real, owner) as connection:
        request = (words, dict(os.environ), os.getcwd(), umask, ignored, files, program)
        socket.send_fds(connection, [marshal.dumps(request)], files)
        for number in set(FORWARDED) - set(ignored):
            signal.signal(number, lambda number, _: connection.send(bytes([number])))
        status = connection.recv(8)
    if not status:
        sys.exit(f"The warm Python's server has gone; {folder}/log may say why.")
    code = os.waitstatus_to_exitcode(int.from_bytes(status, "little"))
    if code < 0:
        if -code in FORWARDED:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_cold(words: list[str], environment: dict[str, str], folder: str) -> bool:
    """Whether the real Python is needed: for another's user, for switches that the server cannot obey, where what
    modules read while they are imported is not what the server read, where a process's number is its name, and where
    there is a GPU, which forked processes may not be able to use."""
    while words and words[0] in ("-P", "-u", "-B"):
        words = words[1:]
    if not words or (words[0].startswith("-") and words[0] not in ("-m", "-c")):
        return True
    if words[:2] == ["-m", "submitit.local._local"] or os.path.exists("/dev/nvidiactl"):
        return True
    if os.getuid() != os.stat(folder).st_uid:
        return True
    with open(os.path.join(folder, "environment"), "rb") as file:
        return _read_at_import(environment) != marshal.load(file)


def _read_at_import(environment: dict[str, str]) -> dict[str, str]:
    """But for what the worker sees to."""
    ours = {"PYTHONUNBUFFERED"}
    if os.path.abspath(environment.get("PYTHONPATH", "/")) == CHECKOUT:
        ours.add("PYTHONPATH")
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT) and name not in ours}


def _connected(folder: str, real: str, owner: int) -> socket.socket:
    """A connection to the server, which is started where there is none."""
    import fcntl

    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with _address(folder) as address:
            try:
                connection.connect(address)
            except (FileNotFoundError, ConnectionRefusedError):
                _start(folder, real, owner)
                connection.connect(address)
        return connection


@contextmanager
def _address(folder: str) -> Iterator[str]:
    """Of the server's socket; short, however long the folder's name."""
    file = os.open(folder, os.O_PATH)
    try:
        yield f"/proc/self/fd/{file}/socket"
    finally:
        os.close(file)


def _start(folder: str, real: str, owner: int) -> None:
    """Return as soon as the server can be connected to; it answers when it has imported everything."""
    import subprocess

    neutral = {name: value for name, value in os.environ.items() if not name.startswith(READ_AT_IMPORT)}
    with open(os.path.join(folder, "environment"), "rb") as file:
        neutral |= marshal.load(file) | {"OMP_NUM_THREADS": "1"}
    with open(os.path.join(folder, "log"), "ab") as log:
        server = subprocess.Popen(
            [real, __file__, folder, str(owner)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=neutral,
            start_new_session=True,
        )
    assert server.stdout is not None
    server.stdout.readline()


# -- the server -----------------------------------------------------------------------------------------------


def serve(folder: str, owner: int) -> None:
    """Fork until the owner has ended. Returns in workers only, what each has to do already done."""
    import gc
    import importlib
    import select

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _address(folder) as address:
        listener.bind(address)
    listener.listen(128)
    print("listening", flush=True)
    os.dup2(2, 1)
    sys.path[0] = CHECKOUT
    for name in MODULES:
        importlib.import_module(name)
    del sys.path[0]
    threads = {Path(f"/proc/self/task/{number}/comm").read_text().strip() for number in os.listdir("/proc/self/task")}
    others = threads - {Path("/proc/self/comm").read_text().strip()} - HARMLESS
    assert not others, f"a process with threads cannot be forked from: {others}"
    gc.collect()
    gc.freeze()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(ending := os.pidfd_open(owner), select.POLLIN)
    while True:
        ready = {file for file, _ in poll.poll(1000)}
        _reap_keepers()
        if ending in ready:
            os._exit(0)
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                os.close(ending)
                return _keep(connection)
            connection.close()


def _reap_keepers() -> None:
    """And so count what their workers used as the server's own."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _keep(connection: socket.socket) -> None:
    """Fork the worker and see to it; returns in the worker only."""
    import select
    import struct

    os.setsid()
    message, files, _, _ = socket.recv_fds(connection, 1 << 20, 250)
    if not message:
        os._exit(1)
    words, environment, folder, umask, ignored, numbers, program = marshal.loads(message)
    (caller,) = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4))
    _share_limits(caller)
    name = os.open("/proc/self/comm", os.O_WRONLY)  # /proc may soon be another's, and this process not be in it
    _enter_namespaces(caller)
    worker = os.fork()
    if worker == 0:
        connection.close()
        os.close(name)
        os.chdir(folder)
        os.umask(umask)
        for number in FORWARDED:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, signal.SIG_IGN if number in ignored else usual)
        _move(files, numbers)
        os.environ.clear()
        os.environ.update(environment)
        return _end_early(_do, words, program)
    os.write(name, f"for {caller}".encode())  # `family` reads it
    os.close(name)
    for file in files:
        os.close(file)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(ended := os.pidfd_open(worker), select.POLLIN)
    while True:
        ready = {file for file, _ in poll.poll()}
        if ended in ready:
            _, status = os.waitpid(worker, 0)
            try:
                connection.send(status.to_bytes(8, "little"))
            finally:
                os._exit(0)
        try:
            number = connection.recv(1)
        except ConnectionResetError:
            number = b""
        if not number:
            poll.unregister(connection)
        os.kill(worker, number[0] if number else signal.SIGKILL)


def _share_limits(caller: int) -> None:
    """Those of the caller, and its cores."""
    import resource

    try:
        for limit in ("NOFILE", "NPROC", "CORE", "FSIZE", "AS", "DATA", "STACK", "MEMLOCK"):
            which = getattr(resource, f"RLIMIT_{limit}")
            resource.setrlimit(which, resource.prlimit(caller, which))
        os.sched_setaffinity(0, os.sched_getaffinity(caller))
    except ProcessLookupError:
        os._exit(1)  # it was killed before it began


def _enter_namespaces(caller: int) -> None:
    """Those of the caller; of process numbers, for the worker and not for its keeper."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    theirs = [f"/proc/{caller}/ns/{kind}" for kind in NAMESPACES if not _shared(kind, caller)]
    for file in [os.open(path, os.O_RDONLY) for path in theirs]:
        if libc.setns(file, 0):
            raise OSError(ctypes.get_errno(), f"The namespaces of process {caller} cannot be entered.")
        os.close(file)


def _shared(kind: str, caller: int) -> bool:
    return os.stat(f"/proc/{caller}/ns/{kind}").st_ino == os.stat(f"/proc/self/ns/{kind}").st_ino


def _move(files: list[int], numbers: list[int]) -> None:
    """Give open files the numbers that they had in the caller."""
    import fcntl

    away = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 1000) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(away, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


# -- the worker -----------------------------------------------------------------------------------------------


def _end_early(work: Callable[..., None], *given: Any) -> None:
    """Do the work and end as the real Python does, but for taking down all that was imported, which is most of what a
    short command would cost."""
    import atexit
    import threading

    code = 0
    try:
        work(*given)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise  # a message, which Python shows
        code = (ended.code or 0) & 0xFF
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _do(words: list[str], program: str) -> None:
    """What the real Python does with these words."""
    import multiprocessing
    import random
    import runpy
    import tempfile
    import types

    random.seed()
    tempfile.tempdir = None  # $TMPDIR may be another
    sys.orig_argv = [program, *words]
    sys.executable = program
    multiprocessing.set_executable(program)
    switches = set()
    while words[0] in ("-P", "-u", "-B"):
        switches.add(words.pop(0))
    unbuffered = "-u" in switches or "PYTHONUNBUFFERED" in os.environ
    for stream in (sys.stdout, sys.stderr):
        at_once = unbuffered or stream is sys.stderr or stream.isatty()
        stream.reconfigure(line_buffering=at_once, write_through=unbuffered)  # type: ignore[union-attr]
    if "PYTHONPATH" in os.environ:
        sys.path.insert(0, CHECKOUT)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if words[0] == "-m":
        name, sys.argv = words[1], ["-m", *words[2:]]
        _look_first_in(os.getcwd(), switches)
        sys.modules.pop(name, None)
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        _look_first_in("", switches)
        exec(compile(words[1], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = words
        _look_first_in(os.path.dirname(os.path.realpath(words[0])), switches)
        main.__file__ = words[0]
        exec(compile(Path(words[0]).read_bytes(), words[0], "exec"), main.__dict__)


def _look_first_in(folder: str, switches: set[str]) -> None:
    if "-P" not in switches:
        sys.path.insert(0, folder)


# -- whoever looks for processes ------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process, the workers that do its work, and all that they have started, in turn."""
    import psutil

    keepers = {process.name(): process for process in psutil.process_iter()}
    found = [pid]
    for one in found:
        children = psutil.Process(one).children()
        if f"for {one}" in keepers:
            children += keepers[f"for {one}"].children()
        found += [child.pid for child in children]
    return found


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
