"""Curves, slopes and comparisons of heads have the values one works out by hand, and the invariances of measures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.inference.statistics import variances
from analysis.measures import decay
from analysis.measures.curves import HEADS, Curve, final_means, head_comparisons, retention_curves
from analysis.measures.trends import scale_trends
from tests.analysis.made import CHANCE, SIZES, arm, bootstrap, curve, measurements
from trainers.stage.scores import FOLDS, without_fold

STEPS = (0, 1, 3, 7)
MNLI = arm("mnli")
STORED = [[0.8, 0.7, 0.6, 0.6], [0.82, 0.7, 0.62, 0.62], [0.78, 0.7, 0.58, 0.58]]
REFIT = [[0.7, 0.7, 0.65, 0.65], [0.72, 0.7, 0.67, 0.67], [0.68, 0.7, 0.63, 0.63]]


def probes(owner=MNLI, stored=STORED, refit=REFIT, base=0.5, language="en") -> dict:
    scores = {}
    for key, parent, *heads in zip(owner.ordered_keys, owner.parents.values(), stored, refit, strict=True):
        scores[parent, "untouched", "mnli", language, 0] = base
        for head, values in zip(HEADS, heads, strict=True):
            scores |= {(key, head, "mnli", language, step): value for step, value in zip(STEPS, values, strict=True)}
    return scores


def curves_of(scores, owner=MNLI, chance=CHANCE) -> dict[str, Curve]:
    found = retention_curves([owner], measurements(scores, chance), bootstrap())
    return {curve.head: curve for curve in found}


def test_curves_by_hand():
    found = curves_of(probes())
    np.testing.assert_allclose(found["stored"].value, [1, 0.75, 0.5, 0.5])
    np.testing.assert_allclose(found["refit"].value, [1, 1, 0.75, 0.75])
    np.testing.assert_allclose(found["stored"].by_seed[0], [1, 0.75, 0.5, 0.5])
    assert found["stored"].final.value == pytest.approx(0.5)
    assert found["stored"].area.value == pytest.approx((0.875 + 0.625 + 0.5) / 3)
    assert found["refit"].half_life == math.inf
    assert found["stored"].backward_transfer.value == pytest.approx(-0.2)
    assert found["refit"].forgetting.value == pytest.approx(0.05)
    assert found["stored"].path == "mnli → pawsx"
    assert not found["stored"].same_task


falling = arrays(np.float64, (3, 4), elements=st.floats(0, 0.3))


@pytest.mark.slow
@given(falling, st.floats(0.1, 0.5), st.floats(0, 0.4))
def test_retention_does_not_know_the_unit_of_scores_nor_where_their_zero_is(losses, unit, shift):
    scores = 0.8 - losses
    scores[:, 0] = [0.8, 0.81, 0.79]
    one = curves_of(probes(stored=scores.tolist()))["stored"]
    other = curves_of(probes(stored=(shift + unit * scores).tolist()), chance=shift + unit * CHANCE)["stored"]
    np.testing.assert_allclose(other.value, one.value, atol=1e-9)
    np.testing.assert_allclose([other.low, other.high], [one.low, one.high], atol=1e-6)
    np.testing.assert_allclose(other.area.value, one.area.value, atol=1e-9)
    np.testing.assert_allclose(other.backward_transfer.value, unit * one.backward_transfer.value, atol=1e-9)
    assert one.forgetting.value >= 0


@pytest.mark.slow
@given(falling, st.permutations([0, 1, 2]))
def test_the_order_of_seeds_does_not_matter(losses, order):
    scores = (0.8 - losses).tolist()
    one = curves_of(probes(stored=scores))["stored"]
    other = curves_of(probes(stored=[scores[seed] for seed in order]))["stored"]
    np.testing.assert_allclose(other.value, one.value, atol=1e-12)
    np.testing.assert_allclose(other.by_seed, one.by_seed[list(order)])


def without_folds(owner, refit, base) -> dict:
    """Scores of the refit heads without each fold: `refit` and `base` are [folds, τ] and [folds]."""
    scores = {}
    for fold in range(FOLDS):
        for key, parent in zip(owner.ordered_keys, owner.parents.values(), strict=True):
            scores[parent, without_fold("untouched", fold), "mnli", "en", 0] = base[fold]
            scores |= {
                (key, without_fold("refit", fold), "mnli", "en", step): value
                for step, value in zip(STEPS, refit[fold], strict=True)
            }
    return scores


def test_what_other_refit_examples_would_change_widens_the_interval_of_the_refit_head():
    """With the jackknife's variance, (k - 1) / k times the sum of squares; the stored head knows nothing of it."""
    changes = np.array([0.03, -0.03, 0.02, -0.02, 0.0])
    plain = curves_of(probes())
    refit = np.array([[0.7, 0.7, 0.65, 0.65]]) + changes[:, None] * [0, 0, 0, 1]
    wide = curves_of(probes() | without_folds(MNLI, refit, np.full(FOLDS, 0.5)))
    np.testing.assert_array_equal(wide["stored"].high, plain["stored"].high)
    np.testing.assert_allclose(wide["refit"].value, plain["refit"].value)
    np.testing.assert_allclose(wide["refit"].high[:3], plain["refit"].high[:3])
    of_seeds, of_examples = variances(wide["refit"].final_samples)
    assert of_seeds == pytest.approx(variances(plain["refit"].final_samples)[0])
    assert of_examples == pytest.approx(0.8 * np.square(changes / 0.2).sum(), rel=0.4)  # P(0) - P_base is 0.2
    assert wide["refit"].high[3] - wide["refit"].low[3] > 1.2 * (plain["refit"].high[3] - plain["refit"].low[3])


def test_refit_examples_that_lift_p_at_every_step_alike_leave_retention_as_certain_as_it_was():
    """The same folds are left out of the untouched encoder's probe and of all others, so that changes cancel."""
    changes = np.array([0.03, -0.03, 0.02, -0.02, 0.0])
    refit = np.array([[0.7, 0.7, 0.65, 0.65]]) + changes[:, None]
    found = curves_of(probes() | without_folds(MNLI, refit, 0.5 + changes))["refit"]
    np.testing.assert_allclose(found.high, curves_of(probes())["refit"].high)


def test_one_seed_without_examples_has_no_interval_and_so_no_retention():
    one = arm("mnli", seeds=(0,))
    for found in curves_of(probes(one, STORED[:1], REFIT[:1]), one).values():
        assert "has no interval" in found.undefined
        assert math.isnan(found.final.value)
        assert math.isnan(found.half_life)
        assert found.fit == decay.NO_FIT


def test_nothing_learned_leaves_nothing_to_retain():
    flat = [[CHANCE + noise] * 4 for noise in (-0.01, 0, 0.01)]
    stored = curves_of(probes(stored=flat))["stored"]
    assert "nothing to retain" in stored.undefined
    assert math.isnan(stored.final.value)
    assert math.isnan(stored.area.value)


def test_a_step_that_one_seed_lacks_is_in_no_curve_and_without_the_first_there_is_none():
    scores = probes()
    lacking = {point: value for point, value in scores.items() if point[0] != MNLI.keys[1] or point[4] != 3}
    assert curves_of(lacking)["stored"].steps.tolist() == [0, 1, 7]
    assert curves_of({point: value for point, value in scores.items() if point[0] != MNLI.keys[1] or point[4]}) == {}


def test_a_probe_that_is_not_a_number_gives_no_final_retention():
    spoilt = [[*STORED[0][:3], math.nan], *STORED[1:]]
    stored = curves_of(probes(stored=spoilt))["stored"]
    assert math.isnan(stored.final.value)
    assert math.isnan(stored.area.value)
    assert math.isnan(stored.half_life)


# -- over scales ----------------------------------------------------------------------------------------------

finals = st.lists(st.floats(-1, 2), min_size=3, max_size=3)


def test_undefined_and_foreign_curves_have_no_part_in_trends_means_and_comparisons():
    odd = [curve(0.9, "large", undefined="nothing to retain"), replace(curve(0.9, "large"), language="de")]
    curves = [curve(0.3, "small"), *odd]
    assert scale_trends(curves, bootstrap()) == []
    assert [name[0].scale for name in final_means(curves, bootstrap())] == ["small"]
    assert head_comparisons([*curves, curve(0.5, "small", "refit")], bootstrap())[0].stored.value == pytest.approx(0.3)


@pytest.mark.slow
@given(finals, finals)
def test_exchanging_the_heads_turns_their_difference_round(stored, refit):
    assume(len(set(stored)) + len(set(refit)) > 2)

    def compared(first, second):
        curves = [
            curve(final, scale, head)
            for head, values in zip(HEADS, (first, second), strict=True)
            for final, scale in zip(values, SIZES, strict=True)
        ]
        return head_comparisons(curves, bootstrap())

    for there, back in zip(compared(stored, refit), compared(refit, stored), strict=True):
        assert (there.stored, there.refit) == (back.refit, back.stored)
        assert there.difference.value == pytest.approx(-back.difference.value)
        assert there.difference.value == pytest.approx(there.refit.value - there.stored.value)


def test_a_training_through_one_head_only_is_not_compared():
    assert head_comparisons([curve(0.3), curve(0.4, "medium", "refit")], bootstrap()) == []


def test_final_means_are_over_the_probed_tasks_of_each_arm_and_head():
    several = {"intermediate": "mnli+squad"}
    curves = [curve(0.2, **several), curve(0.6, task="squad", **several), curve(0.5, head="refit", **several)]
    found = {(one.intermediate, head): mean.value for (one, head), mean in final_means(curves, bootstrap()).items()}
    assert found == {("mnli+squad", "stored"): pytest.approx(0.4), ("mnli+squad", "refit"): pytest.approx(0.5)}


@pytest.mark.slow
@given(st.floats(-1, 2))
def test_the_final_mean_of_one_task_is_its_own(final):
    one = curve(final)
    (mean,) = final_means([one], bootstrap()).values()
    assert mean.value == pytest.approx(final)
    assert mean.low <= mean.value <= mean.high
