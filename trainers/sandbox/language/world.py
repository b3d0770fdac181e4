"""The sandbox's world: which facts can be, and what follows from what.

One assumption makes the logic small: two sentences of a pair speak of the same event, so that two colours, places or
weekdays of one event contradict each other (the assumption SNLI's annotators were given).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from trainers.sandbox.language import lexicon
from trainers.sandbox.language.grammar import Clause, Noun

TRAINING_NAMES = lexicon.NAMES["f"] + lexicon.NAMES["m"]
HELD_OUT_NAMES = lexicon.HELD_OUT_NAMES["f"] + lexicon.HELD_OUT_NAMES["m"]

_COLOURS = [concept for concept, entry in lexicon.ADJECTIVES.items() if entry.kind == "colour"]
_QUALITIES = [concept for concept, entry in lexicon.ADJECTIVES.items() if entry.kind != "colour"]
_SIZES = [concept for concept, entry in lexicon.ADJECTIVES.items() if entry.kind == "size"]
_PLACES = [concept for concept, entry in lexicon.PLACES.items() if entry.kind != "kind"]
_BEINGS = [concept for concept, entry in lexicon.BEINGS.items() if entry.kind != "kind"]
_OBJECTS = [concept for concept, entry in lexicon.OBJECTS.items() if entry.kind != "kind"]
_BY_FRAME: dict[str, list[str]] = {}
for _verb, _entry in (lexicon.VERBS | lexicon.STATES).items():
    _BY_FRAME.setdefault(_entry.kind, []).append(_verb)
FRAMES = tuple(_BY_FRAME)


def _allowed(verb: str) -> list[str]:
    kinds = lexicon.VERBS[verb].objects
    beings = [concept for concept in _BEINGS if lexicon.BEINGS[concept].kind in kinds]
    return beings + [concept for concept in _OBJECTS if "*" in kinds or lexicon.OBJECTS[concept].kind in kinds]


_ALLOWED = {verb: _allowed(verb) for verb, entry in lexicon.VERBS.items() if entry.kind in ("thing", "give", "source")}


def hypernym(concept: str | None) -> str | None:
    """The more general concept that the lexicon can also speak, if any: pigeon → bird → animal, bathroom → house."""
    for table in (lexicon.BEINGS, lexicon.OBJECTS, lexicon.PLACES):
        if concept in table:
            kind = table[concept].kind
            return kind if kind in table else None
    return None


def hyponyms(concept: str | None) -> list[str]:
    return [c for table in (lexicon.BEINGS, lexicon.OBJECTS, lexicon.PLACES) for c in table if hypernym(c) == concept]


def _draw(random: Random, probability: float, choices: Sequence[str]) -> str | None:
    return random.choice(choices) if random.random() < probability else None


def sample_time(random: Random) -> str:
    return str(random.choice(lexicon.YEARS)) if random.random() < 0.15 else random.choice(list(lexicon.TIMES))


def sample_thing(random: Random, verb: str) -> Noun:
    """A thing that the verb can be done to; a being's number is always one."""
    concept = random.choice(_ALLOWED[verb])
    if concept in lexicon.BEINGS:
        return Noun(concept, quality=_draw(random, 0.3, _SIZES), colour=_draw(random, 0.4, _COLOURS))
    number = random.choice(list(lexicon.NUMERALS)) if random.random() < 0.35 else 1
    return Noun(concept, number, _draw(random, 0.25, _QUALITIES), _draw(random, 0.6, _COLOURS))


def sample_agent(random: Random, names: Sequence[str], name_share: float) -> Noun:
    if random.random() < name_share:
        return Noun(random.choice(names))
    concept = random.choice(_BEINGS)
    is_animal = lexicon.BEINGS[concept].kind != "person"
    return Noun(concept, quality=_draw(random, 0.15, _SIZES), colour=_draw(random, 0.25 * is_animal, _COLOURS))


def sample_clause(
    random: Random,
    names: Sequence[str] = TRAINING_NAMES,
    frames: Sequence[str] = FRAMES,
    name_share: float = 0.6,
    modifier_share: float = 0.75,
) -> Clause:
    """A random fact; `modifier_share` is the probability of a place, and of a time."""
    frame = random.choice(frames)
    verb = random.choice(_BY_FRAME[frame])
    agent = sample_agent(random, names, name_share if frame in ("thing", "alone", "state", "place") else 1.0)
    place = _draw(random, modifier_share, _PLACES)
    thing = sample_thing(random, verb) if frame in ("thing", "give", "source") else None
    person = None
    if frame in ("person", "give", "source"):
        person = random.choice([name for name in names if name != agent.concept])
    if frame == "place" and place is None:
        place = random.choice(_PLACES)
    time = sample_time(random) if random.random() < modifier_share else None
    return Clause(verb, agent, thing, person, place, time)


def sample_weather(random: Random) -> Clause:
    return Clause(random.choice(list(lexicon.WEATHER)), place=random.choice(_PLACES), time=sample_time(random))


# --- the parts of a clause that can be set, dropped, generalised or contradicted -------------------------------------

Change = Callable[[Clause, Random], Clause | None]  # None: this clause has no such part


def _other(random: Random, value: str, choices: Sequence[str]) -> str:
    return random.choice([choice for choice in choices if choice != value])


def _on_thing(**changes: Any) -> Callable[[Clause], Clause]:
    """What is said of the thing, changed; a clause without one stays as it is."""
    return lambda clause: replace(clause, thing=clause.thing and replace(clause.thing, **changes))


def _with_agent(clause: Clause, **changes: Any) -> Clause:
    return replace(clause, agent=clause.agent and replace(clause.agent, **changes))


def _other_colour(clause: Clause, random: Random) -> Clause | None:
    if not (clause.thing and clause.thing.colour):
        return None
    return _on_thing(colour=_other(random, clause.thing.colour, _COLOURS))(clause)


def _other_quality(clause: Clause, random: Random) -> Clause | None:
    if not (clause.thing and clause.thing.quality):
        return None
    return _on_thing(quality=lexicon.OPPOSITES[clause.thing.quality])(clause)


def _other_number(clause: Clause, random: Random) -> Clause | None:
    if not (clause.thing and clause.thing.number > 1):
        return None
    others = [number for number in lexicon.NUMERALS if number != clause.thing.number]
    return _on_thing(number=random.choice(others))(clause)


def _other_place(clause: Clause, random: Random) -> Clause | None:
    if clause.place is None:
        return None
    house = "house" in (clause.place, hypernym(clause.place))
    far = [place for place in _PLACES if place != clause.place and not (house and hypernym(place) == "house")]
    return replace(clause, place=random.choice(far))


def _other_time(clause: Clause, random: Random) -> Clause | None:
    if clause.time is None:
        return None
    if clause.time.isdigit():
        return replace(clause, time=_other(random, clause.time, [str(year) for year in lexicon.YEARS]))
    kind = lexicon.TIMES[clause.time].kind
    alike = [time for time, entry in lexicon.TIMES.items() if entry.kind == kind]
    return replace(clause, time=_other(random, clause.time, alike))


def _opposite_verb(clause: Clause, random: Random) -> Clause | None:
    opposite = lexicon.OPPOSITES.get(clause.verb)
    return replace(clause, verb=opposite) if opposite else None


OTHER_VALUE: tuple[Change, ...] = (
    _other_colour, _other_quality, _other_number, _other_place, _other_time, _opposite_verb,
)  # fmt: skip


def _dropping(drop: Callable[[Clause], Clause]) -> Change:
    """The change that `drop` makes, where there is something to drop."""
    return lambda clause, _: less if (less := drop(clause)) != clause else None


# A number is never dropped: "an apple" would say that it was one.
LESS: tuple[Change, ...] = (
    _dropping(_on_thing(colour=None)),
    _dropping(_on_thing(quality=None)),
    _dropping(lambda clause: clause if clause.verb == "be" else replace(clause, place=None)),
    _dropping(lambda clause: replace(clause, time=None)),
    _dropping(lambda clause: _with_agent(clause, colour=None, quality=None)),
)


def changed(clause: Clause, changes: Sequence[Change], random: Random) -> list[Clause]:
    """What each change makes of the clause, for those that have something to change in it."""
    return [result for change in changes if (result := change(clause, random)) is not None]


def other_agent(clause: Clause, random: Random, names: Sequence[str]) -> Clause:
    """The same said of somebody else of the same kind."""
    assert clause.agent is not None
    concept = clause.agent.concept
    if concept in lexicon.BEINGS:
        kind = lexicon.BEINGS[concept].kind
        alike = [being for being in lexicon.BEINGS if lexicon.BEINGS[being].kind == kind]
    else:
        alike = [name for name in names if name != clause.person]
    return _with_agent(clause, concept=_other(random, concept, alike))


def generalised(clause: Clause) -> list[Clause]:
    """Every clause with one concept replaced by a more general one."""
    wider = []
    if clause.agent and (concept := hypernym(clause.agent.concept)):
        wider.append(_with_agent(clause, concept=concept))
    if clause.thing and (concept := hypernym(clause.thing.concept)):
        wider.append(_on_thing(concept=concept)(clause))
    if concept := hypernym(clause.place):
        wider.append(replace(clause, place=concept))
    if verb := lexicon.GENERAL_VERB.get(clause.verb):
        wider.append(replace(clause, verb=verb))
    return wider


def specialised(clause: Clause, random: Random) -> Clause:
    """Replace the clause's general concepts by special ones, where it has any."""
    if clause.agent and (below := hyponyms(clause.agent.concept)):
        clause = _with_agent(clause, concept=random.choice(below))
    if clause.thing and (below := hyponyms(clause.thing.concept)):
        clause = _on_thing(concept=random.choice(below))(clause)
    if clause.place and (below := hyponyms(clause.place)):
        clause = replace(clause, place=random.choice(below))
    special = [verb for verb, general in lexicon.GENERAL_VERB.items() if general == clause.verb]
    return replace(clause, verb=random.choice(special)) if special else clause


def enriched(clause: Clause, random: Random, share: float = 0.6) -> Clause:
    """Say more: each missing modifier is added with probability `share`."""
    thing = clause.thing
    if thing and not thing.colour and (colour := _draw(random, share, _COLOURS)):
        clause = _on_thing(colour=colour)(clause)
    if thing and not thing.quality and (quality := _draw(random, share / 3, _SIZES)):
        clause = _on_thing(quality=quality)(clause)
    if clause.place is None and (place := _draw(random, share, _PLACES)):
        clause = replace(clause, place=place)
    if clause.time is None and random.random() < share:
        clause = replace(clause, time=sample_time(random))
    return clause
