"""Single sentences: Tatoeba, BUCC with its distractors, plain text; and tagged words: CCG, UD-POS, PAN-X."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from trainers.sandbox.drawing import Draws, Files, Row
from trainers.sandbox.language import items, lexicon, tagged, world
from trainers.sandbox.language.lexicon import LANGUAGES
from trainers.stage.languages import ENGLISH_NAMES
from trainers.tasks import TASKS

TATOEBA_CODES = {"de": "deu", "ru": "rus", "sw": "swh", "zh": "cmn"}
Spoken = dict[str, str]


def _sentences(draws: Draws, split: str, count: int) -> list[Spoken]:
    return draws.take(split, count, lambda random, _: items.sentence(random), lambda spoken: spoken.values())


def retrieval_files(seed: int) -> Files:
    """Tatoeba."""
    sentences = _sentences(Draws(seed, "tatoeba"), "validation", 300)
    for language, code in TATOEBA_CODES.items():
        # The hub's strings keep the line break of the files that they came from.
        yield "pairs", f"google/xtreme/tatoeba.{code}/validation", [
            {"source_sentence": spoken[language] + "\n", "target_sentence": spoken["en"] + "\n",
             "source_lang": code, "target_lang": "eng"}
            for spoken in sentences
        ]  # fmt: skip


def mining_files(seed: int) -> Files:
    """BUCC's official files: two unaligned sides with distractors, a few sentences twice; and its bare gold pairs."""
    draws = Draws(seed, "bucc")
    for split, hub_split, gold, distractors in (("dev", "validation", 60, 90), ("test", "test", 100, 150)):
        for language in TATOEBA_CODES:
            pairs = _sentences(draws, f"{split}/{language}/gold", gold)
            foreign = [spoken[language] for spoken in _sentences(draws, f"{split}/{language}/foreign", distractors)]
            english = [spoken["en"] for spoken in _sentences(draws, f"{split}/{language}/english", distractors)]
            left = _Side(
                [spoken[language] for spoken in pairs], foreign, language, Random(f"{seed}/{split}/{language}")
            )
            right = _Side([spoken["en"] for spoken in pairs], english, "en", Random(f"{seed}/{split}/{language}/en"))
            ids = list(zip(left.gold_ids, right.gold_ids, strict=True))
            folder = f"bucc2018/{language}-en/{split}"
            yield "bucc", f"{folder}.{language}", left.rows
            yield "bucc", f"{folder}.en", right.rows
            yield "bucc-gold", f"{folder}.gold", [{"source_id": one, "target_id": other} for one, other in ids]
            yield "pairs", f"google/xtreme/bucc18.{language}/{hub_split}", [
                {"source_sentence": spoken[language], "target_sentence": spoken["en"],
                 "source_lang": one, "target_lang": other}
                for spoken, (one, other) in zip(pairs, ids, strict=True)
            ]  # fmt: skip


class _Side:
    """One side's sentences, shuffled, with ids; the first distractor occurs twice."""

    def __init__(self, gold: Sequence[str], distractors: Sequence[str], language: str, random: Random) -> None:
        sentences = [*gold, *distractors, distractors[0]]
        places = list(range(len(sentences)))
        random.shuffle(places)
        ids = {place: f"{language}-{number:09d}" for number, place in enumerate(places, start=1)}
        self.rows: list[Row] = [{"id": ids[place], "sentence": sentences[place]} for place in places]
        self.gold_ids = [ids[place] for place in range(len(gold))]


def text_files(seed: int) -> Files:
    """Lines of text, in each language other ones."""
    draws = Draws(seed, "text")
    for language in LANGUAGES:
        lines = [spoken[language] for spoken in _sentences(draws, language, 500)]
        yield "text", f"text/{language}", [{"text": line} for line in lines]


def tagging_files(seed: int) -> Files:
    """CCGbank's format in English; parts of speech and names in English for training, in all languages for testing."""
    draws = Draws(seed, "tagging")

    def take(split: str, count: int) -> list[items.Utterance]:
        def make(random: Random, _: int) -> items.Utterance:
            return items.Utterance(
                tagged.with_surnames(world.sample_clause(random), random), random.choice(items.FRONTS)
            )

        return draws.take(split, count, make, lambda said: [items.speak([said], "en")])

    for split, count in (("train", 1200), ("validation", 300)):
        words = [tagged.words(said, "en") for said in take(f"ccg/{split}", count)]
        yield "ccg", f"ccgbank/default/{split}", [
            {"tokens": [word.text for word in sentence], "tags": tagged.supertags(sentence)} for sentence in words
        ]  # fmt: skip
    for split, count, languages in (("train", 1200, ("en",)), ("validation", 300, ("en",)), ("test", 200, LANGUAGES)):
        for_pos, for_names = take(f"udpos/{split}", count), take(f"panx/{split}", count)
        for language in languages:
            yield "udpos", f"google/xtreme/udpos.{ENGLISH_NAMES[language]}/{split}", [
                _part_of_speech_row(tagged.words(said, language)) for said in for_pos
            ]  # fmt: skip
            yield "panx", f"google/xtreme/PAN-X.{language}/{split}", [
                _name_row(tagged.words(said, language), language) for said in for_names
            ]  # fmt: skip


def _part_of_speech_row(words: Sequence[tagged.Word]) -> Row:
    classes = TASKS["udpos"].labels
    return {"tokens": [word.text for word in words], "pos_tags": [classes.index(word.part) for word in words]}


def _name_row(words: Sequence[tagged.Word], language: str) -> Row:
    classes = TASKS["panx"].labels
    tokens, tags = tagged.names(words, by_character=lexicon.GAP[language] == "")
    return {"tokens": tokens, "ner_tags": [classes.index(tag) for tag in tags], "langs": [language] * len(tokens)}
