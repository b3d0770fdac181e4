"""The sandbox's task items: made as facts and spoken afterwards, so that an item is the same in every language.

The hypothesis of an inference item is drawn without regard to its label, and the premise for both: a hypothesis
alone says nothing about the label, by construction.  A paraphrase item's word order is drawn without regard to its
label likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple

from trainers.sandbox.language import lexicon, world
from trainers.sandbox.language.grammar import Clause, Noun, compound, question, segments, statement

ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
FRONTS = (None, None, "time", "place")
PLAIN_SHARE = 0.8
"""Of inference pairs, those that are not told apart by their content alone."""
REPLYING_SHARE = 0.4
"""Of plain premises that tell or deny a fact, those that begin with yes or no."""


class Utterance(NamedTuple):
    """A clause with what is said first in it; the spoken form is chosen apart from the meaning."""

    clause: Clause
    front: str | None
    reply: int | None = None
    """Told as the answer to somebody, which begins with yes, maybe or no (a label): "Maybe, Eva slept."; of a single
    sentence only."""


@dataclass(frozen=True)
class Pair:
    """Two sentences of one or two clauses each, and a label."""

    first: tuple[Utterance, ...]
    second: tuple[Utterance, ...]
    label: int

    def texts(self, language: str) -> tuple[str, str]:
        return speak(self.first, language), speak(self.second, language)


@dataclass(frozen=True)
class SpanItem:
    """A context of several facts and a question about one slot of the fact number `about`."""

    context: tuple[Utterance, ...]
    about: int
    asked: str
    question: Clause

    def texts(self, language: str) -> tuple[str, str, str, int]:
        """Context, question, answer and the answer's first character in the context."""
        gap, sentences = lexicon.GAP[language], [statement(*arguments(said, language)) for said in self.context]
        answer, start = sentences[self.about].answer(ANSWER_SLOTS.get(self.asked, self.asked))
        start += sum(len(sentence.text) + len(gap) for sentence in sentences[: self.about])
        context = gap.join(sentence.text for sentence in sentences)
        return context, question(self.question, self.asked, language), answer, start

    def without_answer(self, language: str) -> tuple[str, str]:
        """Context without the fact that is asked about, and the question."""
        others = [said for number, said in enumerate(self.context) if number != self.about]
        context = lexicon.GAP[language].join(statement(*arguments(said, language)).text for said in others)
        return context, question(self.question, self.asked, language)


ANSWER_SLOTS = {"colour": "thing.colour", "number": "thing.number"}


def speak(utterances: Sequence[Utterance], language: str) -> str:
    """One clause as a statement, two as a compound sentence."""
    if len(utterances) == 1:
        [said] = utterances
        if said.reply is None:
            return statement(*arguments(said, language)).text
        told = lexicon.GAP[language].join(text for text, _ in segments(*arguments(said, language)))
        return f"{lexicon.REPLIES[language][said.reply]}{lexicon.COMMA[language]}{told}{lexicon.END[language]}"
    first, second = (segments(*arguments(utterance, language)) for utterance in utterances)
    return compound(first, second, language)


def arguments(utterance: Utterance, language: str) -> tuple[Clause, str, str | None]:
    return utterance.clause, language, utterance.front


# --- natural language inference ----------------------------------------------------------------------------


def wider(clause: Clause, random: Random) -> Clause | None:
    """Something that the (positive) clause entails, or None if it is as general as can be."""
    choices = world.changed(clause, world.LESS, random) + world.generalised(clause)
    return random.choice(choices) if choices else None


def _narrower(clause: Clause, random: Random) -> Clause:
    """Something that entails the clause (possibly the clause itself)."""
    return world.enriched(world.specialised(clause, random) if random.random() < 0.8 else clause, random)


def _entailing(hypothesis: Clause, random: Random, names: Sequence[str]) -> Clause:
    if not hypothesis.negated:
        return _narrower(hypothesis, random)
    positive = replace(hypothesis, negated=False)
    if hypothesis.verb in lexicon.OPPOSITES and hypothesis.verb in lexicon.STATES and random.random() < 0.5:
        return world.enriched(replace(positive, verb=lexicon.OPPOSITES[hypothesis.verb]), random)
    return replace(wider(positive, random) or positive, negated=True)


def _contradicting(hypothesis: Clause, random: Random, names: Sequence[str]) -> Clause:
    if hypothesis.negated:
        return _narrower(replace(hypothesis, negated=False), random)
    others = world.changed(hypothesis, world.OTHER_VALUE, random)
    if not others or random.random() < 0.25:
        return replace(wider(hypothesis, random) or hypothesis, negated=True)
    return _narrower(random.choice(others), random)


def _neutral(hypothesis: Clause, random: Random, names: Sequence[str]) -> Clause:
    another = world.other_agent(hypothesis, random, names)
    if hypothesis.negated:
        narrower = world.enriched(hypothesis, random, share=1.0)
        return random.choice([another] + [narrower] * (narrower != hypothesis))
    more = world.enriched(hypothesis, random)
    others = [world.enriched(clause, random) for clause in [another, *world.generalised(hypothesis)]]
    # Drop only what the hypothesis said: dropping an addition would leave an entailment.
    for less in world.LESS:
        if less(hypothesis, random) is not None:
            unsaid = less(more, random)
            assert unsaid is not None
            others.append(unsaid)
    if more != hypothesis:
        others.append(replace(more, negated=True))
    return random.choice(others)


_PREMISES = {ENTAILMENT: _entailing, NEUTRAL: _neutral, CONTRADICTION: _contradicting}


def _hypothesis(random: Random, names: Sequence[str]) -> Clause:
    clause = world.sample_clause(random, names, name_share=0.5, modifier_share=0.7)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        clause = random.choice(world.changed(clause, world.LESS, random) or [clause])
    if random.random() < 0.5:
        clause = random.choice(world.generalised(clause) or [clause])
    may_negate = bool(world.changed(clause, world.LESS, random)) and clause.person is None
    return replace(clause, negated=may_negate and random.random() < 0.2)


def inference(random: Random, label: int, names: Sequence[str] = world.TRAINING_NAMES) -> Pair:
    """Four pairs of five are plain: the premise tells the fact and more, or that it may be, or denies it, some of them
    as replies.  The others are told apart by their content alone, which small encoders hardly learn."""
    if random.random() >= PLAIN_SHARE:
        return inference_by_content(random, label, names)
    hypothesis = world.sample_clause(random, names, name_share=0.6, modifier_share=0.5)
    less = (wider(hypothesis, random) if random.random() < 0.5 else None) or hypothesis
    premise = {ENTAILMENT: world.enriched(hypothesis, random), NEUTRAL: world.enriched(hypothesis, random),
               CONTRADICTION: replace(less, negated=True)}[label]  # fmt: skip
    word = label if label == NEUTRAL or random.random() < REPLYING_SHARE else None
    said = Utterance(premise, random.choice(FRONTS), word)
    return Pair((said,), (Utterance(hypothesis, random.choice(FRONTS)),), label)


def inference_by_content(random: Random, label: int, names: Sequence[str] = world.TRAINING_NAMES) -> Pair:
    """Premise and hypothesis share most words; what follows depends on which differ, on negations and on general words.

    Both may be negated; the hypothesis is drawn without regard to the label."""
    hypothesis = Utterance(_hypothesis(random, names), random.choice(FRONTS))
    premise = hypothesis
    while speak([premise], "en") == speak([hypothesis], "en"):
        clause = _PREMISES[label](hypothesis.clause, random, names)
        premise = Utterance(clause, random.choice(FRONTS))
    return Pair((premise,), (hypothesis,), label)


# --- paraphrase --------------------------------------------------------------------------------------------


def _swapped(first: Clause, second: Clause, random: Random) -> tuple[Clause, Clause]:
    """The two clauses with one part exchanged between them, so that both say something else."""
    assert first.thing is not None
    assert second.thing is not None
    recoloured = replace(first.thing, colour=second.thing.colour), replace(second.thing, colour=first.thing.colour)
    exchanged: dict[str, tuple[Any, Any]] = {"thing": recoloured}
    for part in ("agent", "place", "time"):
        exchanged[part] = getattr(second, part), getattr(first, part)
    part = random.choice([part for part, (new, _) in exchanged.items() if new != getattr(first, part)])
    return replace(first, **{part: exchanged[part][0]}), replace(second, **{part: exchanged[part][1]})


def _two_facts(random: Random, label: int) -> Pair:
    names = random.sample(world.TRAINING_NAMES, 2)
    first, second = (world.sample_clause(random, [name], ("thing",), 1.0, 0.5) for name in names)
    fronts = [random.choice(FRONTS) for _ in range(4)]
    said = (Utterance(first, fronts[0]), Utterance(second, fronts[1]))
    if label == 0:
        first, second = _swapped(first, second, random)
    restated = (Utterance(first, fronts[2]), Utterance(second, fronts[3]))
    return Pair(said, restated[::-1] if random.random() < 0.5 else restated, label)


def _transfer(random: Random, label: int) -> Pair:
    clause = world.sample_clause(random, frames=("give",))
    while clause.verb not in lexicon.CONVERSES:
        clause = world.sample_clause(random, frames=("give",))
    return _one_fact(random, label, clause, [converse(clause), clause])


def _encounter(random: Random, label: int) -> Pair:
    clause = world.sample_clause(random, frames=("person",), modifier_share=0.9)
    return _one_fact(random, label, clause, [clause])


def converse(clause: Clause) -> Clause:
    """Who gave is told as who received: "Anna gave Ben a key" as "Ben received a key from Anna"."""
    return replace(roles_exchanged(clause), verb=lexicon.CONVERSES[clause.verb])


def roles_exchanged(clause: Clause) -> Clause:
    assert clause.agent is not None
    assert clause.person is not None
    return replace(clause, agent=Noun(clause.person), person=clause.agent.concept)


def _one_fact(random: Random, label: int, clause: Clause, tellings: Sequence[Clause]) -> Pair:
    said, restated = random.choice(tellings), random.choice(tellings)
    if label == 0:
        restated = roles_exchanged(restated)
    first, second = Utterance(said, random.choice(FRONTS)), Utterance(restated, random.choice(FRONTS))
    return Pair((first,), (second,), label)


_PARAPHRASE_FAMILIES = (_two_facts, _two_facts, _transfer, _encounter)


def paraphrase(random: Random, label: int) -> Pair:
    """A pair of high lexical overlap that says the same (label 1) or exchanges two parts (label 0)."""
    family = random.choice(_PARAPHRASE_FAMILIES)
    while True:
        pair = family(random, label)
        first, second = pair.texts("en")
        if first != second:
            return pair


# --- questions ---------------------------------------------------------------------------------------------


def can_ask(clause: Clause, asked: str) -> bool:
    thing = clause.thing
    if asked == "colour":
        return thing is not None and thing.number == 1 and thing.colour is not None
    if asked == "number":
        return thing is not None and thing.number > 1
    if asked == "person":
        return clause.person is not None and lexicon.VERBS[clause.verb].kind == "person"
    return getattr(clause, asked) is not None


def _sounds_alike(first: Clause, second: Clause) -> bool:
    """Whether "who did that?" could ask for either."""
    verbs = lexicon.VERBS | lexicon.STATES
    return verbs[first.verb].forms["en"] == verbs[second.verb].forms["en"]


ASKED = ("agent", "agent", "thing", "thing", "place", "time", "number", "colour", "person")


def span(random: Random) -> SpanItem:
    """A context of 2 or 3 facts about different agents, and a question that only one of them answers."""
    asked = random.choice(ASKED)
    while True:
        clauses: list[Clause] = []
        while len(clauses) < random.choice((2, 3)):
            clause = world.sample_clause(random, name_share=0.75, frames=("thing",) * 3 + world.FRAMES)
            same_verb = clauses and clauses[0].thing and clause.thing and random.random() < 0.4
            if same_verb and lexicon.VERBS[clause.verb].kind == lexicon.VERBS[clauses[0].verb].kind:
                clause = replace(clause, verb=clauses[0].verb, thing=world.sample_thing(random, clauses[0].verb))
            if all(clause.agent != other.agent for other in clauses):
                clauses.append(clause)
        about = random.randrange(len(clauses))
        target = clauses[about]
        alike = sum(_sounds_alike(target, clause) for clause in clauses)
        if can_ask(target, asked) and not (asked == "agent" and alike > 1):
            break
    asking = target
    if asked != "place" and target.verb != "be" and random.random() < 0.5:
        asking = replace(asking, place=None)
    if asked != "time" and random.random() < 0.5:
        asking = replace(asking, time=None)
    return SpanItem(tuple(Utterance(clause, random.choice(FRONTS)) for clause in clauses), about, asked, asking)


# --- retrieval ---------------------------------------------------------------------------------------------


def sentence(random: Random) -> dict[str, str]:
    """One sentence (statement, denial, question or weather) in every language."""
    draw = random.random()
    clause = world.sample_weather(random) if draw < 0.1 else world.sample_clause(random, modifier_share=0.5)
    if draw > 0.8 and clause.time:
        return {language: question(clause, "time", language) for language in lexicon.LANGUAGES}
    if 0.6 < draw <= 0.8:
        clause = replace(clause, negated=True)
    front = random.choice(FRONTS)
    return {language: speak([Utterance(clause, front)], language) for language in lexicon.LANGUAGES}
