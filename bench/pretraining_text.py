"""The text that the sandbox's encoders are pre-trained on, and the tokeniser learnt from it.

Of a hundred documents 40 are translations side by side (translation language modelling, Conneau & Lample 2019, section
3.3), 25 are dialogues in which somebody agrees, doubts or denies, 15 are questions with their answers and the text that
gives them, 10 are code-switched and 10 are monolingual.  They tell facts of the same world as the tasks, drawn with
another seed.  Replies and answers are words like others, masked as rarely: from them an encoder can learn what follows
from what, as large ones do from the discourse markers of real text (Nie et al. 2019), so that the tasks, whose labels
and spans it never sees, are learnt in few steps.  A short sentence can by chance occur in both.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from trainers.sandbox.language import items, world
from trainers.sandbox.language.grammar import Segment, join, question, segments
from trainers.sandbox.language.lexicon import CONNECTIVE, END, GAP, LANGUAGES, QUESTION_WORDS, REPLIES

VOCABULARY = 1500
MAX_TOKENS = 128
NAMES = world.TRAINING_NAMES + world.HELD_OUT_NAMES
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # XLM-R's ids 0 to 3; <mask> comes last
PUNCTUATION = "[.,?。，？]"
# Both are seen by the tokeniser's trainer only: where a word ends that no space ends, and see `_twice`.
WORD_BREAK = "¦"
WORD_MARK = "¶"

# A document is one text, or two that go into one input as XLM-R's pair.
Document = tuple[str, ...]


# --- text ------------------------------------------------------------------------------------------------------------


def _utterance(random: Random) -> items.Utterance:
    if random.random() < 0.05:
        return items.Utterance(world.sample_weather(random), random.choice(items.FRONTS))
    clause = world.sample_clause(random, NAMES, modifier_share=random.choice((0.4, 0.8)))
    if random.random() < 0.2:
        clause = random.choice(world.generalised(clause) or [clause])
    clause = replace(clause, negated=random.random() < 0.15)
    return items.Utterance(clause, random.choice(items.FRONTS))


def _restated(utterance: items.Utterance, random: Random) -> items.Utterance:
    """The same fact in another order, or something that follows from it."""
    clause = utterance.clause
    for _ in range(random.choice((0, 1, 2))):
        if not clause.negated:
            clause = items.wider(clause, random) or clause
    return items.Utterance(clause, random.choice(items.FRONTS))


def _asked(utterance: items.Utterance, random: Random) -> str | None:
    """A slot of the fact that can be asked for; None for the weather, of which nobody asks here."""
    possible = [asked for asked in sorted(set(items.ASKED)) if items.can_ask(utterance.clause, asked)]
    return random.choice(possible) if utterance.clause.agent else None


def _question(utterance: items.Utterance, asked: str, language: str) -> str:
    return question(replace(utterance.clause, negated=False), asked, language)


def _code_switched(utterance: items.Utterance, random: Random) -> str:
    """The sentence in one language's order, with some of its parts spoken in another."""
    outer, inner = random.sample(LANGUAGES, 2)
    by_slot: dict[str, list[Segment]] = defaultdict(list)
    for text, slot in segments(utterance.clause, inner):
        by_slot[slot.split(".")[0]].append((text, slot))
    parts = []
    for slot, group in groupby(segments(*items.arguments(utterance, outer)), lambda segment: segment[1].split(".")[0]):
        switched = slot in by_slot and random.random() < 0.5
        words, language = (by_slot[slot], inner) if switched else (list(group), outer)
        parts.append(GAP[language].join(text for text, _ in words))
    text = " ".join(parts)
    return text[0].upper() + text[1:] + "."


def _passage(utterances: Sequence[items.Utterance], language: str, compound: bool = False) -> str:
    if compound and len(utterances) == 2:
        return items.speak(utterances, language)
    return GAP[language].join(items.speak([utterance], language) for utterance in utterances)


def _monolingual(random: Random, switched: bool) -> Document:
    """Some facts and, in about two thirds of the documents, one of them said again or asked for."""
    language = random.choice(LANGUAGES)
    utterances = [_utterance(random) for _ in range(random.choice((1, 1, 2, 3)))]
    about = random.choice(utterances)
    second_language = random.choice(LANGUAGES) if switched else language
    if switched:
        first = " ".join(_code_switched(utterance, random) for utterance in utterances)
    else:
        first = _passage(utterances, language, compound=random.random() < 0.3)
    draw = random.random()
    if draw < 0.45 and about.clause.agent:
        return first, items.speak([_restated(about, random)], second_language)
    if draw < 0.65 and (asked := _asked(about, random)):
        return _question(about, asked, second_language), first
    return (first,)


def _telling(random: Random) -> Document:
    return _monolingual(random, switched=False)


def _code_switching(random: Random) -> Document:
    return _monolingual(random, switched=True)


def _translation(random: Random) -> Document:
    """The same text in two languages: one or two facts, or a question."""
    first, second = random.sample(LANGUAGES, 2)
    utterances = [_utterance(random) for _ in range(random.choice((1, 1, 2)))]
    if random.random() < 0.25 and (asked := _asked(utterances[0], random)):
        return _question(utterances[0], asked, first), _question(utterances[0], asked, second)
    compound = random.random() < 0.3
    return _passage(utterances, first, compound), _passage(utterances, second, compound)


def _dialogue(random: Random) -> Document:
    """Somebody tells a fact; another, half the time in another language, agrees, doubts or denies: "No, Eva slept."."""
    label = random.randrange(len(REPLIES["en"]))
    pair = items.inference_by_content(random, label, NAMES)
    language = random.choice(LANGUAGES)
    replying = random.choice(LANGUAGES) if random.random() < 0.5 else language
    return items.speak(pair.first, language), items.speak([pair.second[0]._replace(reply=label)], replying)


def _answered(random: Random) -> Document:
    """A question with its answer, and the text that gives it: half the time in another language."""
    item = items.span(random)
    language = random.choice(LANGUAGES)
    asking = random.choice(LANGUAGES) if random.random() < 0.5 else language
    context, *_ = item.texts(language)
    _, question_text, answer, _ = item.texts(asking)
    return f"{question_text}{GAP[asking]}{answer[0].upper()}{answer[1:]}{END[asking]}", context


_KINDS: dict[Callable[[Random], Document], int] = {
    _translation: 40, _dialogue: 25, _answered: 15, _code_switching: 10, _telling: 10
}  # fmt: skip
"""Kinds of documents, and how many there are of each in a hundred."""


def documents(seed: int) -> Iterator[Document]:
    """Endless pre-training text of all kinds."""
    random = Random(f"{seed}/pretraining")
    kinds, weights = list(_KINDS), list(_KINDS.values())
    while True:
        [kind] = random.choices(kinds, weights)
        yield kind(random)


# --- tokeniser -------------------------------------------------------------------------------------------------------


def _tokeniser_text(seed: int, count: int) -> Iterator[str]:
    """Sentences of all languages; Chinese words and all punctuation are held apart, so that no piece spans them."""
    random = Random(f"{seed}/tokeniser")
    for _ in range(count):
        utterance = _utterance(random)
        for language in LANGUAGES:
            words = [*segments(*items.arguments(utterance, language)), (END[language], "end")]
            yield _held_apart(join(words, GAP[language] or WORD_BREAK, "").text)
            yield (GAP[language] or WORD_BREAK).join(REPLIES[language])
            if not GAP[language]:
                yield WORD_BREAK.join(CONNECTIVE[language])
                yield WORD_BREAK.join([*QUESTION_WORDS[language].values(), "的", "是", "什么", "颜色", "的", "？"])
                continue
            yield _held_apart(items.speak([utterance, utterance], language))
            if asked := _asked(utterance, random):
                yield _held_apart(_question(utterance, asked, language))


def _held_apart(text: str) -> str:
    return re.sub(f"({PUNCTUATION})", rf"{WORD_BREAK}\1{WORD_BREAK}", text)


def _twice(texts: Iterator[str]) -> Iterator[str]:
    """Each text as it is and with a mark after each word.

    The trainer proposes only pieces that occur in two different words, which in so small a lexicon would leave out
    the words themselves.
    """
    for text in texts:
        yield text
        yield re.sub(f"(?=[ {WORD_BREAK}]|$)", WORD_MARK, text)


def train_tokeniser(seed: int, sentences: int = 6000) -> PreTrainedTokenizerFast:
    """A unigram tokeniser over the five languages with XLM-R's special tokens, ids and pair format."""
    learner = Tokenizer(models.Unigram())
    metaspace = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    learner.normalizer = normalizers.NFKC()
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(WORD_BREAK, "removed"), metaspace])
    trainer = trainers.UnigramTrainer(vocab_size=VOCABULARY - len(SPECIAL_TOKENS), show_progress=False)
    learner.train_from_iterator(_twice(_tokeniser_text(seed, sentences)), trainer)
    learned = [
        (piece, score) for piece, score in json.loads(learner.to_str())["model"]["vocab"] if WORD_MARK not in piece
    ]

    pieces = [*((token, 0.0) for token in SPECIAL_TOKENS), *learned, ("<mask>", 0.0)]
    tokeniser = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL_TOKENS.index("<unk>")))
    tokeniser.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    split = pre_tokenizers.Split(Regex(PUNCTUATION), "isolated")
    tokeniser.pre_tokenizer = pre_tokenizers.Sequence([metaspace, split])
    tokeniser.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    tokeniser.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", SPECIAL_TOKENS.index("<s>")), ("</s>", SPECIAL_TOKENS.index("</s>"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokeniser, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=MAX_TOKENS,
    )  # fmt: skip
