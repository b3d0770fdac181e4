"""Multilingual masked language modelling, interleaved with intermediate tasks: lines of text in XTREME's languages."""

from trainers.stage.languages import ISO639_3
from trainers.tasks import Files, Task, register

register(
    Task(
        "mlm",
        "mlm",
        "auxiliary",
        tuple(ISO639_3),
        ("text",),
        train=Files("text", "", "{language}"),
        published=False,
    )
)
