"""The words of a spoken fact with what a tagger is to say of them: part of speech, name, supertag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from trainers.sandbox.language import lexicon
from trainers.sandbox.language.grammar import Clause, Segment, segments
from trainers.sandbox.language.items import Utterance

SURNAMES = lexicon.HELD_OUT_NAMES["f"] + lexicon.HELD_OUT_NAMES["m"]
INSTITUTIONS = ("school", "hospital", "church", "library", "hotel", "office", "shop", "station")
"""Places that are named as organisations; all others are locations."""

_PARTS = {
    "ADP": "in at by on from im am auf vor в на у во von kutoka kwa wa 在 从 里 上 边",
    "DET": "the a an der die das dem den einen eine ein keinen keine kein",
    "PART": "not nicht не 的 了",
    "AUX": "was did war hatte был была было kulikuwa",
    "PRON": "it es",
}
_PART_OF = {word: part for part, words in _PARTS.items() for word in words.split()}
_PART_OF_SLOT = {
    "noun": "NOUN", "quality": "ADJ", "colour": "ADJ", "number": "NUM", "article": "DET", "measure": "NOUN",
    "agent": "PROPN", "person": "PROPN", "source": "PROPN", "verb": "VERB", "base": "VERB", "auxiliary": "AUX",
    "complement": "ADJ", "not": "PART", "place": "NOUN", "time": "NOUN", "of": "PART",
}  # fmt: skip
_CHINESE_POSITIONS = ("里", "上", "边")


class Word(NamedTuple):
    """One word, its part of speech (Universal Dependencies), its slot in the fact, and the kind of its name if any."""

    text: str
    part: str
    slot: str
    name: str = ""


def with_surnames(clause: Clause, random: Random) -> Clause:
    """Some people are told with a surname, too, so that names have more than one word."""
    agent = clause.agent
    is_person = agent is not None and agent.concept not in lexicon.BEINGS
    if agent is not None and is_person and random.random() < 0.4:
        return replace(clause, agent=replace(agent, concept=f"{agent.concept} {random.choice(SURNAMES)}"))
    return clause


def words(said: Utterance, language: str) -> list[Word]:
    """The sentence's words, its full stop last."""
    found = [
        _word(text, slot, said.clause)
        for segment in segments(said.clause, language, said.front)
        for text, slot in _split(segment, language)
    ]
    first = found[0]
    found[0] = first._replace(text=first.text[0].upper() + first.text[1:])
    return [*found, Word(lexicon.END[language], "PUNCT", "end")]


def _split(segment: Segment, language: str) -> list[Segment]:
    text, slot = segment
    if language != "zh":
        return [(word, slot) for word in text.split()]
    if slot == "source":  # 从…那里
        return [(word, slot) for word in (text[0], text[1:-2], text[-2:])]
    if slot == "place":  # 在…里
        inner = text[1:-1] if text[-1] in _CHINESE_POSITIONS else text[1:]
        return [(word, slot) for word in (text[0], inner, text[1 + len(inner) :]) if word]
    if slot == "time" and text[:-1].isdigit():
        return [(text[:-1], slot), (text[-1], slot)]
    return [(word, slot) for word in text.split()]


def _word(text: str, slot: str, clause: Clause) -> Word:
    inner = slot.rpartition(".")[2]
    part = "NUM" if text.isdigit() else _PART_OF.get(text, _PART_OF_SLOT[inner])
    if slot == "source" and text == "那里":
        part = "NOUN"
    name = ""
    if part == "PROPN":
        name = "PER"
    elif slot == "place" and part == "NOUN":
        name = "ORG" if clause.place in INSTITUTIONS else "LOC"
    return Word(text, part, slot, name)


def names(sentence: Sequence[Word], by_character: bool) -> tuple[list[str], list[str]]:
    """Tokens and BIO tags; a language without spaces gives its characters, as PAN-X does."""
    tokens: list[str] = []
    tags: list[str] = []
    before = ("", "")
    for word in sentence:
        pieces = list(word.text) if by_character and not word.text.isascii() else [word.text]
        for place, piece in enumerate(pieces):
            inside = word.name and (place or before == (word.name, word.slot))
            tokens.append(piece)
            tags.append(f"{'I' if inside else 'B'}-{word.name}" if word.name else "O")
        before = (word.name, word.slot)
    return tokens, tags


def supertags(sentence: Sequence[Word]) -> list[str]:
    """A category of combinatory categorial grammar for each word of an English statement."""
    slots = {word.slot.partition(".")[0] for word in sentence}
    objects = "/NP" * (("thing" in slots) + ("person" in slots))
    verb = {"": r"S\NP", "/NP": r"(S\NP)/NP", "/NP/NP": r"((S\NP)/NP)/NP"}[objects]
    return [_supertag(word, verb, slots) for word in sentence]


def _supertag(word: Word, verb: str, slots: set[str]) -> str:
    if word.part == "PUNCT":
        return "."
    if word.part == "AUX" and word.text.lower() == "did":
        return r"(S\NP)/(S[b]\NP)"
    if word.part == "AUX":
        return r"(S\NP)/(S[adj]\NP)" if "complement" in slots else r"(S\NP)/PP"
    if word.part == "PART":
        return r"(S\NP)\(S\NP)"
    if word.part == "ADP":
        return r"((S\NP)\(S\NP))/NP"
    if word.part in ("DET", "NUM") and word.slot != "time":
        return "NP/N"
    if word.slot == "complement":
        return r"S[adj]\NP"
    if word.part == "ADJ":
        return "N/N"
    if word.part == "VERB":
        return verb
    if word.part == "DET":
        return "NP/N"
    return "N" if word.slot not in ("agent", "person", "source", "time") else "NP"
