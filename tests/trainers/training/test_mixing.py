"""Mixing tasks and masking tokens are pure functions of seed and step, with the probabilities they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.families import mlm
from trainers.stage import Mixing, Recipe, ScaleId, Stage, Training
from trainers.tokens.sets import TokenisedSet
from trainers.training.mixing import StepBatches, probabilities

VOCABULARY = mlm.MaskVocabulary(mask_id=99, size=99)


def examples(count: int, length: int = 12) -> TokenisedSet:
    ids = [[0, *range(4, 4 + length), 2] for _ in range(count)]
    return TokenisedSet.from_lists(ids, [(0,)] * count, list(range(count)))


def stage_of(sizes: dict[str, int], mixing: Mixing | None, seed: int = 1) -> tuple[Stage, dict[str, TokenisedSet]]:
    recipe = Recipe(batch_size=4, epochs=2, learning_rate=1e-4, max_length=64)
    train = tuple(Training(task=task, recipe=recipe) for task in sizes)
    stage = Stage(kind="intermediate", scale=ScaleId(fingerprint="x", name="x", source="x"), train=train, seed=seed,
                  mixing=mixing, data={}, intermediate="+".join(sizes))  # fmt: skip
    return stage, {task: examples(count) for task, count in sizes.items()}


def batches(sizes: dict[str, int], mixing: Mixing | None, seed: int = 1) -> StepBatches:
    stage, sets = stage_of(sizes, mixing, seed)
    return StepBatches(stage, sets, VOCABULARY)


@pytest.mark.parametrize(
    ("mixing", "expected"),
    [
        (Mixing(sampling="uniform"), [1 / 3, 1 / 3, 1 / 3]),
        (Mixing(sampling="proportional"), [1 / 13, 4 / 13, 8 / 13]),
        (Mixing(temperature=1, cap=400), [1 / 9, 4 / 9, 4 / 9]),
        (Mixing(temperature=2, cap=400), [1 / 5, 2 / 5, 2 / 5]),
    ],
)
def test_probabilities_are_jiants_samplers(mixing, expected):
    """raw = clip(n, cap) ** (1 / T), as in its TemperatureMultiTaskSampler."""
    assert probabilities(mixing, ("mnli", "squad", "qqp"), (100, 400, 800)) == pytest.approx(expected)


def test_language_modelling_takes_its_share_and_the_tasks_divide_the_rest():
    found = probabilities(Mixing(sampling="uniform", mlm_share=0.25), ("mnli", "squad", "mlm"), (10, 10, 10_000))
    assert found == pytest.approx([0.375, 0.375, 0.25])


def test_one_task_alone_goes_through_its_epochs():
    drawn = batches({"mnli": 10}, None)
    assert drawn.total_steps == 6
    first = np.concatenate([drawn.draw(step).examples.example for step in range(3)])
    assert sorted(first.tolist()) == list(range(10))


def test_total_steps_are_the_tasks_own_and_modellings_share_on_top():
    assert batches({"mnli": 40, "squad": 80}, Mixing()).total_steps == 20 + 40
    assert batches({"mnli": 40, "mlm": 8}, Mixing(mlm_share=0.5)).total_steps == 40
    assert batches({"mnli": 40, "squad": 80}, Mixing(max_steps=7)).total_steps == 7


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**63 - 1), st.permutations(range(30)))
def test_a_step_is_the_same_in_whatever_order_steps_are_drawn(seed, order):
    sizes, mixing = {"mnli": 20, "squad": 50, "mlm": 30}, Mixing(max_steps=30)
    forward, shuffled = batches(sizes, mixing, seed), batches(sizes, mixing, seed)
    expected = [forward.draw(step) for step in range(30)]
    for step in order:
        drawn = shuffled.draw(step)
        assert drawn.task == expected[step].task
        assert (drawn.examples.ids == expected[step].examples.ids).all()


def test_each_task_goes_on_where_it_stopped():
    drawn = batches({"mnli": 40, "squad": 40}, Mixing(sampling="uniform"))
    seen = {"mnli": [], "squad": []}
    for step in range(drawn.total_steps):
        task, _, found = drawn.draw(step)
        seen[task] += found.example.tolist()
    for places in seen.values():
        assert sorted(places[:40]) == list(range(min(40, len(places))))[: len(places[:40])] or len(places) < 40


def test_masking_hides_fifteen_percent_and_never_special_tokens():
    plain = examples(2000)
    masked = mlm.mask(plain, (3, 5), VOCABULARY)
    originals = masked.marks[:, 0]
    chosen = originals >= 0
    assert 0.14 < chosen.sum() / (plain.ids >= 4).sum() < 0.20, "at least one a line makes it more than 0.15"
    assert (plain.ids[chosen] == originals[chosen]).all()
    assert (plain.ids[chosen] >= 4).all()
    assert (masked.ids[~chosen] == plain.ids[~chosen]).all()
    assert 0.77 < (masked.ids[chosen] == 99).mean() < 0.83
    counts = np.add.reduceat(chosen, masked.starts[:-1])
    assert (counts == masked.targets[:, 0]).all()
    assert counts.min() >= 1


def test_masks_differ_between_steps_and_repeat_for_one():
    one, again, other = (mlm.mask(examples(20), (3, step), VOCABULARY).ids for step in (5, 5, 6))
    assert (one == again).all()
    assert (one != other).any()
