"""The books hold what was published, and every reading of a target is read alike."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from trainers.stage import Recipe
from trainers.stage.recipes import recipe_for
from trainers.training.step import learning_rate_at


def recipe(warmup: float) -> Recipe:
    return Recipe(batch_size=1, epochs=1, learning_rate=1.0, max_length=8, warmup=warmup)


@pytest.mark.parametrize(("warmup", "steps"), [(0, 0), (0.1, 100), (1, 1000), (2, 2), (500, 500)])
def test_warm_up_is_a_share_of_the_steps_or_their_number(warmup, steps):
    rates = [learning_rate_at(recipe(warmup), step, 1000) for step in range(1000)]
    assert np.argmax(rates) == min(steps, 999)
    np.testing.assert_allclose(rates, np.interp(range(1000), [-1, steps, 1000], [0, 1, 0]))


def test_a_warm_up_longer_than_the_training_only_rises():
    """TyDiQA's 500 steps are more than XTREME's three epochs of it have."""
    rates = [learning_rate_at(recipe(500), step, 350) for step in range(350)]
    assert rates == sorted(rates)
    assert 0.69 < rates[-1] < 0.7


@pytest.mark.parametrize("warmup", [-0.1, 1.5, 500.5, float("nan"), "long"])
def test_a_warm_up_that_is_neither_is_refused(warmup):
    with pytest.raises(ValidationError, match="warmup"):
        recipe(warmup)


@pytest.mark.parametrize("task", ["squad", "tydiqa"])
def test_xtremes_question_answering_warms_up_for_500_steps(task):
    """scripts/train_qa.sh; the scripts of its other tasks do not warm up."""
    assert recipe_for("xtreme", "target", task).warmup == 500
    assert recipe_for("xtreme", "target", "pawsx").warmup == 0


@pytest.mark.parametrize("book", ["xstilts", "xtreme"])
def test_every_reading_of_bucc_sees_as_many_tokens(book):
    read = {recipe_for(book, "target", task).max_length for task in ("bucc", "bucc_dev", "bucc_pairs", "tatoeba")}
    assert read == {512}
