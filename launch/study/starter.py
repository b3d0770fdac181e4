"""`retain new`: a first sweep file, asked for question by question or given by options, every field explained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.prompt import Prompt

from launch.study.sweep import Sweep, SweepError
from slurm.profile import sentences
from slurm.yaml_comments import commented
from trainers.sandbox.language.lexicon import LANGUAGES
from trainers.stage.scales import SANDBOX

FIRST: dict[str, Any] = {
    "scales": tuple(SANDBOX),
    "intermediates": ("none", "mnli"),
    "targets": ("xnli", "tatoeba"),
    "seeds": (1, 2, 3),
}
"""A study that runs anywhere within minutes; its order is that of the questions."""
QUESTIONS = {
    "scales": "Which encoders? base, large, xl, xxl, hub ids or folders; sandbox-s, -m, -l need no data",
    "intermediates": "Which intermediates? `none` is the baseline; mnli, squad, all9, mnli+mlm, …",
    "targets": "Which XTREME targets? xnli, pawsx, udpos, panx, xquad, mlqa, tydiqa, bucc, tatoeba",
    "seeds": "Which seeds? Three or more for statistics",
}
MIRROR = "mirror"
"""Where data sets are read from, unless all encoders are the sandbox's, which brings its own."""


def ask(given: Mapping[str, Any], screen: Console) -> dict[str, Any]:
    """What was not given, from a person at a terminal; an answer that does not do is asked for again."""
    answers = dict(given)
    for name, question in QUESTIONS.items():
        while name not in answers:
            answer = Prompt.ask(question, default=" ".join(map(str, FIRST[name])), console=screen)
            words = tuple(answer.replace(",", " ").split())
            try:
                starter(FIRST | answers | {name: words})
            except SweepError as error:
                screen.print(str(error), style="red", markup=False, soft_wrap=True)
            else:
                answers[name] = words
    if "mirror" not in answers and not _is_sandbox(answers["scales"]):
        answers["mirror"] = Prompt.ask("Which folder for the data sets?", default=MIRROR, console=screen)
    return answers


def starter(given: Mapping[str, Any]) -> Sweep:
    """The sweep of what was given and sound first values of the rest.

    Raises:
        SweepError: all that is wrong.
    """
    fields = FIRST | dict(given)
    sandbox = _is_sandbox(fields["scales"])
    fields.setdefault("recipes", "sandbox" if sandbox else "xstilts")
    if sandbox:
        fields.setdefault("languages", LANGUAGES)  # what its data speak
    else:
        fields.setdefault("mirror", MIRROR)
    fields.setdefault("store", Path("runs") / str(fields["name"]))
    try:
        return Sweep(**fields)
    except ValidationError as error:
        raise SweepError("\n".join(sentences(error, Sweep))) from error


def _is_sandbox(scales: tuple[str, ...]) -> bool:
    return all(scale in SANDBOX for scale in scales)


def text(sweep: Sweep, command: str) -> str:
    """The sweep file: what was chosen, and below it, as comments, all that can be changed, at the values that hold."""
    values = sweep.model_dump(mode="json")
    chosen = [name for name in values if name in sweep.model_fields_set]
    left = [name for name in values if name not in chosen]
    lines = [
        "# How does scale change what is retained?  All fields of a sweep; a field in a comment shows its default.",
        f"#   {command}",
        "",
        *commented(Sweep, {name: values[name] for name in chosen}),
        *commented(Sweep, {name: values[name] for name in left}, asleep=left),
    ]
    return "\n".join(lines).rstrip() + "\n"
