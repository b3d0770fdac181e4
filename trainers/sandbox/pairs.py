"""Sentence pairs: MNLI and its translations, SNLI, ANLI, XNLI; QQP and PAWS-X."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from trainers.sandbox.drawing import Draws, Files, Row
from trainers.sandbox.language import items, world
from trainers.sandbox.language.lexicon import LANGUAGES
from trainers.sandbox.language.multiple_choice import question_pair
from trainers.sandbox.schemas import NLI_LABELS

NO_GOLD_LABEL = -1


def _rows(
    pairs: list[items.Pair], language: str = "en", columns: Sequence[str] = ("premise", "hypothesis", "label")
) -> list[Row]:
    """First text, second text and label under the hub's names."""
    return [dict(zip(columns, (*pair.texts(language), pair.label), strict=True)) for pair in pairs]


def _numbered(rows: list[Row], column: str, first: int = 0) -> list[Row]:
    return [row | {column: number} for number, row in enumerate(rows, first)]


def _english_premise(pair: items.Pair) -> tuple[str, ...]:
    return pair.texts("en")[:1]


def inference_files(seed: int) -> Files:
    """MNLI with its machine translation, and XNLI: the same pairs in all languages."""
    draws = Draws(seed, "nli")

    def take(split: str, count: int, names: tuple[str, ...] = world.TRAINING_NAMES) -> list[items.Pair]:
        def make(random: Random, number: int) -> items.Pair:
            return items.inference(random, number % len(NLI_LABELS), names)

        return draws.take(split, count, make, _english_premise)

    glue = {
        "train": take("train", 3000),
        "validation_matched": take("validation_matched", 640),
        "validation_mismatched": take("validation_mismatched", 300, world.HELD_OUT_NAMES),
    }
    for split, pairs in glue.items():
        yield "mnli", f"nyu-mll/glue/mnli/{split}", _numbered(_rows(pairs), "idx")
    for language in LANGUAGES:
        if language != "en":
            yield "mnli", f"translated/mnli/{language}/train", _numbered(_rows(glue["train"], language), "idx")
    columns = ("sentence1", "sentence2", "gold_label")
    for split, count in (("validation", 250), ("test", 300)):
        pairs = take(f"xnli/{split}", count)
        rows = [
            row | {"language": language, "gold_label": NLI_LABELS[row["gold_label"]]}
            for language in sorted(LANGUAGES)
            for row in _rows(pairs, language, columns)
        ]
        yield "xnli", f"google/xtreme/XNLI/{split}", rows


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

    for split, count in (("train", 1000), ("validation", 200)):
        rows = _rows(draws.take(f"snli/{split}", count, simple, _english_premise))
        for row in rows[::100] if split == "train" else ():
            row["label"] = NO_GOLD_LABEL
        yield "snli", f"stanfordnlp/snli/plain_text/{split}", rows
    for number in (1, 2, 3):
        for split, count in (("train", 400), ("dev", 120), ("test", 120)):
            name = f"{split}_r{number}"
            rows = _rows(draws.take(name, count, adversarial, _english_premise))
            uids = ({"uid": f"{name}-{index}", "reason": ""} for index in range(count))
            yield "anli", f"facebook/anli/plain_text/{name}", [row | uid for row, uid in zip(rows, uids, strict=True)]


def question_pair_files(seed: int) -> Files:
    """QQP: two questions about one transfer."""
    draws = Draws(seed, "qqp")
    columns = ("question1", "question2", "label")
    for split, count in (("train", 1500), ("validation", 300)):
        pairs = draws.take(split, count, lambda random, number: question_pair(random, number % 2), lambda p: p[:2])
        rows = [dict(zip(columns, pair, strict=True)) for pair in pairs]
        yield "qqp", f"nyu-mll/glue/qqp/{split}", _numbered(rows, "idx")


def paraphrase_files(seed: int) -> Files:
    """PAWS-X: training pairs in English, the others in all languages."""
    draws = Draws(seed, "paws-x")
    splits = (("train", 2000, ("en",)), ("validation", 250, LANGUAGES), ("test", 300, LANGUAGES))
    for split, count, languages in splits:
        pairs = draws.take(
            split, count, lambda random, number: items.paraphrase(random, number % 2), lambda pair: pair.texts("en")
        )
        for language in languages:
            rows = _rows(pairs, language, ("sentence1", "sentence2", "label"))
            path = f"google-research-datasets/paws-x/{language}/{split}"
            yield "paws-x", path, _numbered(rows, "id", first=1)
