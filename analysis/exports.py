"""The report's tables as files, for papers and for other programs: Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from analysis.tables import DASH, Table
from analysis.verify import points
from analysis.xtreme import NINE, Score
from trainers.files import write_atomically, writing

_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")
_LATEX = {
    "\\": r"\textbackslash{}",
    "−": "$-$",
    "→": r"$\rightarrow$",
    "≥": r"$\geq$",
    "τ": r"$\tau$",
    "–": "--",
    "’": "'",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def leaderboard(found: Sequence[Score]) -> Table:
    """XTREME's row of each scale and intermediate: one column a task, in points; the mean where all nine are there."""
    arms: dict[tuple[str, str], dict[str, Score]] = {}
    for score in found:
        arms.setdefault((score.scale, score.intermediate), {})[score.task] = score
    tasks = [task for task in NINE if any(task in scores for scores in arms.values())]
    rows = []
    for arm, scores in arms.items():
        cells = [points(scores[task].points) if task in scores else DASH for task in tasks]
        there = [scores[task].overall for task in NINE if task in scores and scores[task].points]
        mean = f"{sum(there) / len(there):.1f}" if len(there) == len(NINE) else DASH
        rows.append((*arm, mean, *cells))
    return Table(("scale", "intermediate", "mean", *tasks), rows, names=2)


def write_tables(tables: dict[str, Table], folder: Path, best: Sequence[str] = ()) -> None:
    """`<name>.md`, `<name>.tex` and `<name>.csv` of each.

    Args:
        best: names of tables in which the highest number of each column and group of rows is bold.

    Raises:
        StoreError: the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        bold = highest(table) if name in best else set()
        write_atomically(folder / f"{name}.md", markdown(table, bold))
        write_atomically(folder / f"{name}.tex", latex(table, bold))
        write_atomically(folder / f"{name}.csv", as_csv(table))


def highest(table: Table) -> set[tuple[int, int]]:
    """Row and column of the highest number of each column, in each group of rows with the same first cell."""
    found: dict[tuple[str, int], tuple[float, list[int]]] = {}
    for place, row in enumerate(table.rows):
        for column in range(table.names, len(row)):
            match = _NUMBER.match(row[column])
            if match is None:
                continue
            value = float(match[0].replace("−", "-"))
            most, rows = found.get((row[0], column), (value, []))
            if value >= most:
                found[row[0], column] = (value, [*rows, place] if value == most else [place])
    return {(place, column) for (_, column), (_, rows) in found.items() for place in rows}


def markdown(table: Table, bold: set[tuple[int, int]]) -> str:
    rules = ["---"] * table.names + ["--:"] * (len(table.columns) - table.names)
    lines = [table.columns, rules]
    for place, row in enumerate(table.rows):
        cells = [cell.replace("|", "\\|").replace("<", "&lt;") for cell in row]
        lines.append([f"**{cell}**" if (place, column) in bold else cell for column, cell in enumerate(cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(table: Table, bold: set[tuple[int, int]]) -> str:
    """A `tabular`: it wants the package booktabs."""

    def escaped(text: str) -> str:
        return "".join(_LATEX.get(sign, sign) for sign in text)

    columns = "l" * table.names + "r" * (len(table.columns) - table.names)
    lines = [
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        f"{' & '.join(map(escaped, table.columns))} \\\\",
        "\\midrule",
    ]
    for place, row in enumerate(table.rows):
        if place and row[0] != table.rows[place - 1][0]:
            lines.append("\\addlinespace")
        cells = [escaped(cell) for cell in row]
        cells = [f"\\textbf{{{cell}}}" if (place, column) in bold else cell for column, cell in enumerate(cells)]
        lines.append(f"{' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def as_csv(table: Table) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.columns, *table.rows])
    return out.getvalue()
