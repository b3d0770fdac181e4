"""Sentence retrieval without training: Tatoeba, and BUCC in three readings that differ by tens of points."""

from trainers.stage.languages import words
from trainers.tasks import Files, Task, register

BUCC_LANGUAGES = words("de fr ru zh")


def _bucc(split: str) -> Files:
    """The official files of one split: sentences of both sides, and the pairs to find."""
    return Files(
        "bucc2018",
        "{language}-en",
        split + ".{language}",
        joined=(Files("bucc2018", "{language}-en", f"{split}.en"),),
        gold=Files("bucc2018", "{language}-en", f"{split}.gold"),
    )


register(
    Task(
        "tatoeba",
        "retrieval",
        "target",
        words(
            "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi"
            " zh"
        ),
        ("source_sentence", "target_sentence"),
        test=Files("google/xtreme", "tatoeba.{iso639_3}", "validation"),
    ),
    # XTREME's: mine the official training split ("test") with the threshold that is best on the sample split ("dev").
    Task(
        "bucc",
        "mining",
        "target",
        BUCC_LANGUAGES,
        ("id", "sentence"),
        development=_bucc("dev"),
        test=_bucc("test"),
        metric="f1",
    ),
    # X-STILTs': the sample split with the threshold that is best on itself.
    Task(
        "bucc_dev",
        "mining",
        "target",
        BUCC_LANGUAGES,
        ("id", "sentence"),
        test=_bucc("dev"),
        metric="f1",
        published=False,
    ),
    # What google/xtreme holds: bucc_dev's gold pairs without the distractors, so retrieval and much easier than mining.
    Task(
        "bucc_pairs",
        "retrieval",
        "target",
        BUCC_LANGUAGES,
        ("source_sentence", "target_sentence"),
        test=Files("google/xtreme", "bucc18.{language}", "validation"),
        published=False,
    ),
)
