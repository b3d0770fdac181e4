"""Known forms are found again with their parameters, and what was not probed is not told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.inference.statistics import Bootstrap, Examples
from analysis.measures import decay
from analysis.measures.decay import FORMS
from tests.analysis import made

STEPS = np.array([0.0, *(2.0 ** np.arange(11))])
BY_NAME = {form.name: form for form in FORMS}


def true_curve(name: str, half: float, asymptote: float = 0.0) -> np.ndarray:
    return decay.curve(BY_NAME[name], np.array([half]), np.array([asymptote]), STEPS)[0]


def fit_of(value: np.ndarray, noise: float = 1e-6, seeds: int = 5, steps: np.ndarray = STEPS) -> decay.Fit:
    by_seed = value + np.random.default_rng(1).normal(0, noise, (seeds, len(steps)))
    by_seed[:, 0] = 1
    bootstrap = Bootstrap(np.random.default_rng(0), 400)
    samples = bootstrap.means(Examples.alike(by_seed[:, None]))
    return decay.fit(by_seed.mean(axis=0), samples, steps, seeds, bootstrap)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(half=st.floats(0.3, 900))
def test_half_of_what_is_lost_is_lost_at_h(form, half):
    one = np.array([half])
    assert form.shape(np.array([0.0]), one) == pytest.approx(1)
    assert form.shape(one, one) == pytest.approx(0.5)
    assert form.reach(form.shape(np.array([7.0]), one), one) == pytest.approx(7, rel=1e-6)


@pytest.mark.parametrize(
    ("form", "half", "asymptote", "half_life"),
    [
        ("exponential", 40, 0, 40),
        ("power", 40, 0, 40),
        ("plateau", 20, 0.25, 20 * math.log2(3)),  # ¼ + ¾ · ⅓ = ½
        ("plateau", 8, 0.7, math.inf),
    ],
)
def test_a_known_form_is_found_with_its_half_life_and_asymptote(form, half, asymptote, half_life):
    found = fit_of(true_curve(form, half, asymptote))
    assert found.form == form
    assert found.error < 0.01
    assert found.half_life.value == pytest.approx(half_life, rel=0.05)
    if form == "plateau":
        assert found.asymptote.value == pytest.approx(asymptote, abs=0.01)
    else:
        assert math.isnan(found.asymptote.value)


@pytest.mark.slow
@given(st.floats(2, 300), st.floats(0, 0.9), st.floats(0.01, 1))
def test_the_fit_is_no_worse_than_any_other_of_its_form(half, asymptote, noise):
    """Least squares: neither the truth nor another point of the grid comes closer to a noisy curve."""
    form = BY_NAME["plateau"]
    noisy = true_curve("plateau", half, asymptote) + np.random.default_rng(3).normal(0, noise, len(STEPS))
    best = decay.fitted(form, noisy[None], STEPS)
    grid = np.geomspace(STEPS[1] / decay.BEYOND, STEPS[-1] * decay.BEYOND, decay.GRID)

    def error(half, asymptote):
        return ((decay.curve(form, half, asymptote, STEPS) - noisy) ** 2).sum(axis=1)

    others = error(grid, np.full(len(grid), asymptote))
    assert 0 <= best[1][0] <= 1
    assert error(*best)[0] <= others.min() + 1e-9


def test_intervals_widen_with_noise_and_mostly_hold_the_truth():
    truth = true_curve("plateau", 30, 0.3)
    quiet, loud = (fit_of(truth, noise) for noise in (0.005, 0.05))
    for found in (quiet, loud):
        assert found.asymptote.low < 0.3 < found.asymptote.high
    assert loud.asymptote.high - loud.asymptote.low > 3 * (quiet.asymptote.high - quiet.asymptote.low)
    assert quiet.half_life.low < 30 * math.log2(0.7 / 0.2) < quiet.half_life.high


def test_a_half_life_beyond_the_last_probed_step_is_not_told():
    found = fit_of(true_curve("exponential", 5000))
    assert math.isinf(found.half_life.value)
    assert math.isnan(found.half_life.low)
    near = fit_of(true_curve("exponential", 950), noise=0.05)
    assert math.isinf(near.half_life.high)


def test_few_steps_are_not_fitted():
    found = fit_of(np.array([1.0, 0.9, 0.8, 0.7]), steps=np.array([0.0, 1, 2, 4]))
    assert "fewer than 4" in found.undefined
    assert found.form == ""
    assert math.isnan(found.half_life.value)
    assert math.isnan(found.asymptote.value)


def test_one_seed_without_examples_has_a_fit_and_no_interval():
    found = fit_of(true_curve("plateau", 20, 0.2), seeds=1)
    assert found.form == "plateau"
    assert math.isfinite(found.half_life.value)
    for end in (found.half_life.low, found.half_life.high, found.asymptote.low):
        assert math.isnan(end)


def test_a_curve_that_is_not_a_number_is_not_fitted():
    value = true_curve("plateau", 20, 0.2)
    found = decay.fit(np.where(STEPS == 8, np.nan, value), value[None].repeat(3, 0), STEPS, 3, made.bootstrap())
    assert (found.form, found.undefined) == ("", "a probe is not a number")
    half, asymptote = decay.fitted(BY_NAME["plateau"], np.stack([value, np.where(STEPS == 8, np.nan, value)]), STEPS)
    assert np.isnan(half).tolist() == np.isnan(asymptote).tolist() == [False, True]


@pytest.mark.slow
@given(st.floats(2, 300), st.floats(0, 0.9), st.integers(0, 50))
def test_a_weight_of_0_leaves_a_step_out_and_a_common_one_changes_nothing(half, asymptote, seed):
    form, curve = BY_NAME["plateau"], true_curve("plateau", half, asymptote)[None]
    curve = curve + np.random.default_rng(seed).normal(0, 0.05, curve.shape)
    plain, alike = (decay.fitted(form, curve, STEPS, weights) for weights in (None, np.full(curve.shape, 1.0)))
    np.testing.assert_array_equal(plain, alike)
    weights = (STEPS != 16).astype(float)[None]
    other = np.where(STEPS == 16, 0.123, curve)
    np.testing.assert_allclose(
        decay.fitted(form, curve, STEPS, weights), decay.fitted(form, other, STEPS, weights), atol=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(half=st.floats(0.3, 900), asymptote=st.floats(0, 0.95))
def test_a_fitted_curve_falls_from_1_to_what_stays_and_is_at_one_half_at_its_half_life(form, half, asymptote):
    stays = np.array([asymptote if form.stays else 0.0])
    curve = decay.curve(form, np.array([half]), stays, STEPS)[0]
    assert curve[0] == pytest.approx(1)
    assert (np.diff(curve) <= 1e-12).all()
    assert (curve >= stays - 1e-12).all()
    (at,) = decay.half_life(form, np.array([half]), stays)
    assert math.isinf(at) == (stays[0] >= 0.5)
    if at < 1e12:
        assert decay.curve(form, np.array([half]), stays, np.array([at]))[0, 0] == pytest.approx(0.5, abs=1e-6)


def test_the_error_left_out_of_a_true_curve_is_small_and_of_another_form_larger():
    curve = true_curve("plateau", 20, 0.3)
    errors = {form.name: decay.held_out_error(form, curve, STEPS) for form in FORMS}
    assert min(errors, key=errors.__getitem__) == "plateau"
    assert errors["plateau"] < 0.01 < errors["exponential"]


def foretold(form: decay.Form, curve: np.ndarray, place: int) -> float:
    """What the other steps say of one: each h of the grid is tried, with the a that suits it best."""
    kept = np.arange(len(STEPS)) != place
    fits = []
    for half in np.geomspace(STEPS[1] / decay.BEYOND, STEPS[-1] * decay.BEYOND, decay.GRID):
        lost = form.shape(STEPS, np.array(half))
        stays, left = (1 - lost)[kept], (curve - lost)[kept]
        a = min(max(float(stays @ left / (stays @ stays)), 0.0), 1.0) if form.stays else 0.0
        fits.append((float(((left - a * stays) ** 2).sum()), a + (1 - a) * lost[place]))
    return min(fits)[1]


@pytest.mark.slow
@settings(max_examples=25)
@given(st.sampled_from(FORMS), st.floats(2, 300), st.floats(0, 0.9), st.integers(0, 50))
def test_the_error_left_out_is_that_of_fits_made_one_after_another(form, half, asymptote, seed):
    noise = np.random.default_rng(seed).normal(0, 0.05, len(STEPS))
    curve = true_curve("plateau", half, asymptote) + noise
    errors = [foretold(form, curve, place) - curve[place] for place in range(1, len(STEPS))]
    expected = math.sqrt(np.mean(np.square(errors)))
    assert decay.held_out_error(form, curve, STEPS) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=25)
@given(st.sampled_from(FORMS), st.floats(2, 900), st.floats(0, 0.9), st.sampled_from([1e-6, 0.01, 0.1]))
def test_no_other_form_foretells_better_and_no_half_life_is_told_that_was_not_probed(form, half, asymptote, noise):
    found = fit_of(true_curve(form.name, half, asymptote if form.stays else 0.0), noise, seeds=3)
    by_seed = true_curve(form.name, half, asymptote if form.stays else 0.0) + np.random.default_rng(1).normal(
        0, noise, (3, len(STEPS))
    )
    by_seed[:, 0] = 1
    errors = {one.name: decay.held_out_error(one, by_seed.mean(axis=0), STEPS) for one in FORMS}
    assert found.error == errors[found.form]
    assert found.error <= min(errors.values()) + decay.ALIKE
    assert found.half_life.value <= STEPS[-1] or math.isinf(found.half_life.value)
    assert math.isnan(found.asymptote.value) == (not BY_NAME[found.form].stays)
