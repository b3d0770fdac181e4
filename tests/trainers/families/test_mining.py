"""BUCC and Tatoeba as XTREME means them: the threshold is development's, gold stays whole, nearest means cosine."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.families.test_margin import brute_force, world
from trainers.families import mining, retrieval
from trainers.tasks import TASKS
from trainers.tokens.sets import LabelledSet, TokenisedSet

BUCC, TATOEBA = TASKS["bucc"], TASKS["tatoeba"]
NO_TOKENS = TokenisedSet.from_lists([], [], [])
sentences = st.lists(st.sampled_from(["дом", "домъ", "家", "e\u0301", "é", "a b"]) | st.text(max_size=3), min_size=2)


def bucc(source: list[str], target: list[str], gold: list[tuple[int, int]], development=None) -> LabelledSet:
    ids = [f"de-{n}" for n in range(len(source))] + [f"en-{n}" for n in range(len(target))]
    pairs = {"source_id": [f"de-{i}" for i, _ in gold], "target_id": [f"en-{j}" for _, j in gold]}
    table = pa.table({"id": ids, "sentence": [*source, *target]})
    return LabelledSet(BUCC, "de", table, NO_TOKENS, pa.table(pairs), development)


def distinct(side: str, count: int) -> list[str]:
    return [f"{side} {n}" for n in range(count)]


def whole_f1(taken: set, gold: set) -> Fraction:
    return Fraction(2 * len(taken & gold), max(1, len(taken) + len(gold)))


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12))
def test_buccs_threshold_is_chosen_on_development_and_reused_on_test(seed, n, m):
    """By brute force: of all cuts of development's candidates the best one, half-way to the next, decides on test.

    XTREME's own loop reads development's candidates for test as well, and its threshold is undefined there.
    """
    gold = [(number, number) for number in range(min(n, m))]
    names = {(f"de-{i}", f"en-{j}") for i, j in gold}
    (dev_source, dev_target), (source, target) = world(seed, n, m), world(seed + 1, n, m)
    candidates = sorted(brute_force(dev_source, dev_target, 4).items(), key=lambda one: -one[1])
    cuts = [whole_f1({pair for pair, _ in candidates[: cut + 1]}, names) for cut in range(len(candidates))]
    threshold = 0.0
    if cuts and max(cuts):
        best = cuts.index(max(cuts))
        threshold = (candidates[best][1] + candidates[min(best + 1, len(candidates) - 1)][1]) / 2
    margins = brute_force(source, target, 4)
    if any(abs(value - threshold) < 1e-3 for value in margins.values()):
        return  # single precision may put it on the other side
    taken = {pair for pair, value in margins.items() if value >= threshold}

    texts = distinct("de", n), distinct("en", m)
    labelled = bucc(*texts, gold, development=bucc(*texts, gold))
    found, frame = mining.score_layer(
        labelled, np.concatenate([source, target]), np.concatenate([dev_source, dev_target])
    )
    assert found["f1"] == pytest.approx(float(whole_f1(taken, names)), abs=1e-12)
    assert {tuple(pair.split("\t")) for pair in frame["prediction"] if pair} == taken
    assert {tuple(pair.split("\t")) for pair in frame["gold"] if pair} == names


def test_without_development_sentences_the_threshold_is_that_of_the_test_itself():
    """`bucc_dev`: the oracle that X-STILTs report."""
    source, target = world(3, 9, 9)
    embeddings = np.concatenate([source, target])
    own = bucc(distinct("de", 9), distinct("en", 9), [(0, 0), (1, 1), (2, 2)])
    oracle = mining.score_layer(own, embeddings)[0]
    other = bucc(distinct("de", 9), distinct("en", 9), [(n, n) for n in range(9)])
    reused = mining.score_layer(
        bucc(*map(lambda s: distinct(s, 9), ("de", "en")), [(0, 0), (1, 1), (2, 2)], other), embeddings, embeddings
    )[0]
    assert oracle["f1"] > reused["f1"], "or nothing would be tested"


def test_a_sentence_that_occurs_twice_is_counted_for_none_but_its_gold_pair_is_missed():
    """Recall still divides by every gold pair."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(4, 16)).astype(np.float32)
    source = ["eins", "zwei", "zwei ", "drei"]
    labelled = bucc(source, distinct("en", 4), [(n, n) for n in range(4)])
    found, frame = mining.score_layer(labelled, np.concatenate([vectors, vectors]))
    assert {pair for pair in frame["prediction"] if pair} == {"de-0\ten-0", "de-3\ten-3"}
    assert found == {"f1": pytest.approx(2 / 3), "precision": 1.0, "recall": 0.5}


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_tatoeba_takes_the_nearest_foreign_sentence_of_each_english_one_by_cosine(seed, n):
    foreign, english = world(seed, n, n)
    embeddings = np.stack([foreign, english], 1).reshape(2 * n, -1)
    table = pa.table({"source_sentence": distinct("de", n), "target_sentence": distinct("en", n)})
    found, frame = retrieval.score_layer(LabelledSet(TATOEBA, "de", table, NO_TOKENS), embeddings)

    def cosine(one, other) -> float:
        return sum(map(float.__mul__, map(float, one), map(float, other))) / math.hypot(*one) / math.hypot(*other)

    right = 0
    for row, told in enumerate(frame["prediction"]):
        near = [cosine(english[row], other) for other in foreign]
        assert near[int(told)] == pytest.approx(max(near), abs=1e-5)
        right += int(told) == row
    assert found == {"accuracy": pytest.approx(right / n)}


@given(sentences)
def test_equal_sentences_on_both_sides_are_told_apart_by_nothing_and_the_first_is_taken(texts):
    """Duplicates of Tatoeba's cost accuracy, there as here: only the first of each can be found."""
    places = {text: place for place, text in reversed(list(enumerate(texts)))}
    vectors = np.eye(len(texts), dtype=np.float32)[[places[text] for text in texts]]
    table = pa.table({"source_sentence": texts, "target_sentence": texts})
    found, frame = retrieval.score_layer(LabelledSet(TATOEBA, "de", table, NO_TOKENS), vectors.repeat(2, 0))
    assert frame["prediction"].to_list() == [str(places[text]) for text in texts]
    assert found["accuracy"] == pytest.approx(len(places) / len(texts))
