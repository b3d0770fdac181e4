"""Speak a fact of the sandbox's world in one of its five languages.

A sentence is a list of segments ``(text, slot)``; the slots (`agent`, `thing.colour`, `place`, ...) survive to
the surface, which is how an answer's character span is known exactly in every language.  Words, agreement and word
order are tables of `lexicon.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from trainers.sandbox.language import lexicon

Segment = tuple[str, str]


@dataclass(frozen=True)
class Noun:
    """A name, a being or a thing, with what is said of it; `number` above 1 is spoken as a numeral."""

    concept: str
    number: int = 1
    quality: str | None = None
    colour: str | None = None


@dataclass(frozen=True)
class Clause:
    """One fact: a verb, a state or the weather, and who, what, to or from whom, where and when."""

    verb: str
    agent: Noun | None = None
    thing: Noun | None = None
    person: str | None = None
    place: str | None = None
    time: str | None = None
    negated: bool = False


@dataclass(frozen=True)
class Sentence:
    """A surface form: the text, and the (start, end) characters of every slot in it."""

    text: str
    spans: dict[str, tuple[int, int]]

    def answer(self, slot: str) -> tuple[str, int]:
        start, end = self.spans[slot]
        return self.text[start:end], start


def _entry(concept: str) -> lexicon.Entry:
    return lexicon.OBJECTS[concept] if concept in lexicon.OBJECTS else lexicon.BEINGS[concept]


def _adjectives(noun: Noun, language: str, inflect: Callable[[tuple[str, ...]], str]) -> list[Segment]:
    return [
        (inflect(lexicon.ADJECTIVES[concept].forms[language]), slot)
        for slot, concept in (("quality", noun.quality), ("colour", noun.colour))
        if concept
    ]


def _english(noun: Noun, definite: bool, negated: bool, asked: bool) -> list[Segment]:
    forms = _entry(noun.concept).forms["en"]
    words = _adjectives(noun, "en", lambda forms: forms[0])
    words.append((forms[0] if noun.number == 1 else forms[1], "noun"))
    if asked:
        return [("how many", "number"), *words]
    if noun.number > 1:
        return [(lexicon.NUMERALS[noun.number].forms["en"][0], "number"), *words]
    article = "the" if definite else "an" if words[0][0][0] in "aeiou" else "a"
    return [(article, "article"), *words]


def _german(noun: Noun, definite: bool, negated: bool, asked: bool) -> list[Segment]:
    gender, *forms = _entry(noun.concept).forms["de"]
    if noun.number > 1:
        numeral = "wie viele" if asked else lexicon.NUMERALS[noun.number].forms["de"][0]
        return [(numeral, "number"), *_adjectives(noun, "de", lambda stem: stem[0] + "e"), (forms[1], "noun")]
    if definite:
        article, ending = lexicon.GERMAN_DEFINITE[gender], "e"
    else:
        positive, negative, ending = lexicon.GERMAN_ACCUSATIVE[gender]
        article = negative if negated else positive
    accusative = forms[1] if noun.concept in lexicon.BEINGS and not definite else forms[0]
    return [(article, "article"), *_adjectives(noun, "de", lambda stem: stem[0] + ending), (accusative, "noun")]


def _russian(noun: Noun, definite: bool, negated: bool, asked: bool) -> list[Segment]:
    gender, *forms = _entry(noun.concept).forms["ru"]
    animate = noun.concept in lexicon.BEINGS
    if noun.number > 1:
        case, ending = (2 if noun.number < 5 and not asked else 3), 5
    elif definite:
        case, ending = 0, "mfn".index(gender)
    else:
        case, ending = 1, {"m": 4 if animate else 0, "f": 3, "n": 2}[gender]
    adjectives = _adjectives(noun, "ru", lambda forms: forms[0] + lexicon.RUSSIAN_ENDINGS[forms[1]][ending])
    numeral = []
    if noun.number > 1:
        by_gender = lexicon.NUMERALS[noun.number].forms["ru"]
        numeral = [("сколько" if asked else by_gender[gender == "f"], "number")]
    return [*numeral, *adjectives, (forms[case], "noun")]


def _swahili_class(noun: Noun) -> int:
    singular = 1 if noun.concept in lexicon.BEINGS else int(_entry(noun.concept).forms["sw"][0])
    return singular if noun.number == 1 else lexicon.SWAHILI_PLURAL_CLASS[singular]


def _swahili_agreed(stem: str, noun_class: int, numeral: bool = False) -> str:
    before_vowel, before_consonant, before_numeral, connective, *_ = lexicon.SWAHILI_CONCORDS[noun_class]
    if stem.startswith("="):
        return stem[1:]
    if stem.startswith("of "):
        return f"{connective} {stem[3:]}"
    if (stem, noun_class) in lexicon.SWAHILI_IRREGULAR:
        return lexicon.SWAHILI_IRREGULAR[stem, noun_class]
    return (before_numeral if numeral else before_vowel if stem[0] in "aeiou" else before_consonant) + stem


def _swahili(noun: Noun, definite: bool, negated: bool, asked: bool) -> list[Segment]:
    noun_class, forms = _swahili_class(noun), _entry(noun.concept).forms["sw"]
    word = forms[0] if noun.concept in lexicon.BEINGS else forms[1 if noun.number == 1 else 2]
    words = [(word, "noun"), *_adjectives(noun, "sw", lambda stem: _swahili_agreed(stem[0], noun_class))]
    if noun.number > 1:
        stem = "ngapi" if asked else lexicon.NUMERALS[noun.number].forms["sw"][0]
        words.append((_swahili_agreed(stem, noun_class, numeral=True), "number"))
    return words


def _chinese(noun: Noun, definite: bool, negated: bool, asked: bool) -> list[Segment]:
    word, measure = _entry(noun.concept).forms["zh"]
    numeral = lexicon.NUMERALS[noun.number].forms["zh"][0] if noun.number > 1 else "那" if definite else "一"
    words = [("几" if asked else numeral, "number" if noun.number > 1 else "article"), (measure, "measure")]
    if negated and noun.number == 1:
        words = []
    for adjective in _adjectives(noun, "zh", lambda forms: forms[0]):
        words += [adjective, ("的", "of")]
    return [*words, (word, "noun")]


_NOUN_PHRASE = {"en": _english, "de": _german, "ru": _russian, "sw": _swahili, "zh": _chinese}


def noun_phrase(
    noun: Noun, slot: str, language: str, definite: bool = False, negated: bool = False, asked: bool = False
) -> list[Segment]:
    """The noun as a definite subject or an indefinite object; `asked` puts "how many" for the numeral."""
    if not (noun.concept in lexicon.OBJECTS or noun.concept in lexicon.BEINGS):
        return [(noun.concept, slot)]
    return [(text, f"{slot}.{part}") for text, part in _NOUN_PHRASE[language](noun, definite, negated, asked)]


def time_phrase(time: str, language: str) -> str:
    if time.isdigit():
        return lexicon.YEAR_PHRASE[language].format(time)
    return lexicon.TIMES[time].forms[language][0]


def _is_feminine(agent: Noun) -> bool:
    if agent.concept in lexicon.BEINGS:
        return lexicon.BEINGS[agent.concept].forms["ru"][0] == "f"
    return agent.concept in lexicon.NAMES["f"] + lexicon.HELD_OUT_NAMES["f"]


def _verb(clause: Clause, language: str) -> dict[str, str]:
    """The verb's slots: verb, and where the language parts them: complement, not, auxiliary, base."""
    negated = clause.negated
    if clause.verb in lexicon.WEATHER:
        verb, *rest = lexicon.WEATHER[clause.verb].forms[language]
        return {"verb": verb, "complement": rest[0] if rest else "", "agent": lexicon.WEATHER_AGENT.get(language, "")}
    state = clause.verb in lexicon.STATES
    forms = (lexicon.STATES if state else lexicon.VERBS)[clause.verb].forms[language]
    if language == "en" and state:
        return {"verb": "was not" if negated else "was", "complement": forms[0], "auxiliary": "was"}
    if language == "en":
        return {"verb": f"did not {forms[1]}" if negated else forms[0], "auxiliary": "did", "base": forms[1]}
    if language == "ru":
        feminine = clause.agent is not None and _is_feminine(clause.agent)
        return {"verb": ("не " if negated else "") + forms[feminine]}
    if language == "sw":
        return {"verb": forms[negated]}
    if language == "de":
        if state and forms[1]:
            return {"verb": forms[0], "complement": forms[1 + negated]}
        said_by_article = clause.thing is not None and clause.thing.number == 1
        return {"verb": forms[0], "not": "nicht" if negated and not said_by_article else ""}
    if clause.verb == "be":
        return {"not": forms[negated]}
    if state:
        return {"complement": forms[negated]}
    return {"verb": "没有" + forms[0] if negated else forms[0] + "了"}


def _slots(clause: Clause, language: str) -> dict[str, list[Segment]]:
    slots = {slot: [(text, slot)] for slot, text in _verb(clause, language).items() if text}
    if clause.agent:
        slots["agent"] = noun_phrase(clause.agent, "agent", language, definite=True)
    if clause.thing:
        slots["thing"] = noun_phrase(clause.thing, "thing", language, negated=clause.negated)
    if clause.person and lexicon.VERBS[clause.verb].kind == "source":
        slots["source"] = [(lexicon.SOURCE[language].format(clause.person), "source")]
    elif clause.person:
        slots["person"] = [(clause.person, "person")]
    if clause.place:
        slots["place"] = [(lexicon.PLACES[clause.place].forms[language][0], "place")]
    if clause.time:
        slots["time"] = [(time_phrase(clause.time, language), "time")]
    return slots


def segments(clause: Clause, language: str, front: str | None = None) -> list[Segment]:
    """The statement's segments in order; `front` ("time" or "place") is said first (German then inverts)."""
    slots = _slots(clause, language)
    order = lexicon.STATEMENT_ORDER[language].split()
    # "In the garden Anna was" is no sentence.
    if front is not None and front in slots and (clause.verb, front) != ("be", "place"):
        order.remove(front)
        if language == "de":
            order[:2] = ["verb", "agent"]
        order.insert(0, front)
    return [segment for slot in order for segment in slots.get(slot, [])]


def join(parts: list[Segment], gap: str, end: str) -> Sentence:
    """Write segments as one sentence: gaps, a capital, a full stop, and every slot's span."""
    text = ""
    spans: dict[str, tuple[int, int]] = {}
    for piece, slot in parts:
        if text:
            text += gap
        start, text = len(text), text + piece
        for name in (slot, slot.partition(".")[0]):
            spans[name] = (spans[name][0] if name in spans else start, len(text))
    return Sentence(text[0].upper() + text[1:] + end, spans)


def statement(clause: Clause, language: str, front: str | None = None) -> Sentence:
    return join(segments(clause, language, front), lexicon.GAP[language], lexicon.END[language])


def compound(first: list[Segment], second: list[Segment], language: str) -> str:
    """Two statements, given as segments, as one sentence."""
    connective = (lexicon.CONNECTIVE[language], "and")
    gap = lexicon.GAP[language]
    spaced = [[segment for part in parts for segment in (part, (gap, "gap"))][:-1] for parts in (first, second)]
    return join([*spaced[0], connective, *spaced[1]], "", lexicon.END[language]).text


def question(clause: Clause, asked: str, language: str) -> str:
    """Ask for one slot of the clause: agent, person, thing, place, time, number or colour (of the thing)."""
    if asked == "colour":
        return _colour_question(clause, language)
    word = lexicon.QUESTION_WORDS[language][asked]
    asks_who = asked == "agent"
    # Russian "кто" takes the masculine whoever it was.
    slots = _slots(replace(clause, agent=Noun("judge")) if asks_who else clause, language)
    target = "thing" if asked == "number" else asked
    asked_part = [(word, "wh")]
    if asked == "number":
        assert clause.thing is not None
        asked_part = noun_phrase(clause.thing, "thing", language, asked=True)
    in_place = language not in lexicon.QUESTION_ORDER or (language == "en" and asks_who)
    if in_place:
        slots[target] = asked_part
        order = lexicon.STATEMENT_ORDER[language].split()
    else:
        slots.pop(target)
        slots["wh"] = asked_part
        order = lexicon.QUESTION_ORDER[language].split()
    parts = [segment for slot in order for segment in slots.get(slot, [])]
    return join(parts, lexicon.GAP[language], lexicon.QUESTION_END[language]).text


def _colour_question(clause: Clause, language: str) -> str:
    assert clause.thing is not None
    noun, forms = clause.thing, _entry(clause.thing.concept).forms[language]
    slots = _slots(clause, language)
    texts = {slot: lexicon.GAP[language].join(text for text, _ in parts) for slot, parts in slots.items()}
    words = {"person": "", "source": "", "place": "", "time": ""} | texts
    animate = noun.concept in lexicon.BEINGS
    words["noun"] = forms[0]
    if language == "de":
        words |= {"noun": forms[1], "the": lexicon.GERMAN_DEFINITE[forms[0]],
                  "which": lexicon.GERMAN_RELATIVE_ACCUSATIVE[forms[0]]}  # fmt: skip
    elif language == "ru":
        gender = "animate m" if animate and forms[0] == "m" else forms[0]
        words |= {"noun": forms[1], "which": lexicon.RUSSIAN_WHICH_ACCUSATIVE[gender]}
    elif language == "sw":
        concords = lexicon.SWAHILI_CONCORDS[_swahili_class(noun)]
        words |= {"noun": forms[0 if animate else 1].capitalize(), "which": concords[4], "was": concords[5],
                  "of": concords[3]}  # fmt: skip
    elif language == "zh":
        words["verb"] = lexicon.VERBS[clause.verb].forms["zh"][0]
    text = re.sub(" +", " ", lexicon.COLOUR_QUESTION[language].format(**words))
    return re.sub(r" ([?,])", r"\1", text)
