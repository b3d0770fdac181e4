"""docs/benchmark.md names no test that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "benchmark.md"
MOST_WITHOUT_A_TEST = 2
"""What is told and not held: which checkpoint counts, and the hub's rows."""


def rows() -> list[list[str]]:
    table = PAGE.read_text(encoding="utf-8").split("## Traps")[1]
    lines = [line.strip("| ") for line in table.splitlines() if line.startswith("| ")][1:]
    return [cells for line in lines if len(cells := line.split(" | ")) == 3]


def test_every_trap_names_tests_that_exist():
    found = rows()
    assert len(found) > 50
    without = [trap for trap, _, tests in found if tests == "–"]
    assert len(without) <= MOST_WITHOUT_A_TEST, without
    missing = []
    for trap, _, tests in found:
        for named in re.findall(r"`([^`]+)`", tests):
            file, _, test = named.partition("::")
            places = [folder / file for folder in (TESTS / "trainers", TESTS) if (folder / file).is_file()]
            begin = rf"^def {re.escape(test.removesuffix('…'))}" + ("" if test.endswith("…") else r"\(")
            if not (test and places and re.search(begin, places[0].read_text(encoding="utf-8"), re.MULTILINE)):
                missing.append(f"{trap}: {named}")
    assert missing == []
