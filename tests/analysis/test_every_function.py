"""Whoever adds a function of analysis adds its tests: a known answer, and of what computes a property, too.

A test is one that calls the function itself, as `module.name` or by an imported name: a word that reads alike is none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Function = tuple[str, str]
"""Module below `analysis`, name."""

PRESENTED = {
    "reading": "opens a store or W&B and hands on what other modules make of it",
    "pieces": "spreads what other modules compute over processes",
    "report.report": "writes the files",
    "report.tables": "rows of numbers that other modules computed, written by `table`",
    "report.retention_tables": "the same",
    **{
        f"report.figures.{name}": "data and layers of a figure: tests read them, and a browser draws them"
        for name in ("gains", "retention", "retrieval", "search", "drawing")
    },
}
"""Modules whose functions have known answers and no law of their own, and why."""
SEEN_WHOLE = {
    "report.figures.vegalite": "what figures are made of: a browser draws each",
    "report.figures.catalogue": "all figures: a browser draws each",
    "report.page": "the parts of the page: tests read the whole page",
    "records.wandb_api": "asks a server: tests of launch/ gather from one",
}
"""Modules whose functions need not be called by a test, and why.  All others compute."""
WITHIN = {
    ("report.figures.gains", "axes_of"): "the rows and columns of the heat maps, which tests read",
    ("pieces", "measure_all"): "the body of `study.analyse`",
    ("report.findings", "origin"): "the title of every figure, which tests read",
    ("report.findings", "number_text"): "the first half of `shown`",
    ("report.findings", "interval_text"): "the second",
    ("report.table", "show_estimate"): "the cells of `estimate`",
}
WITHOUT_PROPERTY = {
    ("report.answer", "answer"): "sentences; `verdict` and `tally`, which decide them, have properties",
    ("benchmark.claims", "judged"): "asks each claim at each scale; judging one has properties",
    ("report.findings", "findings"): "sentences",
    ("report.findings", "by_intermediate"): "sentences",
    ("report.findings", "seeds_note"): "a sentence",
    ("report.figures.cost", "cost_against_gain"): "a figure; `costs_and_gains`, which it draws, has properties",
    ("report.formats", "write_tables"): "writes files; the texts in them have properties",
    ("records.gather", "wandb_server_records"): "asks a server",
    ("records.gather", "wandb_record"): "a record of `wandb_files`, whose reading has properties",
    ("records.gather", "is_stage"): "the same",
    ("records.measurements", "path"): "joins names",
    ("benchmark.submission", "write_submission"): "writes files; the texts in them have properties",
    ("benchmark.verify", "verify"): "reads a store; `judge` has properties",
    ("benchmark.verify", "verdict_table"): "a drawing for the terminal",
}


def functions(module: str) -> set[Function]:
    """The public ones at the top of a module."""
    body = ast.parse((ROOT / "analysis" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")).body
    return {(module, one.name) for one in body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")}


@cache
def modules() -> list[str]:
    folder = ROOT / "analysis"
    return [".".join(path.relative_to(folder).with_suffix("").parts) for path in sorted(folder.rglob("[!_]*.py"))]


class Tests:
    """What one file of tests calls."""

    __test__ = False

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.helpers = {one.name: one for one in self.tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
        self.modules: dict[str, str] = {}
        self.imported: dict[str, Function] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, _, module = node.module.partition(".")
                for one in node.names if package == "analysis" else ():
                    below = f"{module}.{one.name}".lstrip(".")
                    if below in modules():
                        self.modules[one.asname or one.name] = below
                    else:
                        self.imported[one.asname or one.name] = module, one.name

    def called(self) -> set[Function]:
        return set(self._called(self.tree))

    def called_by_properties(self) -> set[Function]:
        """From tests with `@given`, and from the helpers of the same file that these call."""
        todo = [one for one in self.helpers.values() if any(map(_is_given, one.decorator_list))]
        reached = {one.name for one in todo}
        found: set[Function] = set()
        while todo:
            node = todo.pop()
            found.update(self._called(node))
            names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} & self.helpers.keys() - reached
            reached |= names
            todo += [self.helpers[name] for name in names]
        return found

    def _called(self, tree: ast.AST) -> Iterator[Function]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in self.imported:
                yield self.imported[node.id]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.modules:
                yield self.modules[node.value.id], node.attr


def _is_given(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "given"


@cache
def files() -> list[Tests]:
    """Of this folder, and of launch/, which has W&B's server."""
    folders = (ROOT / "tests" / "analysis", ROOT / "tests" / "launch")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [Tests(path.read_text(encoding="utf-8")) for path in (*paths, ROOT / "tests" / "frames.py")]


@pytest.mark.slow
def test_every_public_function_is_called_by_a_test():
    every = set().union(*(functions(module) for module in modules() if module not in SEEN_WHOLE))
    assert len(every) > 100
    called = set().union(*(one.called() for one in files()))
    assert every - called == WITHIN.keys()


def test_the_exceptions_are_modules():
    assert PRESENTED.keys() | SEEN_WHOLE.keys() <= set(modules())


def test_every_public_function_that_computes_has_a_property():
    computing = [module for module in modules() if module not in PRESENTED and module not in SEEN_WHOLE]
    every = set().union(*map(functions, computing))
    assert len(every) > 80
    with_property = set().union(*(one.called_by_properties() for one in files()))
    assert every - with_property == WITHOUT_PROPERTY.keys() | (WITHIN.keys() & every)


@pytest.mark.parametrize(
    ("body", "called"),
    [
        ("def test(): power.power(2)", True),
        ("def test(): p(2)", True),
        ("def test(): power = 2; power + 1", False),
        ("def test(): other.power(2)", False),
        ("def test(): 'power.power'", False),
    ],
)
def test_only_the_module_s_own_function_counts(body, called):
    found = Tests(f"from analysis import power\nfrom analysis.power import power as p\nfrom x import other\n{body}")
    assert (found.called() == {("power", "power")}) == called
    assert found.called_by_properties() == set()


def test_a_property_reaches_through_helpers_of_its_file():
    source = "from analysis import power as p\ndef deep(): p.power()\ndef helper(): deep()\n"
    assert Tests(f"{source}@given(x)\ndef test(x): helper()").called_by_properties() == {("power", "power")}
    assert Tests(f"{source}@given(x)\ndef test(x): x\ndef test_other(): helper()").called_by_properties() == set()
