"""Gains, gaps and their intervals are those that one works out by hand, and what cannot be paired is not."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.inference.statistics import UNDEFINED, Bootstrap, holm
from analysis.measures.transfer import Cell, Gain, Scores, cells, lacking, languages_by_target, mean_gains
from tests.analysis.made import arm, bootstrap, measurements, zero_shot

NONE, MNLI = arm("none"), arm("mnli")
BY_HAND = {
    NONE: [dict(en=0.70, de=0.50, sw=0.40), dict(en=0.72, de=0.54, sw=0.42), dict(en=0.71, de=0.52, sw=0.41)],
    MNLI: [dict(en=0.80, de=0.56, sw=0.42), dict(en=0.78, de=0.57, sw=0.46), dict(en=0.79, de=0.58, sw=0.44)],
}  # fmt: skip

score = st.floats(0, 1)
tables = st.lists(st.fixed_dictionaries({"en": score, "de": score, "sw": score}), min_size=3, max_size=3)


def cells_of(scores, resamples: int = 300) -> dict[str, Cell]:
    """By intermediate."""
    return {cell.arm.intermediate: cell for cell in cells_in(scores, bootstrap(resamples))}


def cells_in(scores, strap: Bootstrap) -> list[Cell]:
    return cells(list(scores), measurements(zero_shot(scores)), strap)


def test_a_cell_by_hand():
    plain, via = (cells_of(BY_HAND)[name] for name in ("none", "mnli"))
    assert via.scores["de"].value == pytest.approx(0.57)
    assert via.others.value == pytest.approx((0.57 + 0.44) / 2)
    assert via.others_iqm == pytest.approx(np.mean([0.44, 0.46, 0.56, 0.57]))
    assert via.gap.value == pytest.approx(0.79 - 0.505)
    assert [gain.gain.value for gain in via.gains] == pytest.approx([0.08, 0.05, 0.03])
    assert via.english_gain.value == pytest.approx(0.08)
    assert via.others_gain.value == pytest.approx(0.04)
    assert via.gain_retention.value == pytest.approx(0.5)
    assert via.gap_change.value == pytest.approx(0.08 - 0.04)
    assert (plain.gains, plain.paired_seeds) == ((), ())
    assert math.isnan(plain.english_gain.value)


def test_intervals_and_p_of_gains_are_those_of_a_paired_t_test():
    via = cells_of(BY_HAND, 30_000)["mnli"]
    for gain in via.gains:
        paired = stats.ttest_rel(*([seed[gain.language] for seed in BY_HAND[one]] for one in (MNLI, NONE)))
        low, high = paired.confidence_interval()
        assert gain.gain.high - gain.gain.low == pytest.approx(high - low, rel=0.05)
        assert gain.p == pytest.approx(paired.pvalue, rel=0.1)
    np.testing.assert_allclose([gain.p_holm for gain in via.gains], holm([gain.p for gain in via.gains]))


@pytest.mark.slow
@given(tables, tables)
def test_exchanging_the_arms_turns_every_gain_round(first, second):
    there = cells_of({NONE: first, MNLI: second})["mnli"]
    back = cells_of({NONE: second, MNLI: first})["mnli"]
    for one, other in zip(there.gains, back.gains, strict=True):
        assert one.gain.value == pytest.approx(-other.gain.value)
        np.testing.assert_allclose([one.gain.low, one.gain.high], [-other.gain.high, -other.gain.low], atol=1e-12)
        assert one.p == pytest.approx(other.p, nan_ok=True)
    assert there.gap_change.value == pytest.approx(-back.gap_change.value)


@pytest.mark.slow
@given(tables, tables, st.permutations([0, 1, 2]))
def test_which_number_a_seed_has_does_not_matter_as_long_as_both_arms_agree(first, second, order):
    before, after = (
        cells_of({NONE: [first[seed] for seed in places], MNLI: [second[seed] for seed in places]})["mnli"]
        for places in ((0, 1, 2), order)
    )
    assert [one.gain.value for one in before.gains] == pytest.approx([one.gain.value for one in after.gains])
    assert before.gap.value == pytest.approx(after.gap.value)
    assert before.others_iqm == pytest.approx(after.others_iqm)


def test_seeds_are_paired_by_their_number_and_not_by_their_place():
    """Where each arm lacks a seed that the other has."""
    plain, via = arm("none", seeds=(1, 2, 4)), arm("mnli", seeds=(0, 1, 4))
    scores = {
        plain: [dict(en=0.70, de=0.50), dict(en=0.10, de=0.10), dict(en=0.30, de=0.20)],
        via: [dict(en=0.05, de=0.05), dict(en=0.80, de=0.55), dict(en=0.60, de=0.40)],
    }
    cell = cells_of(scores)["mnli"]
    assert cell.paired_seeds == (1, 4)
    np.testing.assert_allclose(cell.gains_by_seed, [[0.10, 0.05], [0.30, 0.20]])
    assert [gain.gain.value for gain in cell.gains] == pytest.approx([0.20, 0.125])
    np.testing.assert_allclose(cell.paired_scores, [[0.675, 0.50], [0.60, 0.25]])


@pytest.mark.slow
@given(tables, tables, st.floats(-1, 1))
def test_what_both_arms_have_more_is_no_gain(first, second, more):
    moved = [
        [{language: value + more for language, value in seed.items()} for seed in both] for both in (first, second)
    ]
    one, other = (cells_of({NONE: plain, MNLI: via})["mnli"] for plain, via in ((first, second), moved))
    for before, after in zip(one.gains, other.gains, strict=True):
        assert after.gain.value == pytest.approx(before.gain.value, abs=1e-9)
        if math.isfinite(before.gain.low + after.gain.low):  # nothing varied, but for rounding
            assert after.gain.low == pytest.approx(before.gain.low, abs=1e-6)
    assert other.gap.value == pytest.approx(one.gap.value, abs=1e-9)


def test_one_seed_without_examples_has_gains_and_no_interval_p_or_share():
    one = {arm("none", seeds=(0,)): BY_HAND[NONE][:1], arm("mnli", seeds=(0,)): BY_HAND[MNLI][:1]}
    via = cells_of(one)["mnli"]
    assert via.english_gain.value == pytest.approx(0.1)
    for number in (via.english_gain.low, via.gains[0].p, via.gains[0].p_holm, via.gain_retention.value):
        assert math.isnan(number)


def test_a_language_that_one_seed_lacks_is_left_out_and_the_others_stay_their_own():
    lacking = [
        {language: value for language, value in BY_HAND[MNLI][0].items() if language != "de"},
        *BY_HAND[MNLI][1:],
    ]
    via = cells_of({NONE: BY_HAND[NONE], MNLI: lacking})["mnli"]
    assert {language: one.value for language, one in via.scores.items()} == pytest.approx({"en": 0.79, "sw": 0.44})
    assert via.gains == (), "scored in other languages than `none`"


def test_seeds_that_were_scored_after_different_steps_are_not_averaged_and_nothing_is_taken_for_another():
    scores = zero_shot({MNLI: BY_HAND[MNLI]})
    key, *point, _ = (first := next(one for one in scores if one[3] == "de"))
    scores = {(key, *point, 99) if one == first else one: value for one, value in scores.items()}
    (via,) = cells([MNLI], measurements(scores), bootstrap())
    assert {language: one.value for language, one in via.scores.items()} == pytest.approx({"en": 0.79, "sw": 0.44})


def test_a_score_that_is_not_a_number_spoils_its_own_language_and_no_other():
    spoilt = [{**BY_HAND[MNLI][0], "de": math.nan}, *BY_HAND[MNLI][1:]]
    via = cells_of({NONE: BY_HAND[NONE], MNLI: spoilt})["mnli"]
    gains = {gain.language: gain for gain in via.gains}
    assert math.isnan(gains["de"].gain.value)
    assert math.isnan(gains["de"].p_holm)
    assert gains["sw"].gain.value == pytest.approx(0.03)
    for number in (via.others_gain.value, via.others_iqm, via.gap.value, via.gain_retention.value):
        assert math.isnan(number)


def test_without_english_there_is_neither_gap_nor_share():
    foreign = {one: [{"de": seed["de"], "sw": seed["sw"]} for seed in by_seed] for one, by_seed in BY_HAND.items()}
    via = cells_of(foreign)["mnli"]
    assert via.others_gain.value == pytest.approx(0.04)
    for estimate in (via.gap, via.gap_change, via.gain_retention, via.english_gain):
        assert math.isnan(estimate.value)


def test_scores_resample_examples_where_there_are_some():
    own = arm("none", seeds=(0, 1))
    scores = zero_shot({own: [{"en": [1, 0, 1, 1], "de": [0, 0, 1, 0]}, {"en": [1, 1, 1, 1], "de": [1, 0, 1, 0]}]})
    found = Scores(own.ordered_keys, "pawsx", ["en", "de"], measurements(scores), bootstrap())
    np.testing.assert_allclose(found.by_seed, [[0.75, 0.25], [1, 0.5]])
    np.testing.assert_allclose(found.value, [0.875, 0.375])
    np.testing.assert_allclose(found.samples.mean(axis=0), found.value, atol=0.05)
    alone = Scores(own.ordered_keys, "pawsx", ["de"], measurements(scores), bootstrap())
    np.testing.assert_array_equal(alone.samples[:, 0], found.samples[:, 1])


@given(st.permutations(["sw", "en", "de", "zh"]))
def test_languages_stand_in_one_order_english_first(order):
    scores = zero_shot({NONE: [dict.fromkeys(order, 0.5)] * 3})
    assert languages_by_target(NONE.ordered_keys, measurements(scores)) == {"pawsx": ["en", "de", "sw", "zh"]}
    assert languages_by_target([], measurements(scores)) == {}


def test_the_mean_gain_counts_each_target_once():
    other = {"none": arm("none", target="xnli", trained="mnli"), "mnli": arm("mnli", target="xnli", trained="mnli")}
    raised = [{language: value + 0.2 for language, value in seed.items()} for seed in BY_HAND[NONE]]
    scores = {**BY_HAND, other["none"]: BY_HAND[NONE], other["mnli"]: raised}
    strap = bootstrap()
    (found,) = mean_gains(cells(list(scores), measurements(zero_shot(scores)), strap), strap)
    assert (found.scale, found.intermediate, found.targets) == ("small", "mnli", ("pawsx", "xnli"))
    assert found.lacking == ()
    assert found.english.value == pytest.approx((0.08 + 0.2) / 2)
    assert found.others.value == pytest.approx((0.04 + 0.2) / 2)


def unbalanced(gains: dict[str, dict[str, float]], languages: dict[str, str] | None = None) -> dict:
    """Intermediate → target → gain in every language, over an uneven `none`."""
    spoken = languages or {}
    scores = {}
    for name, by_target in {"none": {"pawsx": 0.0, "xnli": 0.0}, **gains}.items():
        for target, gain in by_target.items():
            own = spoken.get(target, "en de sw").split()
            scores[arm(name, target=target, trained=target)] = [
                {language: BY_HAND[NONE][seed][language] + gain * (1 + seed / 100) for language in own}
                for seed in range(3)
            ]
    return scores


def test_means_over_unlike_targets_are_not_told_beside_one_another():
    """QQP gains as much as MNLI where both were scored, and would seem to gain half as much more."""
    scores = unbalanced({"mnli": {"pawsx": 0.1, "xnli": 0.2}, "qqp": {"pawsx": 0.1}, "squad": {"xnli": 0.2}})
    strap = bootstrap()
    found = {one.intermediate: one for one in mean_gains(cells_in(scores, strap), strap)}
    assert found["mnli"].others.value == pytest.approx(0.15, rel=0.02)
    assert {name: one.lacking for name, one in found.items()} == {"mnli": (), "qqp": ("xnli",), "squad": ("pawsx",)}
    assert {one.targets for one in found.values()} == {("pawsx", "xnli")}
    for name in ("qqp", "squad"):
        assert math.isnan(found[name].english.value)
        assert math.isnan(found[name].others.value)


def test_a_target_that_one_scale_was_scored_in_fewer_languages_in_is_lacking():
    fewer = unbalanced({"mnli": {"pawsx": 0.1, "xnli": 0.1}}, {"xnli": "en de"})
    larger = {
        replace(one, scale="large", keys={seed: f"large/{key}" for seed, key in one.keys.items()}): by_seed
        for one, by_seed in unbalanced({"mnli": {"pawsx": 0.1, "xnli": 0.1}}).items()
    }
    found = lacking(cells_in({**fewer, **larger}, bootstrap()))
    assert (found["small", "mnli"], found["large", "mnli"]) == (("xnli",), ())


@given(st.dictionaries(st.sampled_from("abcde"), st.sets(st.sampled_from(["pawsx", "xnli", "panx"]), min_size=1)))
def test_who_lacks_nothing_has_all_that_any_has(present):
    def cell(name: str, target: str) -> Cell:
        gains = (Gain("en", UNDEFINED, math.nan),)
        return Cell(arm(name, target=target), target, (0,), {}, UNDEFINED, math.nan, UNDEFINED, gains=gains)

    found = lacking(cell(name, target) for name, targets in present.items() for target in targets)
    every = set().union(*present.values())
    assert {name: set(missing) for (_, name), missing in found.items()} == {
        name: every - targets for name, targets in present.items()
    }


@pytest.mark.slow
@given(tables, tables)
def test_the_mean_gain_of_one_target_is_its_own(first, second):
    strap, scores = bootstrap(), {NONE: first, MNLI: second}
    found = cells(list(scores), measurements(zero_shot(scores)), strap)
    (mean,) = mean_gains(found, strap)
    (cell,) = (one for one in found if one.gains)
    np.testing.assert_allclose(astuple(mean.english), astuple(cell.english_gain))
    assert mean.others.value == pytest.approx(cell.others_gain.value)
    assert mean_gains([one for one in found if not one.gains], strap) == []
