"""Chunks are seqeval 0.0.12's: equal to 1.2.2 where the versions agree, and to the documented counts where not."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics

from trainers.families import tagging
from trainers.families.metrics import precision_recall_f1

NER = ("O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC", "ORG")))
UPOS = ("ADJ", "ADP", "AUX", "CCONJ", "INTJ", "NOUN", "PART", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X", "_")


def corpora(tags: tuple[str, ...]) -> st.SearchStrategy:
    """Pairs of gold and predicted tags, sentence by sentence of one length; half of the words are right."""
    tag = st.sampled_from(tags)
    word = st.one_of(tag.map(lambda same: (same, same)), st.tuples(tag, tag))
    sentence = st.lists(word, max_size=8).map(lambda words: ([g for g, _ in words], [p for _, p in words]))
    return st.lists(sentence, max_size=5).map(lambda found: ([g for g, _ in found], [p for _, p in found]))


def upos_chunks(tags: list[str]) -> list[tagging.Chunk]:
    """Version 0.0.12 on tags without prefix: runs of one tag, but those in S stand alone."""
    cuts = [place for place, (one, other) in enumerate(pairwise(tags), 1) if one != other or one[0] in "SB"]
    edges = [0, *cuts, len(tags)] if tags else []
    return [(tags[first], first, after - 1) for first, after in pairwise(edges)]


def numbers(gold, predicted) -> tuple[float, float, float]:
    return precision_recall_f1(*tagging.chunk_counts(gold, predicted).sum(0).tolist())


@pytest.mark.slow
@settings(max_examples=300)
@given(corpora(NER))
def test_names_are_chunked_and_scored_as_by_seqeval(corpus):
    gold, predicted = corpus
    for tags in gold + predicted:
        assert tagging.chunks(tags) == metrics.sequence_labeling.get_entities(tags)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what is 0 for want of chunks
        precision, recall, f1 = numbers(gold, predicted)
        if any(gold):
            assert precision == metrics.precision_score(gold, predicted)
            assert recall == metrics.recall_score(gold, predicted)
            assert f1 == pytest.approx(metrics.f1_score(gold, predicted), rel=1e-14)
            assert tagging.token_accuracy(gold, predicted) == metrics.accuracy_score(gold, predicted)


@pytest.mark.slow
@settings(max_examples=300)
@given(corpora(UPOS))
def test_parts_of_speech_are_runs_of_a_tag(corpus):
    for tags in corpus[0]:
        assert tagging.chunks(tags) == upos_chunks(tags)


@settings(max_examples=200)
@given(st.one_of(corpora(NER), corpora(UPOS)))
def test_chunks_of_each_sentence_are_those_of_all_joined_by_o(corpus):
    joined = [tag for tags in corpus[0] for tag in [*tags, "O"]]
    apart, offset = [], 0
    for tags in corpus[0]:
        apart += [(kind, first + offset, last + offset) for kind, first, last in tagging.chunks(tags)]
        offset += len(tags) + 1
    assert tagging.chunks(joined) == apart


@pytest.mark.slow
@given(st.one_of(corpora(NER), corpora(UPOS)))
def test_counts_are_per_sentence_and_their_sum_is_the_score(corpus):
    gold, predicted = corpus
    found = tagging.chunk_counts(gold, predicted)
    assert found.shape == (len(gold), 3)
    assert (found[:, 0] <= found[:, 1:].min(1, initial=10**9)).all()
    assert tagging.chunk_f1(gold, predicted) == numbers(gold, predicted)[2]
    twice = tagging.chunk_counts(gold + gold, predicted + predicted)
    np.testing.assert_array_equal(twice, np.concatenate([found, found]))


@given(st.one_of(corpora(NER), corpora(UPOS)))
def test_f1_over_all_is_the_mean_of_the_sentences_f1_weighed_by_their_chunks(corpus):
    gold, predicted = corpus
    scores, weights = tagging.chunk_f1_of_each(tagging.chunk_counts(gold, predicted))
    alone = [tagging.chunk_f1([tags], [answer]) for tags, answer in zip(gold, predicted, strict=True)]
    np.testing.assert_allclose(scores, alone)
    assert (scores * weights).sum() == pytest.approx(tagging.chunk_f1(gold, predicted) * weights.sum())


@given(corpora(UPOS))
def test_a_right_answer_scores_one(corpus):
    gold, _ = corpus
    expected = 1.0 if any(gold) else 0.0
    assert tagging.chunk_f1(gold, gold) == tagging.token_accuracy(gold, gold) == expected


def test_cconj_and_sconj_stay_apart_where_seqeval_1_2_2_confuses_them():
    gold, predicted = [["NOUN", "CCONJ", "VERB", "ADP"]], [["NOUN", "SCONJ", "VERB", "ADP"]]
    assert tagging.chunk_f1(gold, predicted) == 0.75
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metrics.f1_score(gold, predicted) == 1.0


def test_cconj_before_sconj_keeps_its_chunk_where_seqeval_1_2_2_loses_it():
    tags = ["CCONJ", "SCONJ"]
    assert tagging.chunks(tags) == [("CCONJ", 0, 0), ("SCONJ", 1, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metrics.sequence_labeling.get_entities(tags) == [("CONJ", 1, 1)]


def test_a_type_is_what_follows_the_last_hyphen_where_seqeval_1_2_2_takes_all_of_it():
    assert tagging.chunks(["B-A-B", "I-C-B"]) == [("B", 0, 1)]
    assert metrics.sequence_labeling.get_entities(["B-A-B", "I-C-B"]) == [("A-B", 0, 0), ("C-B", 1, 1)]


def test_upos_f1_counts_chunks_and_not_tokens():
    gold, predicted = [["NOUN", "NOUN", "VERB"]], [["NOUN", "PROPN", "VERB"]]
    assert tagging.chunk_f1(gold, predicted) == pytest.approx(0.4)
    assert tagging.token_accuracy(gold, predicted) == pytest.approx(2 / 3)


def test_tags_in_s_stand_alone_and_the_others_merge():
    assert tagging.chunks(["SYM", "SYM", "INTJ", "INTJ", "X", "X"]) == [
        ("SYM", 0, 0),
        ("SYM", 1, 1),
        ("INTJ", 2, 3),
        ("X", 4, 5),
    ]


def test_a_chunk_does_not_run_on_into_the_next_sentence():
    assert tagging.chunk_counts([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_name_that_starts_with_i_is_a_name_as_by_seqevals_default():
    assert tagging.chunks(["O", "I-PER", "I-LOC"]) == [("PER", 1, 1), ("LOC", 2, 2)]


def test_f1_has_seqeval_0_0_12s_last_digit():
    for right in range(1, 9):
        for answered in range(right, 20):
            for expected in range(right, 20):
                p, r = right / answered, right / expected
                counts = np.array([[right, answered, expected], [0, 0, 0]])
                assert precision_recall_f1(*counts.sum(0).tolist()) == (p, r, 2 * p * r / (p + r))


@pytest.mark.parametrize("tags", [[], [[]], [["O"]], [["O", "O"], []]])
def test_without_chunks_everything_is_zero(tags):
    assert numbers(tags, tags) == (0, 0, 0)
    assert tagging.chunk_counts(tags, tags).tolist() == [[0, 0, 0]] * len(tags)


def test_words_of_any_script_are_fine_as_types():
    assert tagging.chunks(["B-人名", "I-人名", "O", "B-اسم"]) == [("人名", 0, 1), ("اسم", 3, 3)]


def test_unequal_lengths_and_empty_tags_are_errors():
    with pytest.raises(ValueError, match="sentence 1 has 2 gold tags and 1 predicted"):
        tagging.chunk_counts([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="shorter"):
        tagging.chunk_f1([["O"]], [])
    with pytest.raises(ValueError, match="shorter"):
        tagging.token_accuracy([["O", "O"]], [["O"]])
    with pytest.raises(ValueError, match="empty tag"):
        tagging.chunks(["NOUN", ""])
