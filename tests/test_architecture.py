"""The house: who may import whom, what a room's door names, and how large rooms and modules are."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from docs.architecture import CHECKOUT, FIGURE, PACKAGES, arrows, imports, modules, picture, room_of

PACKAGE_ARROWS = {
    "launch": {"slurm", "trainers", "analysis"},
    "analysis": {"trainers"},
    "slurm": set(),
    "trainers": set(),
}
ORDER = {
    "launch": "lock doctor study verdicts mirror estimate dashboard status job pace local story "
    "agents submit commands cli",
    "slurm": "commands yaml_comments failures sizing profile probe job script health devcluster",
    "trainers": "collector stage store tasks sandbox tokens families data network training measure assembly run",
    "analysis": "inference records measures pieces study effects power reading benchmark report",
}
"""The rooms of each package: one may import from those before it, and from no other."""
HEAVY = {"torch", "transformers", "deepspeed", "wandb", "datasets"}
MAY_BE_HEAVY = ("trainers.network", "trainers.training", "trainers.measure", "trainers.assembly", "trainers.run")
MOST_MODULES, MOST_LINES, FEWEST_LINES = 9, 400, 40
FOLDERS = sorted({path.parent for path in modules().values()})


def place(room: str) -> int:
    package, _, name = room.partition(".")
    return ORDER[package].split().index(name)


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_packages_import_one_way():
    found = {(one.importing.split(".")[0], one.imported.split(".")[0]) for one in imports()}
    assert {(a, b) for a, b in found if a != b} <= {(a, b) for a in PACKAGES for b in PACKAGE_ARROWS[a]}


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_only_from_those_before_them(package):
    within = {(a, b) for a, b in arrows(typing=True) if a.startswith(f"{package}.") and b.startswith(f"{package}.")}
    assert {(a, b) for a, b in within if place(b) > place(a)} == set()


def test_no_module_imports_itself_in_a_circle():
    """What is imported inside a function is counted as well; what is imported for annotations only is not."""
    below: dict[str, set[str]] = {}
    for one in imports():
        if not one.typing_only and not one.importing.startswith(f"{one.imported}."):
            below.setdefault(one.importing, set()).add(one.imported)
    TopologicalSorter(below).prepare()


def test_what_is_imported_can_be_read_in_the_source():
    """`importlib` hides arrows.  It is for finding the modules of the own room by name: a new task, a task's family."""
    hiding = [name for name, path in modules().items() if "import_module(" in path.read_text(encoding="utf-8")]
    assert hiding == ["trainers.families", "trainers.tasks"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(CHECKOUT)))
def test_a_room_is_seen_at_a_glance(folder):
    shown = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(shown) <= MOST_MODULES, shown


def test_modules_are_neither_too_long_nor_crumbs():
    used: dict[str, set[str]] = {}
    for one in imports():
        used.setdefault(one.imported, set()).add(one.importing)
    long = {name: lines_of(path) for name, path in modules().items() if lines_of(path) > MOST_LINES}
    crumbs = {
        name: lines_of(path)
        for name, path in modules().items()
        if path.name != "__init__.py" and lines_of(path) < FEWEST_LINES and len(used.get(name, ())) == 1
    }
    assert (long, crumbs) == ({}, {})


def test_rooms_are_entered_through_what_their_doors_name():
    """The docstring of a room's `__init__.py` names each module that others import."""
    inside: dict[str, set[str]] = {}
    for one in imports():
        room, _, module = one.imported.rpartition(".")
        if room_of(one.imported) != room_of(one.importing) and "." in room:
            inside.setdefault(room, set()).add(module)
    unnamed = {}
    for room, entered in inside.items():
        door = ast.get_docstring(ast.parse(modules()[room].read_text(encoding="utf-8"))) or ""
        exported = re.findall(r"^from ([\w.]+) import", modules()[room].read_text(encoding="utf-8"), re.MULTILINE)
        named = set(re.findall(r"`([\w.]+)`", door)) | {module.removeprefix(f"{room}.") for module in exported}
        if missing := entered - named:
            unnamed[room] = missing
    assert unnamed == {}


@pytest.mark.parametrize("name", [name for name in modules() if not name.startswith(MAY_BE_HEAVY)])
def test_contracts_import_nothing_heavy(name):
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module}
    assert not {module.split(".")[0] for module in found} & HEAVY


def test_the_tests_lie_as_the_rooms_do():
    folders = {path.parent for package in PACKAGES for path in (CHECKOUT / "tests" / package).rglob("test_*.py")}
    assert [folder for folder in folders if not (CHECKOUT / folder.relative_to(CHECKOUT / "tests")).is_dir()] == []


def test_the_page_names_every_room():
    told = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {room_of(name) for name in modules() if "." in name}
    names = [
        room.replace(".", "/") if modules()[room].name == "__init__.py" else f"{room.replace('.', '/')}.py"
        for room in rooms
    ]
    assert [name for name in sorted(names) if not re.search(rf"\b{re.escape(name.split('/', 1)[1])}\b", told)] == []


def test_the_picture_is_drawn_from_the_imports():
    assert FIGURE.read_text(encoding="utf-8") == picture(), "run python docs/architecture.py"
