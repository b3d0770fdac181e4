"""The report's tables as files: Markdown and LaTeX (booktabs) for papers, CSV for other programs."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from analysis.report.table import Shown, Table
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
    lines = [[name.translate(_MARKDOWN) for name in table.columns], rules, *_texts(table, _MARKDOWN, "**", "**")]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(table: Table) -> str:
    """A `tabular`, the best numbers in bold: it wants the package booktabs."""
    columns = "l" * table.names + "r" * (len(table.columns) - table.names)
    head = " & ".join(name.translate(_LATEX) for name in table.columns)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", f"{head} \\\\", "\\midrule"]
    firsts = [row[0] for row in table.rows]
    for place, cells in enumerate(_texts(table, _LATEX, "\\textbf{", "}")):
        if place and firsts[place] != firsts[place - 1]:
            lines.append("\\addlinespace")
        guard = "{}" if firsts[place].startswith(_TAKEN_BY_LATEX) else ""
        lines.append(f"{guard}{' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _texts(table: Table, escaped: dict[int, str], before: str, after: str) -> list[list[str]]:
    """All cells, the values of the best between `before` and `after`."""

    def text(cell: Shown, best: bool) -> str:
        value, interval = (part.translate(escaped) for part in cell)
        return Shown(f"{before}{value}{after}" if best else value, interval).text

    return [
        [text(cell, (place, column) in table.best) for column, cell in enumerate(row)]
        for place, row in enumerate(table.cells)
    ]


def as_csv(table: Table) -> str:
    """Names as they are and numbers as numbers: an estimate is a column, one ending in `low` and one in `high`.

    What is undefined is empty; what lies beyond all that was measured is `inf`.
    """
    names = [column.name + ending for column in table.layout for ending in column.endings]
    rows = [["" if _undefined(value) else value for value in row] for row in table.frame.select(names).iter_rows()]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([names, *rows])
    return out.getvalue()


def _undefined(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
