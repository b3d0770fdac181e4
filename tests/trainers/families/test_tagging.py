"""Tagging: every word gets a label, long sentences are split or truncated, classes may come from the data."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.tokenise import load_tokenizer
from trainers.families import tagging
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS
from trainers.tokens.sets import LabelledSet, Lengths

PANX = TASKS["panx"]
TOKENIZER = load_tokenizer(SANDBOX_ENCODERS / "sandbox-s")
SHORT = Lengths(max_length=12, doc_stride=4)
WORDS = ["Anna", "Markt", "бежал", "猫", "verkaufte", "\u200b", "", "elephant", "12345", "é\u0301", "."]


def table(*sentences: list[tuple[str, str]]) -> pa.Table:
    rows = [{"tokens": [w for w, _ in one], "ner_tags": [tag for _, tag in one]} for one in sentences]
    return pa.Table.from_pylist(rows)


def labelled(rows: pa.Table, lengths: Lengths = SHORT, task=PANX) -> LabelledSet:
    return LabelledSet(task, "en", rows, tagging.encode(task, rows, TOKENIZER, lengths))


def gold_rows(found: LabelledSet) -> np.ndarray:
    """What a tagger would decode that is always right."""
    examples = found.examples
    rows = np.zeros((len(examples), int(examples.marks[:, 0].max()) + 1))
    for unit in range(len(examples)):
        marks = examples.marks[examples.starts[unit] : examples.starts[unit + 1]]
        for number, label in marks[marks[:, 0] >= 0]:
            rows[unit, number] = label
    return rows


sentences = st.lists(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(PANX.labels)), min_size=1, max_size=15),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(sentences)
def test_every_word_gets_a_label_and_split_sentences_are_joined_again(rows):
    found = labelled(table(*rows))
    assert (found.examples.sequence_lengths <= SHORT.max_length).all()
    assert tagging.word_counts(found.examples).sum() == sum(map(len, rows))
    metrics, frame = tagging.score(found, gold_rows(found))
    assert frame["prediction"].to_list() == [[tag for _, tag in one] for one in rows]
    assert metrics["accuracy"] == 1.0


@settings(max_examples=50, deadline=None)
@given(sentences, st.randoms(use_true_random=False))
@pytest.mark.parametrize("metric", ["f1", "accuracy"])
def test_sentences_average_by_their_weights_to_the_primary_metric(metric, rows, random):
    found = labelled(table(*rows), task=replace(PANX, metric=metric))
    answers = gold_rows(found)
    answers[:, :] = [[label if random.random() < 0.5 else random.randrange(7) for label in row] for row in answers]
    metrics, frame = tagging.score(found, answers)
    total = (frame["score"] * frame["weight"]).sum()
    assert total == pytest.approx(metrics[metric] * frame["weight"].sum())


def test_an_untokenisable_word_becomes_unk_and_keeps_its_label():
    found = labelled(table([("", "B-PER"), ("Anna", "O")]))
    assert found.examples.ids[1] == 3
    assert found.examples.marks[1].tolist() == [0, PANX.labels.index("B-PER")]


def test_only_the_first_sub_token_of_a_word_has_a_label():
    found = labelled(table([("Krokodilwächter", "B-PER")]))
    assert len(found.examples.ids) > 3, "the word has several tokens"
    assert found.examples.marks[2:, 0].max() == -1


def test_the_tail_of_a_truncated_sentence_is_answered_with_the_default_class():
    rows = table([("Anna", "B-PER")] * 40)
    found = labelled(rows, replace(SHORT, overflow="truncate"))
    assert len(found.examples) == 1
    kept = int(tagging.word_counts(found.examples)[0])
    metrics, frame = tagging.score(found, gold_rows(found))
    assert frame["prediction"][0].to_list() == ["B-PER"] * kept + ["O"] * (40 - kept)
    assert metrics["accuracy"] == pytest.approx(kept / 40)


def test_a_word_longer_than_the_encoder_is_cut_not_lost():
    found = labelled(table([("Krokodil" * 30, "B-LOC"), ("Anna", "O")]))
    assert tagging.word_counts(found.examples).tolist() == [1, 1]


def test_classes_come_from_the_training_rows_and_an_unseen_one_is_wrong_but_no_error():
    ccg = TASKS["ccg"]
    train = pa.table({"tokens": [["a", "b"]], "tags": [["NP", "N/N"]]})
    task = replace(ccg, labels=tagging.classes(ccg, train))
    assert task.labels == ("N/N", "NP")
    rows = pa.table({"tokens": [["a", "b"]], "tags": [["NP", r"S\NP"]]})
    found = labelled(rows, task=task)
    assert found.examples.targets.tolist() == [[1]], "the unseen tag is not trained on"
    metrics, _ = tagging.score(found, np.array([[1.0, 0.0]]))
    assert metrics["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("tokens", "tags", "complaint"),
    [
        (["a"], ["B-DATE"], "row 0 has the tag 'B-DATE' in column 'ner_tags'; expected one of O, B-PER"),
        (["a"], [7], "row 0 has the tag 7"),
        (["a", "b"], ["O"], "row 0 has 2 words and 1 tags"),
        ([], [], "1 of 1 sentences have no words"),
    ],
)
def test_a_wrong_row_is_told(tokens, tags, complaint):
    kind = pa.list_(pa.string() if not tags or isinstance(tags[0], str) else pa.int64())
    rows = pa.table({"tokens": pa.array([tokens], pa.list_(pa.string())), "ner_tags": pa.array([tags], kind)})
    (flaw,) = tagging.flaws(PANX, rows)
    assert complaint in flaw


def test_chance_is_the_score_of_the_commonest_tag():
    found = labelled(table([("a", "O"), ("b", "O"), ("c", "B-PER")]))
    assert tagging.chance(found) == 0.0, "F1 of answering O"
    accuracy = LabelledSet(replace(PANX, metric="accuracy"), "en", found.table, found.examples)
    assert tagging.chance(accuracy) == pytest.approx(2 / 3)
    assert tagging.chance(replace(accuracy, constant="B-PER")) == pytest.approx(1 / 3), "commonest in training"


TRAPS = [
    *WORDS,
    "👩\u200d👧",
    "и\u0306",
    "\U0001e900\U0001e944",
    "ﬁ½",
    "ＡＢ",
    "שָׁ",
    "\ufeff",
    " ",
    "a b",
    "Krokodil" * 9,
    "<unk>",
]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from(TRAPS), st.sampled_from(PANX.labels)), max_size=20), max_size=5),
    st.sampled_from(["split", "truncate"]),
)
def test_sequences_are_the_words_tokenised_one_by_one(sentences, overflow):
    """Written again word by word: `<s> words </s>`, a new sequence where the next word does not fit."""
    rows = pa.table(
        {
            "tokens": pa.array([[word for word, _ in one] for one in sentences], pa.list_(pa.string())),
            "ner_tags": pa.array([[tag for _, tag in one] for one in sentences], pa.list_(pa.string())),
        }
    )
    room = SHORT.max_length - 2
    expected = []
    TOKENIZER.no_truncation()
    for row, sentence in enumerate(sentences):
        parts: list[list[tuple[list[int], str]]] = [[]]
        for word, tag in sentence:
            ids = (TOKENIZER.encode(word, add_special_tokens=False).ids or [3])[:room]
            if sum(len(one) for one, _ in parts[-1]) + len(ids) > room:
                parts.append([])
            parts[-1].append((ids, tag))
        for part in parts if overflow == "split" else parts[:1]:
            marks = [[-1, -1]]
            for number, (ids, tag) in enumerate(part):
                marks += [[number, PANX.labels.index(tag)], *[[-1, -1]] * (len(ids) - 1)]
            expected.append((row, [0, *(i for ids, _ in part for i in ids), 2], [*marks, [-1, -1]], [len(part)]))
    found = tagging.encode(PANX, rows, TOKENIZER, replace(SHORT, overflow=overflow))
    marks = [found.marks[first:last].tolist() for first, last in pairwise(found.starts)]
    sequences = [found.sequence(number).tolist() for number in range(len(found))]
    assert list(zip(found.example.tolist(), sequences, marks, found.targets.tolist(), strict=True)) == expected
