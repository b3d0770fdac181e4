"""Whoever adds a function of analysis adds its test: each public one is at least named by a test of this folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATISTICAL = (
    *("statistics", "retention", "curves", "decay", "transfer", "differences", "replication", "power", "claims"),
    *("multilinguality", "search", "measurements", "xtreme", "verify", "published", "exports", "resources", "frame"),
    *("findings", "answer"),
)


def test_every_public_function_of_the_statistical_modules_is_named_in_a_test():
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "analysis").glob("*.py"))
    functions = [
        (module, node.name)
        for module in STATISTICAL
        for node in ast.parse((ROOT / "analysis" / f"{module}.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert len(functions) > 50
    assert [name for name in functions if not re.search(rf"\b{name[1]}\b", tests)] == []
