"""Mining equals a brute-force reading of XTREME's protocol, in bounded memory, also where sentences repeat."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.families import mining

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)


def names(side: str, count: int) -> list[str]:
    return [f"{side}-{number}" for number in range(count)]


def world(seed: int, n: int, m: int, hidden: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of which the first ones of both sides are near each other, of many lengths."""
    random = np.random.default_rng(seed)
    source, target = random.normal(size=(n, hidden)), random.normal(size=(m, hidden))
    shared = min(n, m)
    target[:shared] = source[:shared] + 0.5 * random.normal(size=(shared, hidden))
    return (source * random.uniform(0.1, 50, (n, 1))).astype(np.float32), target.astype(np.float32)


def mine(source: np.ndarray, target: np.ndarray, **options) -> mining.Mined:
    return mining.mine(source, target, names("de", len(source)), names("en", len(target)), **options)


def brute_force(source: np.ndarray, target: np.ndarray, neighbours: int) -> dict[mining.Pair, float]:
    """The protocol word for word, on Python's numbers, pair by pair."""

    def cosine(x, y) -> float:
        x, y = [float(v) for v in x], [float(v) for v in y]
        return sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))

    n, m = range(len(source)), range(len(target))
    cosines = {(i, j): cosine(source[i], target[j]) for i in n for j in m}
    near_of_source = {i: sorted(m, key=lambda j: -cosines[i, j])[:neighbours] for i in n}
    near_of_target = {j: sorted(n, key=lambda i: -cosines[i, j])[:neighbours] for j in m}
    source_mean = {i: sum(cosines[i, j] for j in near) / len(near) for i, near in near_of_source.items()}
    target_mean = {j: sum(cosines[i, j] for i in near) / len(near) for j, near in near_of_target.items()}
    ratio = {(i, j): cosines[i, j] / ((source_mean[i] + target_mean[j]) / 2) for i, j in cosines}
    union = {(i, max(near, key=lambda j: ratio[i, j])) for i, near in near_of_source.items()}
    union |= {(max(near, key=lambda i: ratio[i, j]), j) for j, near in near_of_target.items()}
    found: dict[mining.Pair, float] = {}
    while union:
        i, j = max(union, key=lambda pair: ratio[pair])
        if ratio[i, j] > 0:
            found[f"de-{i}", f"en-{j}"] = ratio[i, j]
        union = {(a, b) for a, b in union if a != i and b != j}
    return found


@settings(max_examples=200)
@given(seeds, sizes, sizes, st.integers(1, 5))
def test_mining_equals_brute_force(seed, n, m, neighbours):
    source, target = world(seed, n, m)
    mined, expected = mine(source, target, neighbours=neighbours), brute_force(source, target, neighbours)
    assert dict(mined).keys() == expected.keys()
    for pair, value in mined:
        assert value == pytest.approx(expected[pair], rel=1e-2, abs=1e-4)


@given(seeds, sizes, sizes)
def test_candidates_are_one_to_one_sorted_and_positive(seed, n, m):
    mined = mine(*world(seed, n, m))
    values = [value for _, value in mined]
    assert values == sorted(values, reverse=True)
    assert all(value > 0 for value in values)
    assert len({one for (one, _), _ in mined}) == len({other for (_, other), _ in mined}) == len(mined)


@given(seeds, st.integers(1, 40), st.integers(1, 40), st.integers(1, 200))
def test_the_size_of_a_block_does_not_matter(seed, n, m, cosines):
    source, target = world(seed, n, m)
    whole = mine(source, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "BLOCK_COSINES", cosines)
        cut = mine(source, target)
    assert [pair for pair, _ in cut] == [pair for pair, _ in whole]
    np.testing.assert_allclose([v for _, v in cut], [v for _, v in whole], rtol=1e-3)


def test_memory_stays_with_the_embeddings_and_not_with_the_pairs(monkeypatch):
    monkeypatch.setattr(mining, "BLOCK_COSINES", 2**17)
    source, target = world(0, 5000, 6000, hidden=8)
    tracemalloc.start()
    mine(source, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000 * 6000 * 4 / 8


@given(seeds, sizes, sizes)
def test_embeddings_are_left_as_they_are_and_their_length_does_not_matter(seed, n, m):
    source, target = world(seed, n, m)
    before = source.copy(), target.copy()
    mined = mine(source, target)
    np.testing.assert_array_equal(source, before[0])
    np.testing.assert_array_equal(target, before[1])
    assert mine(source * 4, target / 8) == mined
    assert mine(source.astype(np.float64), target) == mined


def test_single_sentences_are_mined():
    one = np.ones((1, 3), np.float32)
    assert mine(one, 2 * one) == [(("de-0", "en-0"), pytest.approx(1.0))]


def test_a_side_without_sentences_mines_nothing():
    assert mine(np.ones((0, 3), np.float32), np.ones((2, 3), np.float32)) == []
    assert mine(np.ones((2, 3), np.float32), np.ones((0, 3), np.float32)) == []


def test_a_zero_vector_is_never_mined():
    source, target = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    source[1] = 0
    assert sorted(pair for pair, _ in mine(source, target)) == [("de-0", "en-0"), ("de-2", "en-2")]
    assert mine(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)) == []


def test_a_pair_at_a_margin_of_zero_is_not_a_candidate():
    assert mine(np.array([[1.0, 0]]), np.array([[0, 1.0]])) == []


def test_equal_margins_are_taken_in_the_order_of_the_sentences():
    same = np.ones((6, 4), np.float32)
    assert mine(same, same)[0][0] == ("de-0", "en-0")
    twins = np.repeat(np.eye(5, dtype=np.float32), 2, axis=0)
    assert [pair for pair, _ in mine(twins, np.eye(5, dtype=np.float32))] == [
        (f"de-{2 * number}", f"en-{number}") for number in range(5)
    ]


def test_ratio_margin_demotes_a_sentence_that_is_near_to_all():
    """The hub of the other side has the largest cosine, and loses to the sentence that is near to one alone."""
    source = np.array([[1, 0.8, 0], [1, -0.8, 0], [1, 0, 0.8]], np.float32)
    target = np.array([[1, 0, 0], [0.2, 1, 0], [0.2, -1, 0], [0.2, 0, 1]], np.float32)
    cosines = source @ (target / np.linalg.norm(target, axis=1, keepdims=True)).T  # of a row, up to its length
    assert cosines.argmax(1).tolist() == [0, 0, 0]
    assert {("de-0", "en-1"), ("de-1", "en-2"), ("de-2", "en-3")} == {pair for pair, _ in mine(source, target)}


def candidates(*right: bool) -> tuple[mining.Mined, set[mining.Pair]]:
    """Candidates of margins 1, 1/2, 1/3, …, of which some are gold."""
    mined = [((f"de-{place}", f"en-{place}"), 1 / (place + 1)) for place in range(len(right))]
    return mined, {pair for (pair, _), good in zip(mined, right, strict=True) if good}


judged = st.lists(st.booleans(), min_size=1, max_size=25)


@given(judged, st.integers(0, 5))
def test_no_threshold_is_better_than_the_best(right, never_found):
    mined, gold = candidates(*right)
    gold |= {(f"de-lost-{place}", "en-lost") for place in range(never_found)}
    best = mining.scores_at(mined, gold, mining.best_threshold(mined, gold))
    every = [value for _, value in mined] + [0.0, 2.0]
    assert best[2] == max(mining.scores_at(mined, gold, value)[2] for value in every)


@given(judged, st.integers(0, 3))
def test_the_threshold_is_xtremes_to_the_last_digit(right, never_found):
    mined, gold = candidates(*right)
    gold |= {(f"de-lost-{place}", "en-lost") for place in range(never_found)}
    curve = []
    for taken, hits in enumerate(itertools.accumulate(right), 1):
        p, r = hits / taken, hits / max(len(gold), 1)
        curve.append(2 * p * r / (p + r) if hits else 0.0)
    place = curve.index(max(curve))
    values = [value for _, value in mined]
    expected = (values[place] + [*values, values[-1]][place + 1]) / 2 if curve[place] else 0.0
    assert mining.best_threshold(mined, gold) == expected


def test_best_threshold_at_the_last_candidate_is_no_index_error():
    mined, gold = candidates(False, False, True)
    threshold = mining.best_threshold(mined, gold)
    assert threshold == mined[-1][1]
    assert mining.scores_at(mined, gold, threshold) == (1 / 3, 1, pytest.approx(0.5))
    assert mining.best_threshold(*candidates(True)) == 1.0


def test_the_threshold_is_half_way_between_two_candidates():
    assert mining.best_threshold(*candidates(True, True, False, False)) == (1 / 2 + 1 / 3) / 2


def test_where_nothing_is_gold_every_candidate_is_taken_and_all_is_zero():
    mined, _ = candidates(False, False)
    for gold in (set(), {("de-8", "en-9")}):
        assert mining.best_threshold(mined, gold) == 0
        assert mining.scores_at(mined, gold, 0) == (0, 0, 0)
    assert mining.best_threshold([], {("de-8", "en-9")}) == 0


def test_ties_at_the_threshold_are_all_taken():
    mined = [(("de-0", "en-0"), 1.5), (("de-1", "en-1"), 1.5)]
    gold = {("de-0", "en-0")}
    assert mining.best_threshold(mined, gold) == 1.5
    assert mining.scores_at(mined, gold, 1.5) == (0.5, 1, pytest.approx(2 / 3))


@given(st.lists(st.sampled_from(["a", "b", "中国", "e\u0301", "é", "ال", "ไทย", ""]), max_size=12))
def test_repeated_sentences_are_mined_once_and_marked(sentences):
    rows, alone = mining.unique(sentences)
    assert [sentences[row] for row in rows] == list(dict.fromkeys(sentences))
    assert all(sentences[row] not in sentences[row + 1 :] for row in rows)
    assert alone.tolist() == [sentences.count(sentences[row]) == 1 for row in rows]


def test_a_repeated_sentence_takes_its_partner_and_counts_for_none():
    """XTREME mines one copy and then drops it: the partner is not free for the next best sentence."""
    sentences, target = ["Ja.", "Nein.", "Ja."], np.array([[1, 0.1]], np.float32)
    source = np.array([[1, 0], [1, 1], [1, 0]], np.float32)
    rows, alone = mining.unique(sentences)
    assert rows.tolist() == [2, 1]
    assert alone.tolist() == [False, True]
    ids = [f"de-{row}" if one else "" for row, one in zip(rows, alone, strict=True)]
    mined = mining.mine(source[rows], target, ids, ["en-0"])
    assert [pair for pair, _ in mined] == [("", "en-0")]
