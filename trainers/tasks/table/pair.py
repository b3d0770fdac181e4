"""Sentence pairs: natural language inference and paraphrase."""

from trainers.stage.languages import words
from trainers.tasks import Files, Task, english, register

NLI_LABELS = ("entailment", "neutral", "contradiction")
NLI_COLUMNS = ("premise", "hypothesis", "label")
NO_GOLD_LABEL = -1
"""SNLI's annotators disagreed: 785 of its 550,152 training rows on the hub."""

MNLI_TRAIN = Files("nyu-mll/glue", "mnli", "train")
SNLI_TRAIN = Files("stanfordnlp/snli", "plain_text", "train")

register(
    Task(
        "mnli",
        "pair",
        "intermediate",
        columns=NLI_COLUMNS,
        labels=NLI_LABELS,
        multilingual="xnli",
        **english("nyu-mll/glue", "mnli", "train", "validation_matched"),
    ),
    # ANLI R1–R3 with MNLI and SNLI under one head: 1,104,934 examples; the classes have one order on the hub.
    Task(
        "anli_plus",
        "pair",
        "intermediate",
        ("en",),
        NLI_COLUMNS,
        NLI_LABELS,
        train=Files(
            "facebook/anli",
            "plain_text",
            "train_r1",
            joined=(
                Files("facebook/anli", "plain_text", "train_r2"),
                Files("facebook/anli", "plain_text", "train_r3"),
                MNLI_TRAIN,
                SNLI_TRAIN,
            ),
        ),
        development=Files(
            "facebook/anli",
            "plain_text",
            "dev_r1",
            joined=(Files("facebook/anli", "plain_text", "dev_r2"), Files("facebook/anli", "plain_text", "dev_r3")),
        ),
        multilingual="xnli",
        unlabelled=(NO_GOLD_LABEL,),
    ),
    Task(
        "qqp",
        "pair",
        "intermediate",
        columns=("question1", "question2", "label"),
        labels=("not_duplicate", "duplicate"),
        **english("nyu-mll/glue", "qqp", "train", "validation"),
    ),
    Task(
        "xnli",
        "pair",
        "target",
        words("ar bg de el en es fr hi ru sw th tr ur vi zh"),
        ("sentence1", "sentence2", "gold_label"),
        NLI_LABELS,
        trained_on="mnli",
        development=Files("google/xtreme", "XNLI", "validation", language_column="language"),
        test=Files("google/xtreme", "XNLI", "test", language_column="language"),
    ),
    # Not google/xtreme's PAWS-X, which lost rows to its csv parser (49,175 of 49,401) and labels by strings.
    Task(
        "pawsx",
        "pair",
        "target",
        words("de en es fr ja ko zh"),
        ("sentence1", "sentence2", "label"),
        ("0", "1"),
        train=Files("google-research-datasets/paws-x", "en", "train"),
        development=Files("google-research-datasets/paws-x", "{language}", "validation"),
        test=Files("google-research-datasets/paws-x", "{language}", "test"),
    ),
)
