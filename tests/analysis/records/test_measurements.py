"""Stages become arms, whatever order they come in; measured values keep their places, and gaps stay gaps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.records.frame import stage_table
from analysis.records.measurements import Measurements, arms, path, usable
from tests.analysis import fakes, made

STAGES = stage_table(
    [fakes.recorded(stage) for stage in fakes.stages((0, 1), ("none", "mnli"))],
)


def told(found):
    return [(arm, arm.keys, arm.parents) for arm in found]


def test_arms_are_the_stages_that_differ_in_their_seed_only():
    found = arms(STAGES, "target")
    assert [(arm.scale, arm.intermediate, arm.targets) for arm in found] == [
        (scale, name, (target,))
        for scale in fakes.SCALES
        for name in ("none", "mnli")
        for target in sorted(fakes.TARGETS)
    ]
    assert {tuple(arm.seeds) for arm in found} == {(0, 1)}
    plain, via = found[0], found[3]
    assert (plain.path, via.path) == ("none → pawsx", "mnli → pawsx")
    assert plain.parents == {0: None, 1: None}
    assert via.ordered_keys == [via.keys[0], via.keys[1]]
    assert path("mnli", ("xquad", "mlqa")) == "mnli → xquad+mlqa"


@settings(max_examples=25)
@given(st.permutations(range(STAGES.height)))
def test_the_order_of_the_stages_does_not_matter(order):
    for kind in ("target", "retrieval"):
        assert told(arms(STAGES[list(order)], kind)) == told(arms(STAGES, kind))


outcomes = st.lists(
    st.sampled_from(["completed", "diverged", "running", "missing"]), min_size=STAGES.height, max_size=STAGES.height
)


@settings(max_examples=50)
@given(outcomes)
def test_what_is_usable_completed_and_so_did_not_diverge_before(outcomes):
    stages = STAGES.with_columns(pl.Series("outcome", outcomes))
    found, outcome = usable(stages), dict(zip(stages["key"], outcomes, strict=True))
    for key, parent in stages.select("key", "parent").iter_rows():
        expected = outcome[key] == "completed" and outcome.get(parent) != "diverged"
        assert (key in set(found["key"])) == expected
    assert usable(found).equals(found)
    assert {key for arm in arms(stages, "target") for key in arm.ordered_keys} <= set(found["key"])


POINT = ("mnli", "en")
SCORES = {
    ("a", "stored", *POINT, 0): 0.9,
    ("a", "stored", *POINT, 4): [1, 0, 1, 0],
    ("a", "stored", *POINT, 2): 0.7,
    ("b", "stored", *POINT, 0): 0.8,
    ("b", "stored", *POINT, 4): [1, 1, 1, 0],
    ("b", "stored", "mnli", "de", 4): 0.3,
    ("b", "stored", "squad", "en", 4): 0.2,
}


def test_measured_values_are_found_again():
    found = made.measurements(SCORES, chance=0.35)
    assert found.steps(["a"], "stored", *POINT) == [0, 2, 4]
    assert found.steps(["a", "b"], "stored", *POINT) == [0, 4]
    assert found.steps([], "stored", *POINT) == found.steps(["a", "c"], "stored", *POINT) == []
    assert found.pairs(["b"], "stored") == [("mnli", "en"), ("mnli", "de"), ("squad", "en")]
    assert found.pairs(["a", "b"], "stored") == [POINT]
    assert found.chance("a", "stored", *POINT) == 0.35
    np.testing.assert_allclose(found.values(["b", "a"], "stored", *POINT, [0, 4]), [[0.8, 0.75], [0.9, 0.5]])
    with pytest.raises(KeyError):
        found.values(["a", "b"], "stored", *POINT, [2])


def test_examples_are_resampled_only_where_every_seed_and_step_has_as_many():
    found = made.measurements(SCORES)
    assert not found.has_examples
    assert found.examples(["a", "b"], "stored", *POINT, [4]).scores[:, :, 0].tolist() == [[1, 0, 1, 0], [1, 1, 1, 0]]
    assert found.has_examples
    assert found.examples(["a", "b"], "stored", *POINT, [0, 4]).scores.shape == (2, 1, 2)
    fewer = made.measurements({**SCORES, ("b", "stored", *POINT, 4): [1, 0]})
    assert fewer.examples(["a", "b"], "stored", *POINT, [4]).scores.shape == (2, 1, 1)


@given(st.permutations(list(SCORES)))
def test_the_order_of_the_rows_does_not_matter(order):
    found, shuffled = made.measurements(SCORES), made.measurements({point: SCORES[point] for point in order})
    for keys in (["a"], ["b"], ["a", "b"]):
        assert shuffled.pairs(keys, "stored") == found.pairs(keys, "stored")
        for point in found.pairs(keys, "stored"):
            steps = found.steps(keys, "stored", *point)
            assert shuffled.steps(keys, "stored", *point) == steps
            np.testing.assert_array_equal(
                shuffled.values(keys, "stored", *point, steps), found.values(keys, "stored", *point, steps)
            )


example_scores = st.lists(st.sampled_from([0, 1]), min_size=1, max_size=6)


@given(st.lists(st.tuples(st.just(4), example_scores) | st.tuples(st.just(0), st.floats(0, 1)), min_size=1, max_size=4))
def test_examples_have_the_mean_that_was_measured(measured):
    scores = {(f"seed {seed}", "stored", *POINT, step): score for seed, (step, score) in enumerate(measured)}
    found = made.measurements(scores, chance=0.35)
    for key, measure, task, language, step in scores:
        values = found.values([key], measure, task, language, [step])
        examples = found.examples([key], measure, task, language, [step])
        assert examples.by_seed == pytest.approx(values)
        assert values == pytest.approx(np.mean(scores[key, measure, task, language, step]))
        assert found.chance(key, measure, task, language) == 0.35


def test_nothing_measured_has_no_pairs():
    assert Measurements(pl.DataFrame(schema=made.SCHEMA)).pairs(["a"], "stored") == []
