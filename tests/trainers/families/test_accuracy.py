"""Accuracy of pairs and of choices is scikit-learn's, and every example keeps its own answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from trainers.families import choice, pair
from trainers.tasks import TASKS
from trainers.tokens.sets import LabelledSet, TokenisedSet

NO_TOKENS = TokenisedSet.from_lists([], [], [])
texts = st.sampled_from(["", "NS", "e\u0301", "日本", "\u200f"])


@st.composite
def answered(draw, classes: int):
    """[n] gold classes, and [n, classes] logits with ties."""
    gold = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=30))
    logits = [draw(st.lists(st.integers(-2, 2), min_size=classes, max_size=classes)) for _ in gold]
    return np.array(gold), np.array(logits, np.float64)


@pytest.mark.slow
@settings(max_examples=200)
@given(answered(3), st.booleans(), texts)
def test_accuracy_of_pairs_is_scikit_learns(answers, by_name, text):
    gold, logits = answers
    labels = [TASKS["xnli"].labels[number] for number in gold] if by_name else gold
    table = pa.table({"sentence1": [text] * len(gold), "sentence2": [text] * len(gold), "gold_label": labels})
    labelled = LabelledSet(TASKS["xnli"], "en", table, NO_TOKENS)
    found, frame = pair.score(labelled, logits)
    predicted = [row.index(max(row)) for row in logits.tolist()]  # of equal ones the first
    assert found == {"accuracy": pytest.approx(accuracy_score(gold, predicted), abs=1e-15)}
    assert frame["prediction"].to_list() == [TASKS["xnli"].labels[number] for number in predicted]
    assert frame["gold"].to_list() == [TASKS["xnli"].labels[number] for number in gold]
    assert pair.chance(labelled) == max(np.bincount(gold)) / len(gold)
    assert pair.chance(replace(labelled, constant=2)) == sum(gold == 2) / len(gold), "the majority is that of training"


@pytest.mark.slow
@settings(max_examples=200)
@given(answered(4), texts)
def test_accuracy_of_choices_is_scikit_learns(answers, text):
    gold, logits = answers
    rows = [{"ctx_a": text, "ctx_b": text, "endings": [text] * 4, "label": str(number)} for number in gold]
    labelled = LabelledSet(TASKS["hellaswag"], "en", pa.Table.from_pylist(rows), NO_TOKENS)
    found, frame = choice.score(labelled, logits)
    predicted = [row.index(max(row)) for row in logits.tolist()]
    assert found == {"accuracy": pytest.approx(accuracy_score(gold, predicted), abs=1e-15)}
    assert frame["score"].to_list() == [float(one == other) for one, other in zip(gold, predicted, strict=True)]
    assert choice.chance(labelled) == max(np.bincount(gold)) / len(gold)
    assert choice.chance(replace(labelled, constant=3)) == sum(gold == 3) / len(gold)


@pytest.mark.parametrize("shape", [(2, 3), (4, 3)])
def test_fewer_or_more_answers_than_rows_are_an_error(shape):
    """XTREME divides by the number of predictions, whatever it is."""
    table = pa.table({"sentence1": ["a"] * 3, "sentence2": ["b"] * 3, "gold_label": [0, 1, 2]})
    with pytest.raises((ValueError, pl.exceptions.ShapeError)):
        pair.score(LabelledSet(TASKS["xnli"], "en", table, NO_TOKENS), np.zeros(shape))
