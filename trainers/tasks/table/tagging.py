"""One label a word: parts of speech, names, supertags."""

from trainers.stage.languages import words
from trainers.tasks import Files, Task, english, register

XTREME = "google/xtreme"

register(
    # CCGbank is licensed: bring your own <mirror>/ccgbank/default/{train,validation}.parquet.  The training rows tell
    # the classes (1,363 supertags in all of it).
    Task(
        "ccg",
        "tagging",
        "intermediate",
        columns=("tokens", "tags"),
        **english("ccgbank", "default", "train", "validation"),
    ),
    Task(
        "udpos",
        "tagging",
        "target",
        words("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh"),
        ("tokens", "pos_tags"),
        words("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"),
        train=Files(XTREME, "udpos.English", "train"),
        development=Files(XTREME, "udpos.English", "validation"),
        test=Files(XTREME, "udpos.{english_name}", "test"),
        metric="f1",
    ),
    Task(
        "panx",
        "tagging",
        "target",
        words(
            "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl"
            " tr ur vi yo zh"
        ),
        ("tokens", "ner_tags"),
        words("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC"),
        train=Files(XTREME, "PAN-X.en", "train"),
        development=Files(XTREME, "PAN-X.en", "validation"),
        test=Files(XTREME, "PAN-X.{language}", "test"),
        metric="f1",
    ),
)
