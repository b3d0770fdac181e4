"""Multilingual masked language modelling, interleaved with intermediate tasks: lines of text in XTREME's languages."""

from trainers.tasks import Files, Task, register
from trainers.tasks.languages import ISO639_3

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
