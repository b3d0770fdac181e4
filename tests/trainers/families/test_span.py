"""Question answering: windows keep exact character spans, decoding finds the best legal span, scores are SQuAD's."""

from __future__ import annotations

import collections
import itertools
import re
import string
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.tokenise import load_tokenizer
from trainers.families import span
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet

SQUAD = TASKS["squad"]
LENGTHS = Lengths(max_length=64, doc_stride=16)
TOKENIZER = load_tokenizer(SANDBOX_ENCODERS / "sandbox-s")


def table(*rows: tuple[str, str, list[tuple[str, int]]]) -> pa.Table:
    """(question, context, [(answer, start)]) as the hub stores them."""
    return pa.Table.from_pylist(
        [
            {
                "question": question,
                "context": context,
                "answers": {"text": [text for text, _ in answers], "answer_start": [start for _, start in answers]},
            }
            for question, context, answers in rows
        ],
        schema=pa.schema(
            [
                ("question", pa.string()),
                ("context", pa.string()),
                ("answers", pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])),
            ]
        ),
    )


def encode(*rows, lengths: Lengths = LENGTHS) -> TokenisedSet:
    return span.encode(SQUAD, table(*rows), TOKENIZER, lengths)


def spans_of(encoded: TokenisedSet, window: int) -> np.ndarray:
    return encoded.marks[encoded.starts[window] : encoded.starts[window + 1]]


# -- windows ----------------------------------------------------------------------------------------------------

LETTERS = [
    *"abcdefgXYZ",
    "ß",
    "é",
    "e\u0301",
    "и",
    "и\u0306",
    "n\u0303",
    "学",
    "校",
    "ガ",
    "か\u3099",
    "क",
    "ि",
    "🙂",
    "👩",
    "1",
    "½",
    "ﬁ",
    ".",
]
letters = st.sampled_from(LETTERS)
words = st.lists(letters, min_size=1, max_size=8).map("".join)
gaps = st.sampled_from([" ", " ", "  ", "\n", "\u3000", ", ", ""])


@st.composite
def documents(draw) -> tuple[str, str, int]:
    """A context and an answer somewhere in it, cut between characters as a reader sees them."""
    parts = draw(st.lists(st.tuples(words, gaps), min_size=1, max_size=40))
    context = "".join(itertools.chain.from_iterable(parts))
    places = [i for i in range(len(context)) if not context[i].isspace() and not unicodedata.combining(context[i])]
    first = draw(st.integers(0, len(places) - 1))
    last = draw(st.integers(first, min(first + 5, len(places) - 1)))
    end = places[last] + 1
    while end < len(context) and unicodedata.combining(context[end]):
        end += 1
    return context, context[places[first] : end], places[first]


@pytest.mark.slow
@settings(max_examples=300)
@given(documents())
def test_every_answer_lies_in_a_window_with_its_exact_characters(document):
    context, answer, start = document
    encoded = encode(("who?", context, [(answer, start)]))
    holding = [window for window in range(len(encoded)) if encoded.targets[window, 0] > 0]
    assert holding
    for window in holding:
        spans, (first, last) = spans_of(encoded, window), encoded.targets[window]
        assert first <= last
        assert spans[first][0] <= start
        assert start + len(answer) <= spans[last][1], "the tokens hold the whole answer"
        if first < last:  # and neither end could be left out
            assert spans[first][1] > start
            assert spans[last][0] < start + len(answer)


@settings(max_examples=100)
@given(documents())
def test_windows_cover_the_whole_context_and_share_the_stride(document):
    context, *_ = document
    encoded = encode(("who?", context, []))
    windows = [
        [tuple(covered) for covered in spans_of(encoded, window) if covered[0] >= 0] for window in range(len(encoded))
    ]
    covered = {place for window in windows for first, last in window for place in range(first, last)}
    assert {i for i, character in enumerate(context) if not character.isspace()} <= covered
    assert (encoded.lengths <= LENGTHS.max_length).all()
    for window, following in itertools.pairwise(windows):
        assert window[-LENGTHS.doc_stride :] == following[: LENGTHS.doc_stride]


def test_window_is_question_then_context_between_xlmr_special_tokens():
    encoded = encode(("Who sees Anna?", "Peter sees Anna.", [("Peter", 0)]))
    ids, spans = encoded.sequence(0).tolist(), spans_of(encoded, 0)
    assert ids[0] == 0
    assert ids[-1] == 2
    middle = ids.index(2)
    assert ids[middle : middle + 2] == [2, 2]
    assert (spans[: middle + 2] == -1).all(), "no answer in the question"
    assert (spans[-1] == -1).all()
    assert (spans[middle + 2 : -1] >= 0).all()


def test_target_is_the_first_token_in_windows_without_the_answer():
    context = "Anna sees a dog. " * 30 + "Peter sings."
    encoded = encode(("Who sings?", context, [("Peter", context.index("Peter"))]))
    assert len(encoded) > 2
    assert encoded.targets[0].tolist() == [0, 0]
    assert encoded.targets[-1, 0] > 0
    assert (encoded.example == 0).all()


def test_question_without_an_answer_points_at_the_first_token():
    encoded = encode(("Who sings?", "Anna sees a dog.", []))
    assert encoded.targets.tolist() == [[0, 0]]


def test_long_question_is_cut_so_that_the_context_has_room():
    encoded = encode(("Who sees the dog? " * 50, "Anna sees a dog. " * 30 + "Peter sings.", [("Anna", 0)]))
    assert (encoded.lengths <= LENGTHS.max_length).all()
    assert encoded.targets[0, 0] > 0
    assert len(encoded) < 60


def test_stride_that_leaves_no_room_is_refused():
    with pytest.raises(ValueError, match=r"doc_stride 60 leaves no room .* max_length 64"):
        encode(("who?", "Anna", [("Anna", 0)]), lengths=Lengths(64, 60))


@pytest.mark.parametrize("shift", [-9, -3, -1, 0, 1, 2, 7])
def test_answer_start_that_is_off_is_relocated_to_the_nearest_occurrence(shift):
    context = "Anna sees a dog. Later Anna sees Peter. In the end Anna sings."
    start = context.index("Anna", 10)
    assert span.locate_answer(context, "Anna", start + shift) == start


@given(documents(), st.integers(-200, 200))
def test_relocated_answer_is_the_nearest_there_is(document, shift):
    context, answer, start = document
    found = span.locate_answer(context, answer, start + shift)
    occurrences = [i for i in range(len(context)) if context.startswith(answer, i)]
    assert found in occurrences
    told = max(start + shift, 0)
    assert abs(found - told) == min(abs(i - told) for i in occurrences)


def test_answer_that_does_not_occur_is_not_invented():
    assert span.locate_answer("Anna sees a dog.", "Peter", 3) is None
    assert encode(("who?", "Anna sees a dog.", [("Peter", 3)])).targets.tolist() == [[0, 0]]


# -- decoding ---------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 8), st.integers(0, 5))
def test_decoded_span_is_the_best_legal_one(seed, context_tokens, question_tokens, padding):
    import torch

    from trainers.network.batch import Batch
    from trainers.network.heads import MAX_ANSWER_TOKENS, SpanHead

    torch.manual_seed(seed)
    length = question_tokens + context_tokens + padding
    logits = torch.randn(2, length, 2)
    spans = torch.full((2, length, 2), -1)
    for token in range(context_tokens):
        spans[:, question_tokens + token] = torch.tensor([3 * token, 3 * token + 2])
    mask = torch.arange(length)[None].expand(2, -1) < length - padding
    batch = Batch(mask.long(), mask, torch.zeros(2, 2), spans, packing=None)
    decoded = SpanHead(8).decode(logits, batch)
    for row in range(2):
        legal = [
            (float(logits[row, i, 0] + logits[row, j, 1]), i, j)
            for i in range(question_tokens, question_tokens + context_tokens)
            for j in range(i, min(i + MAX_ANSWER_TOKENS, question_tokens + context_tokens))
        ]
        best, first, last = max(legal)
        nothing = float(logits[row, 0].sum())
        found = [best, int(spans[row, first, 0]), int(spans[row, last, 1]), nothing]
        assert decoded[row].tolist() == pytest.approx(found)


def labelled(rows, encoded) -> LabelledSet:
    return LabelledSet(SQUAD, "en", table(*rows), encoded)


def test_best_window_of_an_example_gives_its_answer():
    context = "Anna sees a dog. " * 20
    rows = [("who?", context, [("dog", 12)]), ("what?", "A cat.", [("cat", 2)])]
    encoded = encode(*rows)
    windows = int((encoded.example == 0).sum())
    assert windows > 1
    decoded = np.zeros((len(encoded), 4))
    decoded[:, 0] = -np.inf
    decoded[windows - 1] = [5.0, 12, 15, 9]
    decoded[0] = [4.0, 0, 4, 9]
    decoded[-1] = [-3.0, 2, 5, 9]
    metrics, frame = span.score(labelled(rows, encoded), decoded)
    assert frame["prediction"].to_list() == ["dog", "cat"]
    assert metrics == {"f1": 1.0, "exact_match": 1.0}


# -- scores -----------------------------------------------------------------------------------------------------


def official_normalise(text: str) -> str:
    """As in the evaluation script of SQuAD v1.1, written again."""
    text = text.lower()
    text = "".join(character for character in text if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def official_f1(prediction: str, gold: str) -> float:
    ours, theirs = official_normalise(prediction).split(), official_normalise(gold).split()
    same = sum(min(count, theirs.count(word)) for word, count in collections.Counter(ours).items())
    if same == 0:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


PHRASES = [
    "the",
    "a",
    "An",
    "dog",
    "Dog",
    "dogs",
    "U.S.",
    "re-do",
    "'",
    "!",
    "кот",
    "猫",
    "theatre",
    "1,000",
    "",
    "«да»",
]
phrases = st.lists(st.sampled_from(PHRASES), max_size=6).map(" ".join)


@pytest.mark.slow
@settings(max_examples=300)
@given(phrases, phrases)
def test_f1_and_exact_match_are_squads(prediction, gold):
    f1s, exact = span.answer_scores("squad", "en", [prediction], [[gold]])
    assert f1s[0] == pytest.approx(official_f1(prediction, gold))
    assert exact[0] == (official_normalise(prediction) == official_normalise(gold))


@settings(max_examples=50)
@given(st.lists(st.tuples(phrases, st.lists(phrases, min_size=1, max_size=3)), min_size=1, max_size=6))
def test_scores_are_means_over_the_best_gold_answer(examples):
    rows = [("who?", prediction or "x", [(gold, 0) for gold in golds]) for prediction, golds in examples]
    encoded = TokenisedSet.from_lists([[0]] * len(rows), [(0, 0)] * len(rows), list(range(len(rows))), target_width=2)
    decoded = np.array([[0.0, 0, len(prediction), 9] for prediction, _ in examples])
    metrics, frame = span.score(labelled(rows, encoded), decoded)
    expected = [max(official_f1(prediction, gold) for gold in golds) for prediction, golds in examples]
    assert metrics["f1"] == pytest.approx(np.mean(expected))
    assert frame["score"].to_list() == pytest.approx(expected)
    exact = [
        any(official_normalise(prediction) == official_normalise(gold) for gold in golds)
        for prediction, golds in examples
    ]
    assert metrics["exact_match"] == pytest.approx(np.mean(exact))


def test_chance_is_the_share_of_questions_without_an_answer_where_there_may_be_none():
    rows = table(("q", "c", []), ("q", "c", [("c", 0)]), ("q", "c", []), ("q", "c", [("", 0)]))
    assert span.chance(LabelledSet(TASKS["squad_v2"], "en", rows, None)) == 0.75


def test_chance_of_spans_is_the_f1_of_a_constant_answer():
    """The first 30 tokens of each context, whichever window they are in."""
    context = "one two three four " + "five " * 60
    rows = table(("q", context, [("two", 4)]), ("q", "alpha beta", [("beta", 6)]), ("q", context, [("six", 0)]))
    encoded = span.encode(SQUAD, rows, TOKENIZER, Lengths(48, 12))
    assert len(encoded) > 3
    decoded = []
    for unit in range(len(encoded)):
        covered = encoded.marks[encoded.starts[unit] : encoded.starts[unit + 1]]
        held = covered[covered[:, 0] >= 0]
        decoded.append([float(held[0, 0] == 0), held[0, 0], held[:30][-1, 1], 0])
    found = LabelledSet(SQUAD, "en", rows, encoded)
    expected = span.score(found, np.array(decoded))[0]["f1"]
    assert 0 < expected < 0.4
    assert span.chance(found) == pytest.approx(expected)


def test_a_question_without_an_answer_scores_1_where_every_window_prefers_none():
    rows = [("who?", "a dog", []), ("who?", "a dog", [("dog", 2)])]
    encoded = TokenisedSet.from_lists([[0]] * 3, [(0, 0)] * 3, [0, 0, 1], target_width=2)
    without = LabelledSet(TASKS["squad_v2"], "en", table(*rows), encoded)
    unsure, sure = [3.0, 2, 5, 4.0], [3.0, 2, 5, 2.0]  # the span's score, its ends, that of answering nothing
    metrics, frame = span.score(without, np.array([unsure, unsure, sure]))
    assert frame["prediction"].to_list() == ["", "dog"]
    assert metrics == {"f1": 1.0, "exact_match": 1.0}
    assert span.score(without, np.array([unsure, sure, sure]))[1]["score"].to_list() == [0, 1]
