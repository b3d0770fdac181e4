"""The house: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("launch", "slurm", "trainers", "analysis")
ALLOWED = {
    "launch": {"slurm", "trainers", "analysis"},
    "slurm": set(),
    "trainers": set(),
    "analysis": {"trainers"},
}
HEAVY = {"torch", "transformers", "deepspeed", "wandb", "datasets"}
TORCH_FREE = [
    *sorted((ROOT / "launch").glob("*.py")),
    *sorted((ROOT / "slurm").rglob("*.py")),
    *sorted((ROOT / "analysis").glob("*.py")),
    *sorted((ROOT / "trainers" / "tasks").glob("*.py")),
    *(
        ROOT / "trainers" / name
        for name in ("stage.py", "store.py", "scales.py", "recipes.py", "scores.py", "batches.py")
    ),
    *(ROOT / "trainers" / "data" / name for name in ("mirror.py", "tokenise.py", "texts.py", "stagedata.py")),
]
MOST_LINES = 500


def imports(path: Path, top_level_only: bool) -> set[str]:
    """Modules that a file imports; lazy imports inside functions only count where asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    used = {name.split(".")[0] for name in imports(path, top_level_only=False)} & set(PACKAGES)
    assert used - {package} <= ALLOWED[package]


@pytest.mark.parametrize("path", TORCH_FREE, ids=lambda path: str(path.relative_to(ROOT)))
def test_contracts_import_nothing_heavy(path):
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long_to_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_map_names_every_module():
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = [path for package in PACKAGES for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
    assert [path for path in shown if not re.search(rf"\b{path.name}", told)] == []
