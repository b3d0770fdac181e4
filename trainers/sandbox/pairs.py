"""Sentence pairs: MNLI and its translations, SNLI, ANLI, XNLI; QQP and PAWS-X."""

from __future__ import annotations

from random import Random

from trainers.sandbox.drawing import Draws, Files, Row
from trainers.sandbox.language import items, world
from trainers.sandbox.language.lexicon import LANGUAGES
from trainers.sandbox.language.multiple_choice import question_pair
from trainers.sandbox.schemas import NLI_LABELS

NO_GOLD_LABEL = -1


def inference_files(seed: int) -> Files:
    """MNLI with its machine translation, and XNLI: the same pairs in all languages."""
    draws = Draws(seed, "nli")

    def take(split: str, count: int, names: tuple[str, ...] = world.TRAINING_NAMES) -> list[items.Pair]:
        def make(random: Random, number: int) -> items.Pair:
            return items.inference(random, number % len(NLI_LABELS), names)

        return draws.take(split, count, make, lambda pair: pair.texts("en")[:1])

    glue = {
        "train": take("train", 3000),
        "validation_matched": take("validation_matched", 640),
        "validation_mismatched": take("validation_mismatched", 300, world.HELD_OUT_NAMES),
    }
    for split, pairs in glue.items():
        yield "mnli", f"nyu-mll/glue/mnli/{split}", _inference_rows(pairs, "en")
    for language in LANGUAGES:
        if language != "en":
            yield "mnli", f"translated/mnli/{language}/train", _inference_rows(glue["train"], language)
    for split, count in (("validation", 250), ("test", 300)):
        pairs = take(f"xnli/{split}", count)
        yield (
            "xnli",
            f"google/xtreme/XNLI/{split}",
            [
                {"language": language, "sentence1": first, "sentence2": second, "gold_label": NLI_LABELS[pair.label]}
                for language in sorted(LANGUAGES)
                for pair in pairs
                for first, second in [pair.texts(language)]
            ],
        )


def _inference_rows(pairs: list[items.Pair], language: str) -> list[Row]:
    return [
        {"premise": premise, "hypothesis": hypothesis, "label": pair.label, "idx": index}
        for index, pair in enumerate(pairs)
        for premise, hypothesis in [pair.texts(language)]
    ]


def more_inference_files(seed: int) -> Files:
    """SNLI, with rows on which its annotators disagreed, and ANLI, whose premises say a second thing, too."""
    draws = Draws(seed, "snli and anli")

    def simple(random: Random, number: int) -> items.Pair:
        return items.inference(random, number % len(NLI_LABELS))

    def adversarial(random: Random, number: int) -> items.Pair:
        pair = items.inference_by_content(random, number % len(NLI_LABELS))
        other = world.sample_clause(random, world.HELD_OUT_NAMES, name_share=1.0)
        said = (*pair.first, items.Utterance(other, None))
        return items.Pair(said if random.random() < 0.5 else said[::-1], pair.second, pair.label)

    def rows(split: str, count: int, make) -> list[Row]:
        pairs = draws.take(split, count, make, lambda pair: pair.texts("en")[:1])
        return [
            {"premise": first, "hypothesis": second, "label": pair.label}
            for pair in pairs
            for first, second in [pair.texts("en")]
        ]

    train = rows("snli/train", 1000, simple)
    for row in train[::100]:
        row["label"] = NO_GOLD_LABEL
    yield "snli", "stanfordnlp/snli/plain_text/train", train
    yield "snli", "stanfordnlp/snli/plain_text/validation", rows("snli/validation", 200, simple)
    for number in (1, 2, 3):
        for split, count in (("train", 400), ("dev", 120), ("test", 120)):
            name = f"{split}_r{number}"
            found = rows(name, count, adversarial)
            uids = [{"uid": f"{name}-{index}", "reason": ""} for index in range(len(found))]
            yield "anli", f"facebook/anli/plain_text/{name}", [a | b for a, b in zip(found, uids, strict=True)]


def question_pair_files(seed: int) -> Files:
    """QQP: two questions about one transfer."""
    draws = Draws(seed, "qqp")
    for split, count in (("train", 1500), ("validation", 300)):
        pairs = draws.take(split, count, lambda random, number: question_pair(random, number % 2), lambda p: p[:2])
        yield (
            "qqp",
            f"nyu-mll/glue/qqp/{split}",
            [
                {"question1": first, "question2": second, "label": label, "idx": index}
                for index, (first, second, label) in enumerate(pairs)
            ],
        )


def paraphrase_files(seed: int) -> Files:
    """PAWS-X: training pairs in English, the others in all languages."""
    draws = Draws(seed, "paws-x")
    splits = (("train", 2000, ("en",)), ("validation", 250, LANGUAGES), ("test", 300, LANGUAGES))
    for split, count, languages in splits:
        pairs = draws.take(
            split, count, lambda random, number: items.paraphrase(random, number % 2), lambda pair: pair.texts("en")
        )
        for language in languages:
            yield (
                "paws-x",
                f"google-research-datasets/paws-x/{language}/{split}",
                [
                    {"id": index, "sentence1": first, "sentence2": second, "label": pair.label}
                    for index, pair in enumerate(pairs, start=1)
                    for first, second in [pair.texts(language)]
                ],
            )
