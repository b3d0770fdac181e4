"""Of each arm's points the best is that of the most good seeds, then of the highest mean, however the rows lie."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.frame import MEASURED, stage_table, tidy
from analysis.search import best_keys, compared, last_attempts, numbers, point_scores, training
from tests.analysis import fakes, made

RATES = (1e-5, 2e-5, 4e-5)
PLAIN = [
    stage
    for stage in fakes.stages((0, 1), ("none",))
    if stage.scale.name == "small" and stage.ending == "pawsx" and stage.kind == "target"
]
POINTS = [
    stage.model_copy(
        update={
            "variant": {"target.learning_rate": rate},
            "train": tuple(
                one.model_copy(update={"recipe": one.recipe.model_copy(update={"learning_rate": rate})})
                for one in stage.train
            ),
        }
    )
    for rate in RATES
    for stage in PLAIN
]
"""Two seeds at each of three points."""


def tables(scores, outcomes):
    records = [
        replace(
            fakes.recorded(stage, outcome),
            measured=pl.DataFrame(
                [(100, "development", "pawsx", "en", "accuracy", score, 400, 0.4)], schema=MEASURED, orient="row"
            ),
        )
        for stage, score, outcome in zip(POINTS, scores, outcomes, strict=True)
    ]
    return stage_table(records), tidy(records)


def test_the_best_point_by_hand():
    """The highest score of all is at 4e-5, where the other seed diverged; of whole points 2e-5 has the higher mean."""
    stages, frame = tables((0.6, 0.6, 0.5, 0.8, 0.9, 0.9), ["completed"] * 5 + ["diverged"])
    assert set(best_keys(stages, frame)) == {POINTS[2].key, POINTS[3].key}
    assert set(compared(stages, frame)["key"]) == {POINTS[2].key, POINTS[3].key}
    assert last_attempts(stages).equals(stages)


scores = st.lists(st.sampled_from([0.5, 0.6, 0.7]), min_size=6, max_size=6)
outcomes = st.lists(st.sampled_from(["completed", "diverged"]), min_size=6, max_size=6)


@settings(max_examples=50)
@given(scores, outcomes, st.permutations(range(6)))
def test_no_other_point_has_more_seeds_or_as_many_and_a_higher_mean(scores, outcomes, order):
    stages, frame = tables(scores, outcomes)
    best = set(best_keys(stages, frame))
    assert set(best_keys(stages[list(order)], frame.reverse())) == best

    def rank(place: int) -> tuple[int, float]:
        good = [scores[one] for one in (2 * place, 2 * place + 1) if outcomes[one] == "completed"]
        return len(good), sum(good) / len(good) if good else 0.0

    chosen = [place for place in range(3) if POINTS[2 * place].key in best]
    if "completed" in outcomes:
        (place,) = chosen
        assert rank(place) == pytest.approx(max(map(rank, range(3))))
    else:
        assert chosen == [0, 1, 2], "nothing may be averaged: all are shown"


@given(st.lists(st.floats(-1e9, 1e9)))
def test_an_axis_of_numbers_is_read_and_one_with_a_word_is_none(values):
    assert numbers(map(str, values)) == values
    assert numbers([*map(str, values), "split"]) == []


def test_a_point_s_scores_by_hand():
    """Development 0.6 and 0.8; zero-shot of one target (0.5 + 0.3) / 2; of what was not measured nothing."""
    point = replace(made.arm("none", seeds=(0, 1)), variant="target.epochs=2")
    scores = made.zero_shot({point: [{"en": 0.5, "de": 0.3}] * 2})
    scores |= {
        (key, "development", "pawsx", "en", 100): score
        for key, score in zip(point.ordered_keys, (0.6, 0.8), strict=True)
    }
    bare = made.arm("mnli", seeds=(0, 1))
    keys = [*point.ordered_keys, *bare.ordered_keys]
    one, other = point_scores([point, bare], {}, keys, made.measurements(scores), made.bootstrap())
    assert (one.development.value, one.zero_shot.value) == (pytest.approx(0.7), pytest.approx(0.4))
    assert (one.best, other.best) == (True, False), "an arm without a variant is no point of a search"
    assert one.settings == {"target.epochs": "2"}
    assert training(one) == ("small", "none", ("pawsx",))
    for estimate in (one.retention, other.development, other.zero_shot):
        assert estimate.value != estimate.value
