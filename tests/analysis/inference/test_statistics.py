"""Intervals cover what they should, pairing narrows them, and Holm's correction is Holm's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from analysis.inference.statistics import (
    ROUNDING,
    UNDEFINED,
    Bootstrap,
    Estimate,
    Examples,
    holm,
    interquartile_mean,
    p_value,
    replicability,
    spread,
    variances,
)
from trainers.families import tagging
from trainers.families.metrics import precision_recall_f1


def bootstrap(seed: int = 0, resamples: int = 1000) -> Bootstrap:
    return Bootstrap(np.random.default_rng(seed), resamples)


def test_resampled_means_centre_on_the_mean_and_keep_further_axes():
    scores = np.random.default_rng(1).random((3, 200, 4))
    samples = bootstrap().means(Examples.alike(scores))
    assert samples.shape == (999, 4)  # thirds
    np.testing.assert_allclose(samples.mean(axis=0), scores.mean(axis=(0, 1)), atol=0.01)


@pytest.mark.slow
@given(st.lists(st.integers(2, 5), min_size=1, max_size=6), st.integers(2, 3))
def test_parts_drawn_together_are_the_parts_drawn_alone(counts, seeds):
    rng, strap = np.random.default_rng(0), bootstrap(resamples=30)
    parts = [Examples(rng.random((seeds, count, 1)), rng.integers(1, 4, (seeds, count, 1)) * 1.0) for count in counts]
    alone = np.concatenate([strap.means(part) for part in parts], axis=-1)
    np.testing.assert_allclose(strap.means_of_each(parts), alone, rtol=1e-12)


def test_resampled_means_are_those_of_drawn_seeds_and_examples():
    """Every resample weighs whole seeds and whole examples: of outer-product scores it is the product of means."""
    seeds, examples = np.array([1.0, 2, 5]), np.array([0.1, 0.2, 0.7, 1.0])
    strap = bootstrap()
    samples = strap.means(Examples.alike(np.outer(seeds, examples)))
    by_seed = strap.means(Examples.alike(np.repeat(seeds[:, None], 4, axis=1)))
    by_example = strap.means(Examples.alike(np.repeat(examples[None], 3, axis=0)))
    np.testing.assert_allclose(samples, by_seed * by_example)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 8])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds):
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        noise = rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.3, (1, 60)) + rng.normal(0, 0.1, (seeds, 60))
        strap, scores = Bootstrap(rng, 300), Examples.alike(0.5 + noise)
        low, high = strap.interval(scores.by_seed.mean(axis=0), strap.means(scores), seeds)
        hits += low <= 0.5 <= high
    assert 0.91 <= hits / 300 <= 0.99


@pytest.mark.slow
@given(st.integers(2, 12), st.integers(0, 1000))
def test_of_seeds_alone_the_interval_is_students(seeds, seed):
    by_seed = np.random.default_rng(seed).normal(0.6, 0.1, (seeds, 1))
    strap = bootstrap(resamples=20_000)
    found = strap.estimate(by_seed.mean(), strap.means(Examples.alike(by_seed)), seeds)
    low, high = stats.t.interval(0.95, seeds - 1, by_seed.mean(), stats.sem(by_seed[:, 0]))
    assert found.high - found.low == pytest.approx(high - low, rel=0.05)


def test_where_no_seed_has_a_part_the_interval_is_that_of_the_examples_and_of_one_seed_there_is_none():
    scores = np.random.default_rng(1).random((1, 200))
    strap = bootstrap(resamples=20_000)
    samples = strap.means(Examples.alike(scores))
    found = strap.estimate(scores.mean(), samples, None)
    assert found.high - found.low == pytest.approx(2 * 1.96 * stats.sem(scores[0]), rel=0.05)
    one = strap.estimate(scores.mean(), samples, 1)
    assert one.value == found.value
    assert math.isnan(one.low)
    assert not one.differs_from_zero
    assert math.isnan(p_value(scores.mean(), samples, 1))
    assert math.isnan(strap.greatest(0.1, np.array([0.1]), samples[:, None], 1).low)


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(3)
    without = (rng.random((3, 300)) < 0.5).astype(float)
    via = np.clip(without + (rng.random((3, 300)) < 0.05), 0, 1)
    strap = bootstrap()
    paired = np.std(strap.means(Examples.alike(via)) - strap.means(Examples.alike(without)))
    unpaired = np.std(strap.means(Examples.alike(via)) - bootstrap(seed=9).means(Examples.alike(without)))
    assert paired < unpaired / 2


def test_equal_seeds_give_equal_draws_in_whatever_order_they_are_asked():
    small, large = np.random.default_rng(4).random((2, 50)), np.random.default_rng(5).random((3, 80))
    first, second = bootstrap(), bootstrap()
    one, two = first.means(Examples.alike(small)), first.means(Examples.alike(large))
    np.testing.assert_array_equal(second.means(Examples.alike(large)), two)
    np.testing.assert_array_equal(second.means(Examples.alike(small)), one)


sentences = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=2, max_size=12)


@pytest.mark.slow
@given(sentences)
def test_f1_of_drawn_sentences_is_that_of_their_summed_chunks(rows):
    """Σ 2 · right / Σ (predicted + gold): what `chunks` counts for the drawn sentences together."""
    counts = np.array([(right, right + wrong, right + missed) for right, wrong, missed in rows])
    scores, weights = tagging.chunk_f1_of_each(counts)
    examples = Examples(scores[None], weights[None].astype(float))
    assert examples.by_seed[0] == pytest.approx(precision_recall_f1(*counts.sum(0).tolist())[2])
    strap = bootstrap(resamples=30)
    drawn = np.round(strap._draw(1, len(counts)) * (len(counts) - 1)).astype(int)
    expected = [precision_recall_f1(*np.repeat(counts, times, axis=0).sum(0).tolist())[2] for times in drawn]
    np.testing.assert_allclose(strap.means(examples)[10:20], expected, atol=1e-12)


def test_weights_may_differ_by_seed_and_step_and_the_mean_over_seeds_is_of_whole_scores():
    scores, weights = np.random.default_rng(8).random((2, 3, 40, 2))
    found = Examples(scores, weights)
    for seed in range(3):
        for step in range(2):
            alone = np.average(scores[seed, :, step], weights=weights[seed, :, step])
            assert found.by_seed[seed, step] == pytest.approx(alone)
    strap = bootstrap()
    by_seed = np.array(
        [strap.means(Examples(scores[[seed]], weights[[seed]])) for seed in range(3)]
    )  # [seeds, B, steps]
    by_seeds, by_examples, by_both = np.split(strap.means(found), 3)
    drawn = by_seed[:, 333:666]
    np.testing.assert_allclose(by_seeds, strap._draw(0, 3) @ found.by_seed)
    np.testing.assert_allclose(by_examples, drawn.mean(axis=0))
    np.testing.assert_allclose(by_both, np.einsum("bs,sbt->bt", strap._draw(0, 3), drawn))


def test_one_seed_and_one_example_have_no_interval():
    strap = bootstrap()
    samples = strap.means(Examples.alike(np.array([[0.7]])))
    estimate = strap.estimate(0.7, samples, 1)
    assert math.isnan(estimate.low)
    assert not estimate.differs_from_zero
    assert math.isnan(p_value(0.7, samples, 1))


@pytest.mark.slow
@given(st.floats(-1, 1), st.floats(0.01, 1), st.integers(2, 6), st.integers(1, 30))
def test_what_never_varied_has_no_interval(gain, score, seeds, examples):
    """Two seeds that agree to the last digit, or up to rounding, do not tell how a third would differ."""
    strap = Bootstrap(np.random.default_rng(0), 60)
    without = score * np.random.default_rng(seeds).random((seeds, examples))
    samples = strap.means(Examples.alike(without + gain)) - strap.means(Examples.alike(without))
    found = strap.estimate(gain, samples, seeds)
    assert found.value == gain
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.differs_from_zero


@pytest.mark.parametrize(("seeds", "confidence"), [(2, 0.8), (3, 0.95), (5, 0.99)])
def test_p_is_below_the_level_just_where_the_interval_leaves_zero_out(seeds, confidence):
    scores = Examples.alike(np.random.default_rng(seeds).normal(0, 0.1, (seeds, 40)))
    strap = Bootstrap(np.random.default_rng(0), 1000, confidence)
    samples = strap.means(scores)
    half_width = strap.estimate(0.0, samples, seeds).high
    assert p_value(0.999 * half_width, samples, seeds) > 1 - confidence
    assert p_value(1.001 * half_width, samples, seeds) < 1 - confidence


def test_equal_gains_of_two_seeds_are_not_testable():
    """Where scores of single examples are missing, seeds are all that varies: W&B, and BUCC's F1."""
    without, via = np.array([[0.61], [0.67]]), np.array([[0.63], [0.69]])
    strap = bootstrap()
    samples = strap.means(Examples.alike(via)) - strap.means(Examples.alike(without))
    assert 0 < np.ptp(samples) < 1e-15  # rounding, no variance
    assert math.isnan(p_value(0.02, samples, 2))
    assert math.isnan(strap.estimate(0.02, samples, 2).low)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0.0, 0.05, 0.3])
def test_the_interval_of_the_greatest_difference_holds_the_true_one(lost):
    """Of a flat curve the greatest of nine probes lies above 0 by luck, and a t interval about it above the truth."""
    rng, seeds = np.random.default_rng(0), 5
    hits = plain = 0
    for _ in range(300):
        curve = 0.8 - lost * np.linspace(0, 1, 9) + rng.normal(0, 0.02, (seeds, 1, 9)) + rng.normal(0, 0.3, (1, 100, 9))
        strap, scores = Bootstrap(rng, 300), Examples.alike(curve)
        total, samples = scores.by_seed.mean(axis=0), strap.means(scores)
        value = total.max() - total[-1]
        found = strap.greatest(value, total - total[-1], samples - samples[:, -1:], seeds)
        assert 0 <= found.low <= found.value <= found.high
        hits += found.low <= lost <= found.high
        about = strap.estimate(value, samples.max(axis=1) - samples[:, -1], seeds)
        plain += about.low <= lost <= about.high
    assert hits / 300 > 0.93
    if not lost:
        assert plain / 300 < 0.9


def test_the_greatest_of_what_never_varied_has_no_interval():
    found = bootstrap().greatest(0.1, np.array([0.1, 0.0]), np.tile([0.1, 0.0], (999, 1)), 2)
    assert found.value == 0.1
    assert math.isnan(found.low)


@pytest.mark.slow
@given(st.integers(0, 50), st.floats(0.1, 10))
def test_the_greatest_difference_does_not_know_the_order_of_the_others_and_stretches_with_them(seed, unit):
    rng = np.random.default_rng(seed)
    differences, samples = rng.normal(0, 1, 4), rng.normal(0, 1, (30, 4))
    strap, order = bootstrap(), rng.permutation(4)
    plain = strap.greatest(differences.max(), differences, samples, 3)
    other = strap.greatest(unit * differences.max(), unit * differences[order], unit * samples[:, order], 3)
    assert other.low == pytest.approx(unit * plain.low)
    assert other.high == pytest.approx(unit * plain.high)


def test_p_of_arms_that_are_the_same_in_everything_is_1():
    assert p_value(0.0, np.zeros(12), 3) == 1
    assert math.isnan(p_value(0.1, np.full(12, 0.1), 3))
    assert math.isnan(p_value(0.0, np.full(12, math.nan), 1))


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_could_not_be_tested():
    np.testing.assert_allclose(holm([0.01, math.nan, 0.04]), [0.02, math.nan, 0.04])


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p_values):
    p, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    assert interquartile_mean(np.array([[0, 1, 2, 3], [4, 5, 6, 1000]])) == 3.5
    assert math.isnan(interquartile_mean(np.empty((3, 0))))


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=40), st.floats(-10, 10))
def test_the_interquartile_mean_is_inside_the_middle_and_moves_with_the_values(values, shift):
    found = interquartile_mean(np.array(values))
    ordered = sorted(values)
    cut = len(values) // 4
    assert ordered[cut] - 1e-9 <= found <= ordered[-cut - 1] + 1e-9
    assert interquartile_mean(np.array(values) + shift) == pytest.approx(found + shift, abs=1e-6)


def test_variances_over_seeds_and_examples_are_told_apart():
    by_seed, by_example = np.random.default_rng(0).normal(0, [[1.0], [0.2]], (2, 40))
    scores = Examples.alike(by_seed[:, None] + by_example[None])
    of_seeds, of_examples = variances(bootstrap(resamples=20_000).means(scores))
    assert of_seeds == pytest.approx(by_seed.var(ddof=1) / 40, rel=0.05)
    assert of_examples == pytest.approx(by_example.var(ddof=1) / 40, rel=0.05)


def test_the_chance_of_single_runs_counts_once():
    scores = np.random.default_rng(0).normal(0, 1, (40, 60))
    of_seeds, of_examples = variances(bootstrap(resamples=20_000).means(Examples.alike(scores)))
    assert of_seeds == pytest.approx(scores.mean(axis=1).var(ddof=1) / 40, rel=0.05)
    runs = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    once = (runs**2).sum() / (39 * 59) / (40 * 60)
    assert of_examples == pytest.approx(max(0, scores.mean(axis=0).var(ddof=1) / 60 - once), abs=0.1 * of_seeds)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(2, 20))
def test_freedom_is_that_of_seeds_where_they_decide_and_without_end_where_they_do_not(of_seeds, of_examples, seeds):
    both = of_seeds + of_examples
    samples = np.array([-of_seeds, of_seeds, -of_examples, of_examples, -both, both])  # a deviation for each third
    error, freedom = spread(samples, seeds)
    size = math.hypot(of_seeds, of_examples)
    assert math.isnan(error) if size <= ROUNDING else error == pytest.approx(size)
    assert freedom >= seeds - 1
    if of_examples == 0 < of_seeds**2:
        assert freedom == seeds - 1
    if of_seeds**2 == 0:
        assert freedom == math.inf


def test_replicability_by_hand():
    """4 · 0.001, 3 · 0.01 are within 0.05 and 2 · 0.03 is not."""
    assert replicability([0.03, 0.001, 0.5, 0.01]) == 2
    assert replicability([0.5, 0.001 * math.nan]) == 0
    assert replicability([]) == 0
    assert replicability([0.0, 0.0]) == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.2))
def test_replicability_counts_what_holm_rejects(p_values, level):
    """Dror et al. 2017: k̂ of Bonferroni's variant is the number that Holm's procedure rejects."""
    margin = np.abs(holm(p_values) - level)
    if margin.min() > 1e-9:  # not decided by rounding
        assert replicability(p_values, level) == (holm(p_values) <= level).sum()


@pytest.mark.slow
@given(sentences, st.integers(0, 2))
def test_the_mean_over_all_examples_is_the_score_whatever_weighs(rows, ignored):
    """Even shares draw everything as it is; sentences without a chunk, and nothing but such, included."""
    counts = np.array(rows, dtype=float)
    scores = np.random.default_rng(len(rows)).random((2, len(rows)))
    weights = np.tile(counts[:, 1:].sum(axis=1) * (ignored > 0), (2, 1))
    found = Examples(scores, weights)
    even = np.full((1, len(rows)), 1 / len(rows))
    np.testing.assert_allclose(found.drawn(even)[0], found.by_seed, atol=1e-12)


@pytest.mark.slow
@given(st.lists(st.floats(0, 1, width=16), min_size=2, max_size=20), st.floats(-2, 2), st.floats(0.1, 10))
def test_intervals_move_and_stretch_with_the_scores(values, shift, unit):
    scores, strap = np.array([values, values[::-1]]), bootstrap(resamples=90)
    before, after = (
        strap.estimate(one.mean(), strap.means(Examples.alike(one)), 2) for one in (scores, shift + unit * scores)
    )
    assert after.low == pytest.approx(shift + unit * before.low, abs=1e-6, nan_ok=True)
    assert after.high == pytest.approx(shift + unit * before.high, abs=1e-6, nan_ok=True)


@pytest.mark.slow
@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6), st.integers(2, 9))
def test_p_knows_no_sign_and_falls_with_the_distance_from_0(samples, seeds):
    drawn = np.array(samples)
    assume(np.isfinite(spread(drawn, seeds)[0]))
    for value in (0.0, 0.1, 0.5):
        assert 0 <= p_value(value, drawn, seeds) <= 1
        assert p_value(value, drawn, seeds) == p_value(-value, -drawn, seeds)
        assert p_value(2 * value, drawn, seeds) <= p_value(value, drawn, seeds)


def test_an_estimate_differs_from_0_just_where_its_interval_lies_to_one_side():
    assert Estimate(0.2, 0.1, 0.3).above_zero
    assert Estimate(-0.2, -0.3, -0.1).below_zero
    for one in (Estimate(0.2, -0.1, 0.3), Estimate(0.2, 0.0, 0.3), Estimate(5.0), UNDEFINED):
        assert not one.differs_from_zero


@pytest.mark.slow
@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12), st.randoms())
def test_corrections_do_not_hang_on_the_order_of_the_tests(p_values, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    shuffled = [p_values[place] for place in order]
    np.testing.assert_allclose(holm(shuffled), holm(p_values)[order])
    assert replicability(shuffled) == replicability(p_values)


def test_a_score_that_is_not_a_number_has_no_middle():
    assert math.isnan(interquartile_mean(np.array([0.1, 0.2, 0.3, math.nan])))


@given(st.integers(0, 50))
def test_variances_are_never_negative_and_grow_with_the_square_of_the_unit(seed):
    samples = np.random.default_rng(seed).normal(0, 1, 30)
    for one, other in zip(variances(samples), variances(3 * samples), strict=True):
        assert one >= 0
        assert other == pytest.approx(9 * one)
