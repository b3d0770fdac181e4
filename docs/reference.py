"""Writes the pages of docs/reference from the code: its fields, their types, defaults and docstrings.

    python docs/reference.py [FOLDER]

What is committed there equals what this writes; `tests/docs/test_reference.py` holds it to that.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import tyro
from pydantic import BaseModel, TypeAdapter

from launch.commands import agents, common, results, run, study, wandb
from launch.commands import cluster as on_slurm
from launch.study.sweep import Sweep
from slurm.profile import Profile
from slurm.yaml_comments import in_one_line
from trainers.stage import Recipe, recipes
from trainers.stage.scales import KNOWN, SANDBOX, Shape, locate
from trainers.tasks import TASKS, Files, Task

FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- Written by docs/reference.py from the code; change it there. -->"
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
WORDS = {"boolean": "true or false"}
HEADS = {
    "sweep": """\
# The sweep file

A sweep is one YAML file, like those in `launch/sweeps/`. `retain new` writes one with all of these fields. `retain
check` lists every mistake at once, including unknown fields. [Names](names.md) lists what you can name. None is `null`.
""",
    "cluster": """\
# The cluster file

`retain init` writes `cluster.yaml` on a login node. Correct in it what you know better.
""",
    "command-line": """\
# The command line

`retain COMMAND --help` shows the same. Give several values one after another: `--seeds 1 2 3`. Every flag has an
opposite, such as `--no-ask`. An option that you do not give is None. Most commands that only read have `--json`.

| exit status | meaning |
| --- | --- |
| 0 | success |
| 1 | something failed, is missing or is outside its bounds |
| 2 | the input or the machine is not suitable, and nothing was started |
| 75 | agents on this machine were told to stop; the same command resumes their trials |
| 130 | interrupted with Ctrl-C; the same command resumes |
| 141 | the reader of the output stopped reading, as in `retain plan sweep.yaml \\| head` |
""",
    "names": """\
# Names

This page lists what a sweep can name. [Tasks, metrics and their traps](../benchmark.md) says how to join intermediates,
and what changes numbers.
""",
}
SCALES = """\
A scale can also be the folder or hub id of any encoder with XLM-R's or XLM-R-XL's architecture. Parameters are counted
without heads and pooler, as in trends over scale."""
COMMANDS: Mapping[str, Sequence[type]] = {
    "First steps": (study.New, study.Doctor),
    "A sweep": (study.Check, study.Fetch, study.Plan, run.Run, run.Debug, run.Status),
    "Its results": (results.Report, results.Power, results.Verify, results.Submission),
    "On a SLURM cluster": (
        on_slurm.Init,
        on_slurm.Submit,
        on_slurm.Watch,
        on_slurm.Why,
        on_slurm.Tail,
        on_slurm.Cancel,
        on_slurm.Retry,
        on_slurm.Prune,
        on_slurm.Devcluster,
    ),
    "Weights & Biases": (wandb.Wandb, agents.Agents),
}


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"sweep": sweep, "cluster": cluster, "command-line": command_line, "names": names}
    for name, page in pages.items():
        text = "\n".join([MADE, "", HEADS[name], *page()])
        (folder / f"{name}.md").write_text(re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n", encoding="utf-8")


def sweep() -> Iterator[str]:
    yield from sections("The file", Sweep)
    yield from sections("A recipe: what `overrides:` and `search:` change", Recipe)


def cluster() -> Iterator[str]:
    yield from sections("The file", Profile)


def command_line() -> Iterator[str]:
    header = ["argument", "type", "default", "meaning"]
    shared = [one.row for one in arguments(common.Common)]
    yield from ["## What every command on a sweep takes", "", *table(header, shared)]
    for title, group in COMMANDS.items():
        yield from ["", f"## {title}"]
        for command in group:
            taken = arguments(command)
            words = ["retain", command.__name__.lower(), *(one.usage for one in taken if one.usage)]
            yield from ["", f"### `{' '.join(words)}`", "", inspect.getdoc(command) or "", ""]
            if own := [one.row for one in taken if one.row not in shared]:
                yield from table(header, own)


def names() -> Iterator[str]:
    published = [(name, f"`{one.hub_id}`", one.shape) for name, one in KNOWN.items()]
    embedded = [(name, "in the package", locate(name).shape) for name in SANDBOX]
    yield from ["## Scales", "", SCALES, ""]
    yield from table(
        ["scale", "files", "layers × hidden", "parameters", "without embeddings", "LayerNorm"],
        [[f"`{name}`", source, *facts(shape)] for name, source, shape in [*published, *embedded]],
    )
    header = ["name", "family", "trained on", "scored on", "metric", "languages"]
    for title, role in {"Intermediates": "intermediate", "Targets": "target"}.items():
        yield from ["", f"## {title}", ""]
        yield from table(header, [described(task) for task in TASKS.values() if task.role == role])
    yield from ["", "## Books of recipes", "", (inspect.getdoc(recipes) or "").partition("\n\n")[2]]
    for name, book in recipes.BOOKS.items():
        yield from ["", f"### `{name}`", ""]
        yield from table(["key", "fields"], [[f"`{key}`", f"`{in_one_line(dict(one))}`"] for key, one in book.items()])


def facts(shape: Shape) -> list[str]:
    sizes = [f"{shape.layers} × {shape.hidden}", f"{shape.parameters:,}", f"{shape.non_embedding_parameters:,}"]
    return [*sizes, shape.layer_norm]


def described(task: Task) -> list[str]:
    trained_on = TASKS[task.training_task].train if task.training_task else None
    sets = [data_sets(trained_on), data_sets(task.test or task.development)]
    return [f"`{task.name}`", task.family, *sets, task.metric, str(len(task.languages))]


def data_sets(files: Files | None) -> str:
    """Where rows are read from."""
    return ", ".join(dict.fromkeys(f"`{one.dataset}`" for one in files.parts)) if files else "–"


def sections(title: str, of: type[BaseModel]) -> Iterator[str]:
    """The fields of a file, and after them those of the sections inside it, each under its path."""
    schema = of.model_json_schema()
    yield from _section(title, "", schema, schema.get("$defs", {}))


def _section(title: str, path: str, schema: Mapping[str, Any], defined: Mapping[str, Any]) -> Iterator[str]:
    rows, inside = [], {}
    for name, field in schema["properties"].items():
        told, default = field.get("description", ""), f"`{in_one_line(field.get('default', {}))}`"
        if found := re.search(r"#/\$defs/(\w+)", str(field)):
            below = f"{path}{name}" if "$ref" in field else f"{path}{name}.NAME"
            inside[below] = defined[found[1]]
            told = f"{told or inside[below]['description'].partition('.')[0] + '.'} [Its fields](#{_anchor(below)})."
            default = ""
        needed = name in schema.get("required", ())
        rows.append([f"`{name}`", kind(field), "needed" if needed else default, told])
    yield from ["", f"## {title}", "", schema["description"], ""]
    yield from table(["field", "type", "default", "meaning"], rows)
    for below, section in inside.items():
        yield from _section(f"`{below}`", f"{below}.", section, defined)


def _anchor(heading: str) -> str:
    """GitHub's and MkDocs' name of a heading without spaces."""
    return re.sub(r"[^\w-]", "", heading).lower()


@dataclasses.dataclass(frozen=True)
class Argument:
    """One of a command's, as a person gives it."""

    usage: str
    """How it stands behind the command; empty where it is an option."""
    row: list[str]


def arguments(command: type) -> list[Argument]:
    """All that a command takes, inherited ones included."""
    told = {
        one.arg_name: one.description or ""
        for base in command.__mro__[:-1]
        for one in docstring_parser.parse_from_object(base).params
    }
    hints = typing.get_type_hints(command, include_extras=True)
    found = []
    for field in dataclasses.fields(command):
        marks = getattr(hints[field.name], "__metadata__", ())
        positional = tyro.conf.Positional in marks
        renamed = [mark.name for mark in marks if mark is not tyro.conf.Positional]
        name = field.name.upper() if positional else f"--{(renamed or [field.name])[0].replace('_', '-')}"
        type_ = kind(TypeAdapter(hints[field.name]).json_schema()).removesuffix(" or null")
        if type_ == WORDS["boolean"]:
            type_ = "flag" if isinstance(field.default, bool) else "`True` or `False`"
        default = _shown(field.default)
        usage = (name if default == "needed" else f"[{name}]") if positional else ""
        found.append(Argument(usage, [f"`{name}`", type_, default, told[field.name]]))
    return found


def _shown(default: Any) -> str:
    if default is dataclasses.MISSING or default == "":
        return "needed"
    if isinstance(default, bool):
        return "on" if default else ""
    return "" if default is None or default == () else f"`{default}`"


def kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        return "section"
    if "enum" in schema:
        return " or ".join(f"`{in_one_line(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "type" not in schema:
        return "any value"
    if schema["type"] == "array":
        items = schema.get("prefixItems")
        several = re.sub(r"^(string|integer|number|path)", r"\1s", kind(items[0] if items else schema["items"]))
        return f"list of {len(items)} {several}" if items else f"list of {several}"
    if schema["type"] == "object":
        values = schema["additionalProperties"]
        return "fields" if values is True else f"by name: {kind(values)}"
    word = schema["format"] if schema.get("format") == "path" else WORDS.get(schema["type"], schema["type"])
    bounds = [f"{sign} {schema[name]:g}" for name, sign in BOUNDS.items() if name in schema]
    return f"{word} {', '.join(bounds)}" if bounds else word


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Markdown, each cell in one line."""
    for cells in [header, ["---"] * len(header), *rows]:
        lines = [" ".join(cell.split()).replace("|", "\\|") for cell in cells]
        yield f"| {' | '.join(lines)} |"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
