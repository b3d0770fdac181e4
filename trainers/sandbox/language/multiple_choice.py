"""The sandbox's multiple-choice questions in English: what happens next, what was told, what can be done to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from trainers.sandbox.language import items, lexicon, world
from trainers.sandbox.language.grammar import question as spoken_question
from trainers.sandbox.language.grammar import time_phrase

TELLING_VERBS = ("eat", "read", "wear", "wash", "repair", "break")
"""Verbs that only some kinds of object allow, so that an object tells which of them is possible."""
_NAMES = world.TRAINING_NAMES


@dataclass(frozen=True)
class Question:
    """A prompt, what each choice begins with, and the choices."""

    prompt: str
    begun: str
    choices: tuple[str, ...]
    right: int


def _placed(random: Random, right: str, wrong: Sequence[str], prompt: str, begun: str) -> Question:
    choices = [right, *wrong]
    random.shuffle(choices)
    return Question(prompt, begun, tuple(choices), choices.index(right))


def _kind(concept: str) -> str:
    return lexicon.OBJECTS[concept].kind


def _allowing(concept: str) -> list[str]:
    return [verb for verb in TELLING_VERBS if _kind(concept) in lexicon.VERBS[verb].objects]


_OBJECTS = [concept for concept in lexicon.OBJECTS if _kind(concept) != "kind" and _allowing(concept)]


def continuation(random: Random) -> Question:
    """HellaSwag's: somebody gets a thing; only one ending is something that is done to such a thing."""
    clause = world.sample_clause(random, frames=("thing",), name_share=1.0)
    verb = random.choice(("buy", "find", "take", "get", "see"))
    concept = random.choice(_OBJECTS)
    assert clause.agent is not None
    assert clause.thing is not None
    name = clause.agent.concept
    clause = replace(clause, verb=verb, thing=replace(clause.thing, concept=concept, number=1))
    noun = lexicon.OBJECTS[concept].forms["en"][0]
    allowed = _allowing(concept)
    endings = [
        f"{lexicon.VERBS[verb].forms['en'][0]} the {noun}."
        for verb in [random.choice(allowed), *random.sample([v for v in TELLING_VERBS if v not in allowed], 3)]
    ]
    said = items.speak([items.Utterance(clause, random.choice(items.FRONTS))], "en")
    return _placed(random, endings[0], endings[1:], said, name)


def comprehension(random: Random) -> Question:
    """Cosmos QA's: a question about one of several facts; all choices are answers of its kind."""
    while True:
        item = items.span(random)
        if item.asked in _ANSWERS:
            break
    context, asked, answer, _ = item.texts("en")
    others = [text for text in _ANSWERS[item.asked] if text.lower() != answer.lower()]
    mentioned = [text for text in others if text.lower() in context.lower()]
    wrong = random.sample(mentioned, min(2, len(mentioned)))
    wrong += random.sample([text for text in others if text not in wrong], 3 - len(wrong))
    answer = answer[0].lower() + answer[1:] if item.asked in ("place", "time") else answer
    return _placed(random, answer, wrong, context, asked)


_ANSWERS: dict[str, list[str]] = {
    "place": [entry.forms["en"][0] for concept, entry in lexicon.PLACES.items() if entry.kind != "kind"],
    "time": [time_phrase(time, "en") for time in lexicon.TIMES],
    "person": list(_NAMES),
}


def common_sense(random: Random) -> Question:
    """CommonsenseQA's: which of five things can something be done to?"""
    verb = random.choice(TELLING_VERBS)
    right = random.choice([concept for concept in _OBJECTS if verb in _allowing(concept)])
    wrong = random.sample([concept for concept in _OBJECTS if verb not in _allowing(concept)], 4)
    name, place = random.choice(_NAMES), random.choice(_ANSWERS["place"])
    base = lexicon.VERBS[verb].forms["en"][1]
    noun, *nouns = (lexicon.OBJECTS[concept].forms["en"][0] for concept in (right, *wrong))
    return _placed(random, noun, nouns, f"What did {name} {base} {place}?", base)


def question_pair(random: Random, label: int) -> tuple[str, str, int]:
    """QQP's: a transfer asked about from both sides (1), or with the roles exchanged or something else asked (0)."""
    while True:
        clause = world.sample_clause(random, frames=("give",), modifier_share=0.9)
        asked = [part for part in ("place", "time", "thing") if getattr(clause, part) is not None]
        if clause.verb in lexicon.CONVERSES and len(asked) > 1:
            break
    wanted, other = random.sample(asked, 2)
    again, asked_again = items.converse(clause), wanted
    if label == 0 and random.random() < 0.5:
        again = items.roles_exchanged(again)
    elif label == 0:
        asked_again = other
    pair = [spoken_question(clause, wanted, "en"), spoken_question(again, asked_again, "en")]
    random.shuffle(pair)
    return pair[0], pair[1], label
