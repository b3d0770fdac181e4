"""Plants each fault in a copy of the checkout and runs the tests named for it there; 1 if one of them stays green."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.planted import CHECKOUT, Fault, faults

WARM = (
    "hypothesis",
    "scipy.stats",
    "polars",
    "transformers.models.xlm_roberta",
    "wandb",
    "datasets",
)
"""Others' packages that most tests need: imported once, and there in each fork."""
TIMEOUT_S = 300
"""Of one test: some faults make it wait for ever."""


def main(words: list[str]) -> int:
    chosen = [one for one in faults() if not words or any(word in f"{one.name} {one.file}" for word in words)]
    began = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"
    for package in WARM:
        importlib.import_module(package)
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        clean, planted = Path(folder, "clean"), Path(folder, "planted")
        copy_checkout(clean)
        print(f"{len(chosen)} faults; first their tests without them", flush=True)
        green = passing({test for fault in chosen for test in fault.tests}, clean)
        print("| fault | file | test | verdict | processor seconds |\n|---|---|---|---|---:|", flush=True)
        caught = sum(row(fault, clean, planted, green) for fault in chosen)
    print(f"\n{caught} of {len(chosen)} faults are caught; {processor_s():.0f} processor seconds, ", end="")
    print(f"{time.monotonic() - began:.0f} seconds in all")
    return 0 if caught == len(chosen) else 1


def copy_checkout(to: Path) -> None:
    """Files that git knows or would take, as they are now."""
    listed = subprocess.run(
        ["git", "-C", str(CHECKOUT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).is_file():  # and not deleted since the last commit
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, to / name)


def passing(tests: set[str], tree: Path) -> set[str]:
    """Those of the tests that pass as the code is; those on a cluster have the machine for themselves."""
    on_cluster = {test for test in tests if test.startswith("tests/cluster/")}
    green: set[str] = set()
    for some in filter(None, (tests - on_cluster, on_cluster)):
        before = processor_s()
        found, _ = run(some, tree)
        green |= found
        print(f"{len(found)} of {len(some)} pass, in {processor_s() - before:.0f} processor seconds", flush=True)
    for test in sorted(tests - green):
        print(f"{test} does not pass", flush=True)
    print()
    return green


def row(fault: Fault, clean: Path, planted: Path, green: set[str]) -> bool:
    """Plant one fault, and print the table's row; whether every test named for it has caught it."""
    before = processor_s()
    shutil.copytree(clean, planted, symlinks=True)
    file = planted / fault.file
    file.write_text(fault.planted(file.read_text(encoding="utf-8")), encoding="utf-8")
    _, red = run(fault.tests, planted)
    shutil.rmtree(planted)
    unproved, uncaught = set(fault.tests) - green, set(fault.tests) - red
    verdict = "**NOT: fails or is skipped without it**" if unproved else "**NOT**" if uncaught else "caught"
    tests = "<br>".join(test.removeprefix("tests/") for test in fault.tests)
    print(f"| {fault.name} | {fault.file} | {tests} | {verdict} | {processor_s() - before:.0f} |", flush=True)
    return not unproved and not uncaught


def run(tests: Iterable[str], tree: Path) -> tuple[set[str], set[str]]:
    """Run tests in a copy, in a fork of this process: which pass (with all their parameters), and which fail.

    A file that cannot be imported has no tests: nothing is caught by it.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(sorted(tests), tree, there))
    child.start()
    there.close()
    try:
        passed, failed = here.recv()
    except EOFError:
        passed, failed = set(), set()
    child.join()
    return passed - failed, failed


class Outcomes:
    """A plugin of pytest: what becomes of each test, parameters left out."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.partition("[")[0]
        if report.failed:
            self.failed.add(test)
        elif report.when == "call" and report.passed:
            self.passed.add(test)


def _run(tests: list[str], tree: Path, answer: Connection) -> None:
    """In the fork, which knows of our own code this file's package alone, and forgets it: all comes from the copy.

    PYTHONPATH stands before what is installed, so that the processes that tests start import the copy, too.
    """
    log = os.open(tree.with_name("log.txt"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
    sys.path[:] = [str(tree), *(path for path in sys.path if path and Path(path) != CHECKOUT)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    outcomes = Outcomes()
    scratch = tree.with_name("tmp")
    pytest.main(["--tb=no", f"--timeout={TIMEOUT_S}", f"--basetemp={scratch}", *tests], plugins=[outcomes])
    answer.send((outcomes.passed, outcomes.failed))


def processor_s() -> float:
    """Of this process and all that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
