"""Draws docs/figures/architecture.svg from the imports: the rooms of the house, and who imports from whom.

python docs/architecture.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
FIGURE = CHECKOUT / "docs" / "figures" / "architecture.svg"
PACKAGES = ("launch", "slurm", "trainers", "analysis")

Arrow = tuple[str, str]
"""Importing, imported."""


@dataclass(frozen=True)
class Import:
    """One import of one module of ours by another."""

    importing: str
    imported: str
    typing_only: bool
    """Under `if TYPE_CHECKING`: no arrow when the program runs."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the four packages: its dotted name → its file."""
    found = {}
    for package in PACKAGES:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            name = ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def room_of(module: str) -> str:
    """The folder of its package that a module lies in; a module beside the rooms of its package is a room by itself."""
    return ".".join(module.split(".")[:2])


@cache
def imports() -> tuple[Import, ...]:
    """All imports between modules of ours, those inside functions too."""
    return tuple(found for name, path in modules().items() for found in _imports_of(name, path))


def _imports_of(name: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            wanted = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            wanted = {alias.name for alias in node.names}
        else:
            continue
        deepest = {module for module in wanted & modules().keys() if not _holds_another(module, wanted)}
        for module in sorted(deepest - {name}):
            yield Import(name, module, id(node) in guarded)


def _holds_another(package: str, wanted: set[str]) -> bool:
    """Whether only submodules of a package are imported: `from trainers.store import files`."""
    return any(module in modules() and module.startswith(f"{package}.") for module in wanted)


def arrows(typing: bool = False) -> set[Arrow]:
    """Who imports from whom, by rooms; `typing` counts what is imported for annotations only, too."""
    pairs = {(room_of(one.importing), room_of(one.imported)) for one in imports() if typing or not one.typing_only}
    return {(a, b) for a, b in pairs if a != b and "." in a and "." in b}


def floors(rooms: set[str], within: set[Arrow]) -> dict[str, int]:
    """How many rooms lie below each one, along the longest way down."""
    below = {room: {b for a, b in within if a == room} for room in rooms}
    floor: dict[str, int] = {}
    for room in TopologicalSorter(below).static_order():  # a CycleError names the rooms of a circle
        floor[room] = max((floor[lower] + 1 for lower in below[room]), default=0)
    return floor


def direct(within: set[Arrow]) -> set[Arrow]:
    """The arrows that no way through other rooms replaces."""
    lower: dict[str, set[str]] = {}
    for a, b in within:
        lower.setdefault(a, set()).add(b)

    @cache
    def reached(room: str) -> frozenset[str]:
        return frozenset(one for b in lower.get(room, ()) for one in (b, *reached(b)))

    return {(a, b) for a, b in within if not any(b in reached(c) for c in lower[a] if c != b)}


# -- the picture --------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, GAP, RISE = 116, 26, 14, 62
"""Of a room's box, between boxes, and from floor to floor, in pixels."""
MARGIN, TITLE = 24, 34
COLUMNS = (("launch", "slurm"), ("trainers",), ("analysis",))
"""Which packages stand below each other."""
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2933; text-anchor: middle; }
.title { font-weight: 600; font-size: 15px; text-anchor: start; }
.room { fill: #e3ecf7; stroke: #4c78a8; }
.module { fill: #fff; stroke: #9aa5b1; }
path { stroke: #7b8794; fill: none; marker-end: url(#head); }
"""


@dataclass(frozen=True)
class Panel:
    """One package: where each of its rooms stands, and how large the drawing is."""

    package: str
    places: dict[str, tuple[float, float]]
    """Room → the middle of its box."""
    arrows: set[Arrow]
    width: float
    height: float

    @classmethod
    def of(cls, package: str) -> Panel:
        within = {(a, b) for a, b in arrows() if a.split(".")[0] == b.split(".")[0] == package}
        rooms = {room for name in modules() if (room := room_of(name)).startswith(f"{package}.")}
        floor = floors(rooms, within)
        by_floor = [
            sorted(room for room in rooms if floor[room] == number) for number in range(max(floor.values()) + 1)
        ]
        width = max(map(len, by_floor)) * (WIDTH + GAP) - GAP
        places: dict[str, tuple[float, float]] = {}
        for number, row in enumerate(by_floor):
            row.sort(key=lambda room: _middle(room, within, places))
            left = (width - len(row) * (WIDTH + GAP) + GAP) / 2
            for place, room in enumerate(row):
                x = left + place * (WIDTH + GAP) + WIDTH / 2
                places[room] = x, TITLE + (len(by_floor) - 1 - number) * RISE + HEIGHT / 2
        return cls(package, places, direct(within), width, TITLE + (len(by_floor) - 1) * RISE + HEIGHT)

    def drawn(self, x: float, y: float) -> Iterator[str]:
        """The panel as SVG, its upper left corner at (x, y)."""
        yield f'<g transform="translate({x:.0f},{y:.0f})"><text class="title" y="14">{self.package}</text>'
        for a, b in sorted(self.arrows):
            (x1, y1), (x2, y2) = self.places[a], self.places[b]
            y1, y2 = y1 + HEIGHT / 2, y2 - HEIGHT / 2 - 5
            bend = (y2 - y1) / 2
            yield f'<path d="M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + bend:.0f} {x2:.0f},{y2 - bend:.0f} {x2:.0f},{y2:.0f}"/>'
        for room, (middle, height) in sorted(self.places.items()):
            folder = (CHECKOUT / room.replace(".", "/")).is_dir()
            name = room.removeprefix(f"{self.package}.") + ("/" if folder else ".py")
            corner = f'x="{middle - WIDTH / 2:.0f}" y="{height - HEIGHT / 2:.0f}"'
            yield (
                f'<rect class="{"room" if folder else "module"}" {corner} width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
                f'<text x="{middle:.0f}" y="{height + 4.5:.0f}">{escape(name)}</text>'
            )
        yield "</g>"


def _middle(room: str, within: set[Arrow], places: dict[str, tuple[float, float]]) -> tuple[float, str]:
    """Where a room would like to stand: over what it imports."""
    lower = [places[b][0] for a, b in within if a == room and b in places]
    return (sum(lower) / len(lower) if lower else 0.0), room


def picture() -> str:
    """The four packages as SVG: whoever imports stands above, and only arrows that no other way replaces are drawn."""
    columns = [[Panel.of(package) for package in column] for column in COLUMNS]
    lines, left, height = [], float(MARGIN), 0.0
    for column in columns:
        width, top = max(panel.width for panel in column), float(MARGIN)
        for panel in column:
            lines += panel.drawn(left + (width - panel.width) / 2, top)
            top += panel.height + 2 * MARGIN
        left, height = left + width + 2 * MARGIN, max(height, top)
    width, height = left - MARGIN, height - MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" markerWidth="7" markerHeight="7" refX="3" refY="3" orient="auto">'
            '<path d="M0,0 L6,3 L0,6 z" style="fill:#7b8794;stroke:none"/></marker></defs>',
            '<rect width="100%" height="100%" fill="#fff"/>',
            *lines,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    FIGURE.write_text(picture(), encoding="utf-8")
