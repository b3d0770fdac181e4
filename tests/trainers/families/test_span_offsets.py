"""Tokens know which characters of the original text they cover, whatever normalisation made of it."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.trainers.families.test_span import LENGTHS, TOKENIZER, encode, labelled, spans_of
from trainers.families import span
from trainers.network.batch import Batch
from trainers.network.heads import SpanHead
from trainers.tokens.columns import is_blank
from trainers.tokens.sets import BEGIN, END, Lengths, TokenisedSet

TRAPS = {
    "combining mark": ["и\u0306", "e\u0301", "n\u0303", "か\u3099", "a\u0323\u0302", "e\u0301\u0323"],
    "mark beyond the basic plane": ["\U00011099\U000110ba", "\U0001e900\U0001e944", "\U0001d158\U0001d165"],
    "vowel that composes but is no mark of its class": [
        "\u09ac\u09c7\u09be",
        "\u0b95\u0bc6\u0bbe",
        "\u1112\u1161\u11ab",
    ],
    "vowel sign": ["कि", "क्षि", "ไทำ", "น้ำ"],
    "emoji": ["🙂", "👩\u200d👩\u200d👧", "👍🏽", "❤\ufe0f", "🇩🇪", "#\ufe0f\u20e3"],
    "right to left": ["שָׁלוֹם", "مُحَمَّد", "\u200fאב\u200e"],
    "full width": ["ＡＢＣ", "１２", "ｶﾞ", "。"],
    "compatibility": ["ﬁ", "㎏", "½", "①", "ﷺ", "…", "\u2126", "\U0002f800"],
    "invisible": ["a\u00adb", "x\u200by", "\ufeff", "\u00a0", "\u2028", "  ", "\u3000"],
    "plain": ["Anna", "sees", "a", ".", " ", "学校"],
}
pieces = st.sampled_from(list(itertools.chain.from_iterable(TRAPS.values())))
texts = st.lists(pieces, min_size=1, max_size=40).map("".join).filter(lambda text: text.strip())


def decoded_texts(context: str, encoded: TokenisedSet, spans: list[tuple[int, int]]) -> list[str]:
    """What is answered when the logits of window 0 point at these pairs of tokens, by head and score."""
    length = int(encoded.starts[1])
    marks = torch.from_numpy(spans_of(encoded, 0).astype(np.int64)).expand(len(spans), -1, -1)
    logits = torch.zeros(len(spans), length, 2)
    for row, (first, last) in enumerate(spans):
        logits[row, first, 0] = logits[row, last, 1] = 9.0
    mask = torch.ones(len(spans), length, dtype=torch.bool)
    rows = SpanHead(4).decode(logits, Batch(mask.long(), mask, torch.zeros(len(spans), 2), marks, packing=None))
    question = ("who?", context, [(context, 0)])
    one_window_each = TokenisedSet.from_lists([[0]] * len(spans), [(0, 0)] * len(spans), list(range(len(spans))), (), 2)
    _, frame = span.score(labelled([question] * len(spans), one_window_each), rows.numpy())
    return frame["prediction"].to_list()


def answerable(encoded: TokenisedSet) -> list[int]:
    """Tokens of the context in window 0."""
    return np.flatnonzero(spans_of(encoded, 0)[:, 0] >= 0).tolist()


# -- windows ----------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(texts, st.sampled_from(["who?", "", "Anna \U0001e900\U0001e944?"]), st.sampled_from([0, 4, 16]))
def test_sequences_and_offsets_are_those_of_the_tokenizers_own_windows(context, question, stride):
    lengths = Lengths(40, stride)
    TOKENIZER.enable_truncation(lengths.max_length, stride=stride, strategy="only_second")
    whole = TOKENIZER.encode(question, context)
    TOKENIZER.no_truncation()
    encoded = encode((question, context, []), lengths=lengths)
    windows = [whole, *whole.overflowing]
    assert len(encoded) == len(windows)
    for number, window in enumerate(windows):
        assert encoded.sequence(number).tolist() == window.ids
        for covered, offsets, sequence in zip(
            spans_of(encoded, number).tolist(), window.offsets, window.sequence_ids, strict=True
        ):
            if sequence != 1:
                assert covered == [-1, -1]
                continue
            assert covered[0] == offsets[0]
            left_out = context[offsets[1] : covered[1]]
            assert (
                not left_out
                or unicodedata.normalize("NFKC", context[offsets[0] : covered[1]]) != context[offsets[0] : covered[1]]
            ), "only what normalisation folded away is added"


def test_question_keeps_its_first_tokens():
    question = "Anna sees Peter. " * 40
    ids = TOKENIZER.encode(question, add_special_tokens=False).ids
    budget = span.question_budget(LENGTHS)
    assert len(ids) > budget
    assert encode((question, "A dog.", [])).sequence(0).tolist()[: budget + 3] == [BEGIN, *ids[:budget], END, END]


def test_a_context_of_several_questions_gives_each_its_own_windows():
    rows = [("who?", "Anna sees a dog. " * 9, [("Anna", 0)]), ("what does she see?", "Anna sees a dog. " * 9, [])]
    together, alone = encode(*rows), [encode(row) for row in rows]
    np.testing.assert_array_equal(together.ids, np.concatenate([one.ids for one in alone]))
    np.testing.assert_array_equal(together.marks, np.concatenate([one.marks for one in alone]))
    assert together.example.tolist() == [0] * len(alone[0]) + [1] * len(alone[1])


# -- characters -------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(texts)
def test_tokens_cover_every_character_but_spaces_in_order(context):
    encoded = encode(("who?", context, []), lengths=Lengths(256, 16))
    spans = spans_of(encoded, 0)[answerable(encoded)]
    assert (np.diff(spans[:, 0]) >= 0).all()
    assert (np.diff(spans[:, 1]) >= 0).all()
    assert (spans[:, 0] <= spans[:, 1]).all()
    assert spans[-1, 1] <= len(context)
    covered = {place for first, last in spans.tolist() for place in range(first, last)}
    assert {place for place, character in enumerate(context) if not character.isspace()} <= covered


@settings(max_examples=200, deadline=None)
@given(texts, st.data())
def test_decoded_text_is_a_part_of_the_original(context, data):
    encoded = encode(("who?", context, []), lengths=Lengths(256, 16))
    tokens = answerable(encoded)
    first = data.draw(st.integers(0, len(tokens) - 1))
    last = data.draw(st.integers(first, min(first + 9, len(tokens) - 1)))
    (answer,) = decoded_texts(context, encoded, [(tokens[first], tokens[last])])
    begin, end = spans_of(encoded, 0)[tokens[first], 0], spans_of(encoded, 0)[tokens[last], 1]
    assert answer == context[begin:end]
    # and normalised it holds what the tokens say (canonical order may move marks between tokens)
    said = TOKENIZER.decode(encoded.sequence(0)[tokens[first] : tokens[last] + 1].tolist())
    held = sorted("".join(unicodedata.normalize("NFKD", answer).split()))
    for character in "".join(unicodedata.normalize("NFKD", said).split()):
        assert character in held


@settings(max_examples=200, deadline=None)
@given(texts, st.data())
def test_gold_spans_between_token_boundaries_are_reproduced_exactly(context, data):
    whole = encode(("who?", context, []), lengths=Lengths(256, 16))
    tokens = answerable(whole)
    first = data.draw(st.integers(0, len(tokens) - 1))
    last = data.draw(st.integers(first, min(first + 9, len(tokens) - 1)))
    begin, end = int(spans_of(whole, 0)[tokens[first], 0]), int(spans_of(whole, 0)[tokens[last], 1])
    begin += len(context[begin:end]) - len(context[begin:end].lstrip())  # a token may begin with the space before it
    gold = context[begin:end]
    straddled = any(
        start < place < stop and not context[start:place].isspace()
        for place in (begin, end)
        for start, stop in spans_of(whole, 0)[tokens].tolist()
    )
    assume(
        not is_blank(gold) and not straddled
    )  # a blank answer is none; several tokens may cover one character: those of ﷺ, the prefix ▁
    encoded = encode(("who?", context, [(gold, begin)]), lengths=Lengths(256, 16))
    (answer,) = decoded_texts(context, encoded, [tuple(encoded.targets[0].tolist())])
    assert answer.lstrip() == gold


@pytest.mark.parametrize(
    "letter",
    TRAPS["combining mark"]
    + TRAPS["mark beyond the basic plane"]
    + TRAPS["vowel that composes but is no mark of its class"],
)
def test_a_decomposed_letter_at_the_end_of_an_answer_is_whole(letter):
    context = f"Anna {letter} sees"
    encoded = encode(("who?", context, [(letter, 5)]))
    (answer,) = decoded_texts(context, encoded, [tuple(encoded.targets[0].tolist())])
    assert answer.strip() == letter
