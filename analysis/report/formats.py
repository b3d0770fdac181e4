"""The report's tables as files: Markdown and LaTeX (booktabs) for papers, CSV for other programs."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from analysis.report.figures.vegalite import distinct
from analysis.report.tabular import DASH, Number, Table
from trainers.store.files import write_atomically, writing

_MARKDOWN = str.maketrans({"\\": "\\\\", "|": "\\|", "<": "&lt;"})
_LATEX = str.maketrans(
    {
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
)
_TAKEN_BY_LATEX = ("[", "*")
"""After the end of a row these begin its options."""


def write_tables(tables: dict[str, Table], folder: Path) -> None:
    """`<name>.md`, `<name>.tex` and `<name>.csv` of each.

    Raises:
        StoreError: the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_atomically(folder / f"{name}.md", markdown(table))
        write_atomically(folder / f"{name}.tex", latex(table))
        write_atomically(folder / f"{name}.csv", as_csv(table))


def markdown(table: Table) -> str:
    """The best numbers in bold."""
    rules = ["---"] * table.names + ["--:"] * (len(table.columns) - table.names)
    lines = [[name.translate(_MARKDOWN) for name in table.columns], rules]
    for place, row in enumerate(table.rows):
        cells = [cell.translate(_MARKDOWN) for cell in row]
        lines.append([_bold(cell, "**", "**") if (place, at) in table.best else cell for at, cell in enumerate(cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(table: Table) -> str:
    """A `tabular`, the best numbers in bold: it wants the package booktabs."""
    columns = "l" * table.names + "r" * (len(table.columns) - table.names)
    head = " & ".join(name.translate(_LATEX) for name in table.columns)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", f"{head} \\\\", "\\midrule"]
    for place, row in enumerate(table.rows):
        if place and row[0] != table.rows[place - 1][0]:
            lines.append("\\addlinespace")
        cells = [cell.translate(_LATEX) for cell in row]
        cells = [_bold(cell, "\\textbf{", "}") if (place, at) in table.best else cell for at, cell in enumerate(cells)]
        guard = "{}" if row[0].startswith(_TAKEN_BY_LATEX) else ""
        lines.append(f"{guard}{' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _bold(cell: str, before: str, after: str) -> str:
    """The value; its interval stands beside it as it is."""
    value, bracket, interval = cell.partition(" [")
    return f"{before}{value}{after}{bracket}{interval}"


def as_csv(table: Table) -> str:
    """Names as they are and numbers as numbers: an estimate is a column, one ending in `low` and one in `high`.

    What is undefined is empty; what lies beyond all that was measured is `inf`.
    """
    columns = []
    for place, name in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        endings = distinct(ending for cell in cells if isinstance(cell, Number) for ending in cell.parts)
        if place < table.names:
            columns.append([name, *cells])
        else:
            columns += [[name + end, *(_for_programs(cell, end) for cell in cells)] for end in endings or [""]]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(zip(*columns, strict=True))
    return out.getvalue()


def _for_programs(cell: str, ending: str) -> str:
    if not isinstance(cell, Number):
        return "" if cell == DASH or ending else cell
    value = cell.parts.get(ending, math.nan)
    return "" if math.isnan(value) else str(value)
