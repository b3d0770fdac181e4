"""Sequences made by the array are the tokenizer's own, whatever recurs and however much is cut away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.tokenise import load_tokenizer
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tokens import texts
from trainers.tokens.sets import UNKNOWN, TokenisedSet

TOKENIZER = load_tokenizer(SANDBOX_ENCODERS / "sandbox-s")
some_text = st.text(st.sampled_from("Anna sees a dog. Петр 学校 é\u0301 🔑\n\x00"), max_size=60)
few_texts = st.lists(some_text, min_size=1, max_size=4)
lengths = st.integers(6, 40)


def sequences(found: TokenisedSet) -> list[list[int]]:
    return [found.sequence(index).tolist() for index in range(len(found))]


@settings(max_examples=150)
@given(st.lists(some_text, max_size=8), lengths)
def test_singles_are_the_tokenizer_s_own(given_texts, max_length):
    found = texts.singles(TOKENIZER, given_texts, max_length)
    TOKENIZER.enable_truncation(max_length)
    assert sequences(found) == [encoding.ids for encoding in TOKENIZER.encode_batch(given_texts)]
    assert found.example.tolist() == list(range(len(given_texts)))


@settings(max_examples=150)
@given(few_texts, few_texts, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8), lengths)
@pytest.mark.parametrize("side", ["left", "right"])
def test_pairs_are_the_tokenizer_s_own_also_where_texts_recur(side, first, second, chosen, max_length):
    both = [(first[i % len(first)], second[j % len(second)]) for i, j in chosen]
    found = texts.pairs(TOKENIZER, [a for a, _ in both], [b for _, b in both], max_length, truncated=side)
    TOKENIZER.enable_truncation(max_length, strategy="longest_first", direction=side)
    assert sequences(found) == [encoding.ids for encoding in TOKENIZER.encode_batch(both)]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 40))
def test_the_longer_text_loses_first_and_nothing_fits_that_is_cut(first, second, room):
    [[kept_first, kept_second]] = texts.longest_first(np.array([[first, second]]), room).tolist()
    assert kept_first <= first
    assert kept_second <= second
    assert kept_first + kept_second == min(room, first + second)
    if kept_first < first and kept_second < second:
        assert abs(kept_first - kept_second) <= 1


def test_texts_are_encoded_a_few_at_a_time_and_each_once(monkeypatch):
    calls: list[list[str]] = []

    class Counting:
        def no_truncation(self) -> None:
            TOKENIZER.no_truncation()

        def encode_batch_fast(self, batch, **how):
            calls.append(batch)
            return TOKENIZER.encode_batch_fast(batch, **how)

    monkeypatch.setattr(texts, "AT_ONCE", 2)
    found, number = texts.pieces(Counting(), ["a", "dog", "a", "sees", "a"])
    assert calls == [["a", "dog"], ["sees"]]
    assert number.tolist() == [0, 1, 0, 2, 0]
    assert len(found) == 3


def test_a_text_without_tokens_is_what_the_caller_says():
    found, _ = texts.pieces(TOKENIZER, ["", "dog"], room=1, empty=[UNKNOWN])
    assert found.sequence(0).tolist() == [UNKNOWN]
    assert found.sequence_lengths.tolist() == [1, 1]
