"""Plants each fault in a copy of the checkout and runs the tests named for it there; 1 if one of them stays green."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.planted import CHECKOUT, Fault, faults

OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR) ([^\s\[]+::[^\s\[]+)", re.MULTILINE)
"""A line of pytest's summary; of a parametrised test without its parameters.  Files that cannot be imported have no
test in theirs, and so nothing is caught by them."""
TIMEOUT_S = 300
"""Of one test: some faults make it wait for ever."""


def main(words: list[str]) -> int:
    chosen = [one for one in faults() if not words or any(word in f"{one.name} {one.file}" for word in words)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        clean, planted = Path(folder, "clean"), Path(folder, "planted")
        copy_checkout(clean)
        print(f"{len(chosen)} faults; first their tests without them", flush=True)
        green, red, seconds = run({test for fault in chosen for test in fault.tests}, clean)
        print(f"{len(green)} tests pass, {len(red)} fail, {seconds:.0f} processor seconds\n", flush=True)
        print("| fault | file | test | verdict | processor seconds |\n|---|---|---|---|---:|", flush=True)
        caught = sum(row(fault, clean, planted, green) for fault in chosen)
    print(f"\n{caught} of {len(chosen)} faults are caught; {processor_s():.0f} processor seconds, ", end="")
    print(f"{time.monotonic() - began:.0f} seconds in all")
    return 0 if caught == len(chosen) else 1


def row(fault: Fault, clean: Path, planted: Path, green: set[str]) -> bool:
    """Plant one fault, and print the table's row; whether every test named for it has caught it."""
    shutil.copytree(clean, planted, symlinks=True)
    file = planted / fault.file
    file.write_text(fault.planted(file.read_text(encoding="utf-8")), encoding="utf-8")
    _, red, seconds = run(fault.tests, planted)
    shutil.rmtree(planted)
    unproved, uncaught = set(fault.tests) - green, set(fault.tests) - red
    verdict = "**NOT: fails or is skipped without it**" if unproved else "**NOT**" if uncaught else "caught"
    tests = "<br>".join(test.removeprefix("tests/") for test in fault.tests)
    print(f"| {fault.name} | {fault.file} | {tests} | {verdict} | {seconds:.0f} |", flush=True)
    return not unproved and not uncaught


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


def run(tests: Iterable[str], tree: Path) -> tuple[set[str], set[str], float]:
    """Run tests in a copy: which pass (with all their parameters), which fail, and the processor seconds it took.

    PYTHONPATH comes before what is installed: processes that tests start import the copy, too.
    """
    before = processor_s()
    scratch = tree.with_name("tmp")
    command = [sys.executable, "-m", "pytest", "-rapE", "--tb=no", f"--timeout={TIMEOUT_S}", f"--basetemp={scratch}"]
    path = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run([*command, *sorted(tests)], cwd=tree, env=environment, capture_output=True, text=True)
    found = {outcome: set[str]() for outcome in ("PASSED", "FAILED", "ERROR")}
    for outcome, test in OUTCOME.findall(ended.stdout):
        found[outcome].add(test)
    red = found["FAILED"] | found["ERROR"]
    if ended.returncode > 1:  # something else than a failing test
        print(ended.stdout[-2000:], ended.stderr[-2000:], file=sys.stderr)
    return found["PASSED"] - red, red, processor_s() - before


def processor_s() -> float:
    """Of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
