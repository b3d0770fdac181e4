"""The seeds asked for are those that textbooks ask for, and the power foretold is the power there is."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import power
from analysis.inference.statistics import SIGNIFICANT, Bootstrap, Examples, p_value
from tests.analysis import fakes, made

deviations = st.floats(1e-3, 1)


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 10), (0.8, 15), (0.5, 34)])
def test_without_noise_of_examples_the_seeds_are_those_of_a_paired_t_test(effect, seeds):
    """As G*Power 3.1 has them: two-sided, α = 0.05, power 0.8."""
    assert power.seeds_needed(effect, by_seed=1.0, by_examples=0.0) == seeds


def test_the_power_foretold_is_how_often_the_report_s_own_test_finds_it():
    rng, seeds, difference, by_seed = np.random.default_rng(0), 5, 0.05, 0.03
    found = 0
    for _ in range(400):
        scores = Examples.alike(difference + by_seed * rng.standard_normal((seeds, 1)))
        samples = Bootstrap(rng, 400).means(scores)
        found += p_value(scores.by_seed.mean(), samples, seeds) < SIGNIFICANT
    assert found / 400 == pytest.approx(power.power(seeds, difference, by_seed, 0.0), abs=0.06)


@pytest.mark.slow
@given(deviations, deviations, st.floats(0.01, 2), st.integers(2, 40))
def test_power_rises_with_seeds_and_difference(by_seed, by_examples, difference, seeds):
    base = power.power(seeds, difference, by_seed, by_examples)
    assert SIGNIFICANT - 1e-3 <= base <= 1
    assert power.power(seeds + 1, difference, by_seed, by_examples) >= base - 1e-6
    assert power.power(seeds, 1.5 * difference, by_seed, by_examples) >= base - 1e-6


@pytest.mark.slow
@given(deviations, st.floats(0, 0.1), st.integers(2, 30))
def test_the_visible_difference_is_seen_with_just_these_seeds(by_seed, by_examples, seeds):
    visible = power.visible_difference(seeds, by_seed, by_examples)
    assert power.seeds_needed(visible * 1.01, by_seed, by_examples) <= seeds
    if seeds > 2:
        assert power.seeds_needed(visible * 0.99, by_seed, by_examples) >= seeds


def test_no_number_of_seeds_makes_up_for_few_examples():
    assert math.isinf(power.seeds_needed(0.01, by_seed=0.001, by_examples=0.02))


def test_the_upper_limit_holds_in_four_studies_of_five():
    rng = np.random.default_rng(1)
    seen = rng.standard_normal((2000, 4)).std(axis=1, ddof=1)
    assert np.mean([power.upper_limit(one, 3) > 1 for one in seen]) == pytest.approx(0.8, abs=0.03)


def test_the_study_of_known_truth_needs_few_seeds(built):
    found = {(one.measure, one.smaller): one for one in power.outlooks(built.study, 0.2)}
    assert set(found) == {(measure, scale) for measure in ("stored", "refit", "gain") for scale in ("small", "medium")}
    one = found["stored", "small"]
    assert (one.larger, one.seeds, one.trainings) == ("medium", 3, 4)  # of 6 trainings, 2 are of the same task
    assert 2 <= one.needed <= one.cautious
    assert 0 < one.visible < 0.2


@pytest.mark.slow
def test_one_seed_tells_nothing(tmp_path):
    for stage in fakes.stages((0,), ("none", "mnli")):
        fakes.write_stage(tmp_path, stage)
    for one in power.outlooks(fakes.study_of(tmp_path), 0.1):
        assert (one.trainings, one.seeds, one.not_enough) == (0, 0, "no training with two seeds in common")
        assert math.isnan(one.needed)
        assert math.isnan(one.visible)


def test_seeds_that_happen_to_agree_tell_nothing(monkeypatch):
    """Without scores of single examples and with equal values, σ would be 0 and two seeds enough for anything."""
    monkeypatch.setattr(power, "_values", lambda study, measure: equal_values())
    study = SimpleNamespace(scales=["small", "large"])
    for one in power.outlooks(study, 0.1):
        assert (one.trainings, one.seeds, one.not_enough) == (0, 0, "nothing varied over seeds or examples")
        assert math.isnan(one.needed)
        assert math.isnan(one.visible)


def equal_values():
    for scale, value in (("small", 0.1 + 0.2), ("large", 0.4)):
        yield scale, ("mnli", "pawsx"), (0, 1), np.array([value, value]), np.full(12, value)


@pytest.mark.parametrize(
    ("difference", "wanted", "why"),
    [(0, 0.8, "has to be above 0"), (math.nan, 0.8, "has to be above 0"), (0.1, 1.0, "power of 1.0")],
)
def test_what_cannot_be_asked_is_refused(built, difference, wanted, why):
    with pytest.raises(ValueError, match=why):
        power.outlooks(built.study, difference, wanted)


def test_without_any_noise_every_difference_is_seen():
    assert power.power(2, 1e-6, 0.0, 0.0) == 1
    assert power.seeds_needed(1e-6, 0.0, 0.0) == 2


@pytest.mark.slow
@given(deviations, deviations, st.floats(0.01, 2), st.floats(0.1, 10))
def test_power_does_not_know_the_unit(by_seed, by_examples, difference, unit):
    plain = power.power(5, difference, by_seed, by_examples)
    assert power.power(5, unit * difference, unit * by_seed, unit * by_examples) == pytest.approx(plain, abs=1e-9)


def test_from_one_seed_or_an_unknown_variance_nothing_is_foretold():
    assert math.isnan(power.power(1, 0.1, 0.1, 0.1))
    assert math.isnan(power.visible_difference(1, 0.1, 0.1))
    for unknown in ((math.nan, 0.1), (0.1, math.nan)):
        assert math.isinf(power.seeds_needed(0.1, *unknown))
        assert math.isnan(power.visible_difference(5, *unknown))


@given(deviations, st.integers(1, 40))
def test_the_upper_limit_lies_above_what_was_seen_and_comes_nearer_with_more_of_it(by_seed, freedom):
    assert power.upper_limit(by_seed, freedom) > power.upper_limit(by_seed, freedom + 1) > by_seed
    assert power.upper_limit(2 * by_seed, freedom) == pytest.approx(2 * power.upper_limit(by_seed, freedom))


def curve(scale: str, target: str, by_seed: dict[int, float], by_examples: float):
    """R(T) of each seed, and a standard error over examples."""
    one = np.array(list(by_seed.values()))
    of_examples = by_examples * np.tile([-1.0, 1.0], 50)
    samples = np.concatenate([np.zeros(100), of_examples, of_examples])  # by seeds, by examples, by both
    return replace(
        made.curve(float(one.mean()), scale, target=target),
        seeds=tuple(by_seed),
        by_seed=np.stack([np.ones_like(one), one], axis=1),
        final_samples=one.mean() + samples,
    )


def stored(curves, difference: float) -> power.Outlook:
    """The outlook of the stored head, which alone is probed here."""
    study = SimpleNamespace(scales=["small", "large"], curves=curves, cells=[])
    outlook, *others = power.outlooks(study, difference)
    assert outlook.measure == "stored"
    assert [(one.trainings, one.seeds) for one in others] == [(0, 0)] * 2
    return outlook


SMALL = {0: 0.2, 1: 0.5, 2: 0.3}
LARGE = {0: 0.3, 1: 0.7, 2: 0.6}
"""Differences 0.1, 0.2 and 0.3: variance 0.01, of 2 degrees of freedom."""


def test_variances_are_pooled_by_hand():
    """0.1 and 0.3 of another training: 0.02, of 1 degree.  σ² (2 · 0.01 + 0.02) / 3, v (0.03² + 0.01²) / 2."""
    curves = [
        *(curve("small", "pawsx", SMALL, 0.0), curve("large", "pawsx", LARGE, 0.03)),
        *(curve("small", "xnli", {1: 0.4, 2: 0.4, 3: 0.9}, 0.01), curve("large", "xnli", {0: 0.9, 1: 0.5, 2: 0.7}, 0)),
        *(curve("small", "xquad", {0: 0.4, 1: 0.8}, 0.2), curve("large", "xquad", {1: 0.1, 2: 0.7}, 0.2)),  # one seed
        curve("large", "mlqa", LARGE, 0.5),  # of one scale
    ]
    found = stored(curves, 0.1)
    assert (found.trainings, found.seeds) == (2, 3)
    assert found.by_seed == pytest.approx(math.sqrt(0.04 / 3))
    assert found.by_examples == pytest.approx(math.sqrt(0.0005))


def test_an_outlook_by_hand():
    """σ = 0.1, two degrees of freedom, whose χ² exceeds −2 ln 0.8 in four studies of five; G*Power's n for d = 1 is 10,
    and its d for n = 3 is 3.264.  A second training has the same seeds, and adds no degree of freedom."""
    trainings = [(scale, target) for scale in ("small", "large") for target in ("pawsx", "xnli")]
    curves = [curve(*one, SMALL if one[0] == "small" else LARGE, 0.0) for one in trainings]
    found = stored(curves, 0.1)
    assert (found.by_seed, found.by_examples) == (pytest.approx(0.1), 0)
    assert found.needed == 10
    assert found.visible == pytest.approx(0.3264, rel=2e-3)
    assert stored(curves, 0.1 * math.sqrt(2 / (-2 * math.log(0.8)))).cautious == 10


differences = st.lists(st.integers(-30, 30), min_size=2, max_size=4, unique=True)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(differences, min_size=1, max_size=3), st.integers(1, 9), st.sampled_from([0.01, 0.5, 3.0]))
def test_an_outlook_lies_between_those_of_its_trainings_and_knows_neither_level_nor_unit(trainings, noise, unit):
    def study(trainings, unit=1.0, level=0.0):
        for target, gaps in zip(("pawsx", "xnli", "xquad"), trainings, strict=False):
            smaller = {seed: unit * level * (seed + 1) for seed in range(len(gaps))}
            yield curve("small", target, smaller, 0.0)
            larger = {seed: smaller[seed] + unit * gap / 100 for seed, gap in enumerate(gaps)}
            yield curve("large", target, larger, unit * noise / 1000)

    found = stored(list(study(trainings)), 0.1)
    own = [np.std(gaps, ddof=1) / 100 for gaps in trainings]
    assert min(own) - 1e-9 <= found.by_seed <= max(own) + 1e-9
    assert found.by_examples == pytest.approx(noise / 1000)
    assert 2 <= found.needed <= found.cautious
    other = stored(list(study(trainings, unit, level=0.2)), 0.1 * unit)
    assert (other.trainings, other.seeds) == (len(trainings), max(map(len, trainings)))
    assert other.by_seed == pytest.approx(unit * found.by_seed)
    assert other.visible == pytest.approx(unit * found.visible, rel=2e-3)
    assert (other.needed, other.cautious) == (found.needed, found.cautious)
