"""Extractive question answering."""

from trainers.stage.languages import words
from trainers.tasks import Files, Task, english, register

COLUMNS = ("question", "context", "answers")
XTREME = "google/xtreme"

register(
    Task(
        "squad",
        "span",
        "intermediate",
        columns=COLUMNS,
        multilingual="xquad",
        metric="f1",
        **english("rajpurkar/squad", "plain_text", "train", "validation"),
    ),
    Task(
        "squad_v2",
        "span",
        "intermediate",
        columns=COLUMNS,
        metric="f1",
        unanswerable=True,
        **english("rajpurkar/squad_v2", "squad_v2", "train", "validation"),
    ),
    # XQuAD is SQuAD's development set translated; XTREME, too, uses it as the test set.
    Task(
        "xquad",
        "span",
        "target",
        words("ar de el en es hi ru th tr vi zh"),
        COLUMNS,
        trained_on="squad",
        metric="f1",
        development=Files(XTREME, "XQuAD.{language}", "validation"),
        test=Files(XTREME, "XQuAD.{language}", "validation"),
    ),
    # Question and context in the same language, as in XTREME.
    Task(
        "mlqa",
        "span",
        "target",
        words("ar de en es hi vi zh"),
        COLUMNS,
        trained_on="squad",
        metric="f1",
        normalisation="mlqa",
        development=Files(XTREME, "MLQA.{language}.{language}", "validation"),
        test=Files(XTREME, "MLQA.{language}.{language}", "test"),
    ),
    # There is no third split: XTREME, too, tests on the development set.  What a training is judged by (whether it
    # diverged) are the English rows of it, which select nothing.
    Task(
        "tydiqa",
        "span",
        "target",
        words("ar bn en fi id ko ru sw te"),
        COLUMNS,
        metric="f1",
        train=Files(XTREME, "tydiqa", "train", language_prefix="id"),
        development=Files(XTREME, "tydiqa", "validation", language_prefix="id"),
        test=Files(XTREME, "tydiqa", "validation", language_prefix="id"),
    ),
)
