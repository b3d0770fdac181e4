"""Claims that are true of generated data are supported, false ones contradicted, and what is missing is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.benchmark import claims
from analysis.benchmark.claims import CLAIMS, judged, untranslated, without_mlm
from analysis.effects import Gains
from analysis.inference.effect import CannotTell, Effect, mean, same_seeds
from analysis.inference.statistics import Bootstrap
from analysis.reading import read_study
from analysis.report.tables import claim_table, claims_left_out
from tests.analysis import fakes
from tests.analysis.fakes import study_of

TEXTS = {
    "squad": "SQuAD as",
    "all9": "All nine",
    "retrieval": "Targets without",
    "tydiqa": "TyDiQA",
    "xnli": "XNLI",
    "best": "The best",
    "mlm": "English does as well as with",
    "translated": "English does as well as translated",
}
SINGLES = ("hellaswag", "mnli", "squad")
TARGETS = ("tatoeba", "tydiqa", "xnli")


def bootstrap() -> Bootstrap:
    return Bootstrap(np.random.default_rng(1), 400)


def world(gains: dict[str, dict[str, float] | float], seeds: int = 3, noise: float = 0.002) -> Gains:
    """Gains as of a sweep: intermediate → target → true gain, or one for all targets."""
    made, rng = Gains.__new__(Gains), np.random.default_rng(0)
    made.bootstrap, made.intermediates, made.targets, made._found = bootstrap(), sorted(gains), list(TARGETS), {}
    for intermediate, of_targets in gains.items():
        for target in TARGETS:
            true = of_targets if isinstance(of_targets, float) else of_targets.get(target)
            if true is None:
                continue
            by_seed = true + rng.normal(0, noise, seeds)
            samples = made.bootstrap.means(claims.Examples.alike(by_seed[:, None]))
            made._found[intermediate, target] = Effect(by_seed.mean(), samples, tuple(range(seeds)), by_seed)
    return made


def verdict(of: str, gains: Gains) -> claims.Judged:
    (claim,) = (claim for claim in CLAIMS if claim.text.startswith(TEXTS[of]))
    return claims._judge(claim, "small", gains)


PAPER = {name: {"tatoeba": 0.3, "tydiqa": 0.1, "xnli": 0.0} for name in SINGLES}
ENGLISH_WINS = {"mnli": 0.1, "mnli+mlm": 0.05, "mnli@de-ru": 0.05}
OPPOSITE = {name: {"tatoeba": -0.3, "tydiqa": -0.1, "xnli": 0.1} for name in SINGLES}


@pytest.mark.parametrize(
    ("of", "true", "false"),
    [
        ("squad", PAPER, OPPOSITE),
        ("all9", {**PAPER, "all9": 0.3}, {**PAPER, "all9": 0.02}),
        ("retrieval", PAPER, OPPOSITE),
        ("tydiqa", PAPER, OPPOSITE),
        ("xnli", PAPER, OPPOSITE),
        ("best", PAPER, {name: -0.1 for name in SINGLES}),
        ("mlm", ENGLISH_WINS, {**ENGLISH_WINS, "mnli+mlm": 0.2}),
        ("translated", ENGLISH_WINS, {**ENGLISH_WINS, "mnli@de-ru": 0.2}),
    ],
)
def test_a_claim_is_supported_where_it_is_true_and_contradicted_where_it_is_false(of, true, false):
    supported, contradicted = verdict(of, world(true)), verdict(of, world(false))
    assert (supported.word, contradicted.word) == ("supported", "contradicted")
    if of == "xnli":  # is claimed not to gain a point
        assert supported.estimate.high < claims.RELEVANT < contradicted.estimate.low
    else:
        assert supported.estimate.low > 0 > contradicted.estimate.high


def through(of: str, gains: list[float], noise: float = 0.002) -> claims.Judged:
    """Each single intermediate adds so much to the target `of`, nine of them at the most."""
    names = (*SINGLES, "anli_plus", "qqp", "squad_v2", "ccg", "cosmos_qa", "commonsense_qa")
    return verdict(of, world({name: {of: gain} for name, gain in zip(names, gains, strict=False)}, noise=noise))


@pytest.mark.parametrize(
    ("of", "gains", "noise", "word"),
    [
        ("tydiqa", [0.1, 0.1, -0.1], 0.002, "supported"),
        ("tydiqa", [0.1, -0.1, -0.1], 0.002, "contradicted"),
        ("tydiqa", [0.1] * 5 + [-0.1] * 4, 0.002, "supported"),
        ("tydiqa", [0.9] * 4 + [-0.01] * 5, 0.001, "contradicted"),  # the mean gains, most do not
        ("tydiqa", [0.1, 0.0, -0.1], 0.05, "cannot tell"),
        ("xnli", [0.0, 0.0, 0.1], 0.001, "supported"),
        ("xnli", [0.004, 0.004, 0.004], 0.0005, "supported"),  # above 0, and not by a point
        ("xnli", [-0.1, -0.1, -0.1], 0.002, "supported"),
        ("xnli", [0.05, 0.05, 0.05], 0.002, "contradicted"),  # TyDiQA may gain as much more as it likes
        ("xnli", [0.0, 0.05, 0.05], 0.002, "contradicted"),
        ("xnli", [0.01, 0.01, 0.01], 0.01, "cannot tell"),
    ],
)
def test_most_intermediates_decide_and_each_target_by_itself(of, gains, noise, word):
    found = through(of, gains, noise)
    assert found.word == word
    assert bool(found.reason) == (word == "cannot tell")


@pytest.mark.slow
@given(st.lists(st.sampled_from([-0.1, 0.1]), min_size=3, max_size=9), st.randoms())
def test_of_plain_gains_and_losses_the_majority_tells_in_whatever_order(gains, random):
    shuffled = list(gains)
    random.shuffle(shuffled)
    gain = sum(one > 0 for one in gains) > len(gains) / 2
    assert through("tydiqa", gains, 1e-4).word == ("supported" if gain else "contradicted")
    assert through("tydiqa", shuffled, 1e-4).word == through("tydiqa", gains, 1e-4).word


def test_a_claim_that_noise_hides_cannot_be_told():
    found = verdict("squad", world({"squad": 0.01}, noise=0.2))
    assert (found.word, found.reason) == ("cannot tell", "the interval holds 0")
    assert found.estimate.low < 0 < found.estimate.high


def test_as_well_is_within_a_point_and_not_equality():
    assert verdict("mlm", world({"mnli": 0.100, "mnli+mlm": 0.104}, noise=1e-4)).word == "supported"
    assert verdict("mlm", world({"mnli": 0.100, "mnli+mlm": 0.115}, noise=1e-4)).word == "contradicted"


@pytest.mark.parametrize(
    ("of", "gains", "seeds", "why"),
    [
        ("squad", {"mnli": 0.1}, 3, "squad is not in this sweep"),
        ("squad", {"squad": {"xnli": 0.1}}, 3, "squad → tatoeba has no gain"),
        ("squad", {"squad": 0.1}, 1, "fewer than 2 seeds"),
        ("all9", PAPER, 3, "all9 is not in this sweep"),
        ("retrieval", {"mnli": 0.1}, 3, "the sweep has 1, fewer than 3"),
        ("best", {"mnli": 0.1}, 3, "the sweep has 1, fewer than 3"),
        ("mlm", PAPER, 3, "no intermediate both without and with multilingual MLM"),
        ("translated", {"mnli@de": 0.1}, 3, "no intermediate both without and in translation"),
        ("squad", {"squad": math.nan}, 3, "has no gain"),
    ],
)
def test_what_is_missing_is_said_and_no_number_shown(of, gains, seeds, why):
    found = verdict(of, world(gains, seeds))
    assert found.word == "cannot tell"
    assert why in found.reason
    assert math.isnan(found.estimate.value)


def test_arms_of_different_seeds_are_not_compared():
    one = Effect(0.1, np.zeros(4), (1, 2), np.zeros(2))
    for compare in (lambda a, b: mean([a, b]), lambda a, b: a - b, lambda a, b: same_seeds([a, b])):
        with pytest.raises(CannotTell, match="different seeds"):
            compare(one, replace(one, seeds=(2, 3)))


def test_the_best_of_pure_noise_does_not_gain():
    """Picked by its own score it would, nearly always."""
    rng, words = np.random.default_rng(3), []
    for _ in range(40):
        gains = world({name: 0.0 for name in SINGLES}, seeds=5)
        for key, effect in gains._found.items():
            gains._found[key] = replace(effect, by_seed=rng.normal(0, 0.05, 5))
        words.append(verdict("best", gains).word)
    assert words.count("supported") <= 4


def test_variants_are_known_by_their_names():
    assert [without_mlm(name) for name in ("mnli+mlm", "mnli", "mnli@de+mlm", "mlm")] == ["mnli", None, "mnli@de", None]
    assert [untranslated(name) for name in ("mnli@de-ru", "mnli", "mnli@de+mlm")] == ["mnli", None, None]


@pytest.mark.slow
def test_the_study_of_known_truth_is_judged(built):
    found = {(one.text.split(" ")[0], one.scale): one for one in judged(built.study, bootstrap())}
    for scale in fakes.SCALES:
        assert found["MNLI", scale].word == found["SQuAD", scale].word == "supported"
        mean_gain = fakes.GAIN * (1 + 4 / 2) / 5
        assert found["MNLI", scale].estimate.value == pytest.approx((3 * mean_gain - 0.05) / 4, abs=0.01)
        assert found["HellaSwag", scale].reason == "hellaswag is not in this sweep"
    assert found["Retention", "all"].word == "supported"


@pytest.mark.slow
def test_one_seed_gives_no_verdict(tmp_path):
    for stage in fakes.stages((0,), ("none", "mnli")):
        fakes.write_stage(tmp_path, stage)
    found = judged(study_of(tmp_path), bootstrap())
    assert {one.word for one in found} == {"cannot tell"}
    assert all(math.isnan(one.estimate.value) and one.reason for one in found)


@pytest.mark.slow
def test_a_diverged_arm_gives_no_verdict_at_its_scale(tmp_path):
    for stage in fakes.stages((0, 1), ("none", "mnli")):
        bad = stage.kind == "intermediate" and stage.scale.name == "small"
        fakes.write_stage(tmp_path, stage, "diverged" if bad else "completed")
    found = {one.scale: one for one in judged(study_of(tmp_path), bootstrap()) if one.text.startswith("MNLI")}
    assert {scale: one.word for scale, one in found.items()} == {
        "small": "cannot tell",
        "medium": "supported",
        "large": "supported",
    }
    assert "diverged" in found["small"].reason


@pytest.mark.slow
def test_the_page_has_every_claim_with_its_source_escaped(built, tmp_path, monkeypatch):
    hostile = replace(CLAIMS[0], text="<b>claim</b>", source="a & <i>b</i>")
    monkeypatch.setattr(claims, "CLAIMS", (hostile, *CLAIMS[1:]))
    page = fakes.report(built.root, built.keys, tmp_path, "fakes", figures=False, resamples=50).read_text()
    assert "&lt;b&gt;claim&lt;/b&gt;" in page
    assert "a &amp; &lt;i&gt;b&lt;/i&gt;" in page
    assert "<b>claim" not in page
    once_for_all_scales = f'rowspan="{len(fakes.SCALES)}">MNLI as the intermediate raises the target average<'
    assert page.count(once_for_all_scales) == page.count("MNLI as the intermediate raises") == 1
    assert "“HellaSwag as the intermediate raises the target average” needs hellaswag;" in page


def test_a_claim_is_in_the_table_or_named_below_it_with_what_the_sweep_lacks(built):
    found = judged(built.study, bootstrap())
    listed, named = {row[0] for row in claim_table(found).rows}, claims_left_out(found)
    absent = [claim for claim in CLAIMS if claim.text not in listed]
    assert {claim.text.split(" ")[0] for claim in CLAIMS if claim.text in listed} == {"SQuAD", "MNLI"}
    assert len(listed) == 2 + 2, "and the study's own question, by either head"
    assert named.startswith(f"This sweep cannot speak to {len(absent)} more published claims: ")
    assert [claim for claim in absent if f"needs {claim.needs}" not in named] == []
    assert claims_left_out([one for one in found if not one.needs]) == ""


@pytest.mark.slow
def test_a_claim_whose_results_are_to_come_stays_in_the_table(tmp_path):
    """It is planned: the sweep will speak to it."""
    planned = fakes.stages((0, 1), ("none", "mnli"))
    for stage in planned:
        if stage.intermediate == "none":
            fakes.write_stage(tmp_path, stage)
    keys = {stage.key for stage in planned}
    study = read_study(tmp_path, keys, "early", planned, resamples=50).study
    rows = [row for row in claim_table(judged(study, bootstrap())).rows if row[0].startswith("MNLI")]
    assert [row[3] for row in rows] == list(fakes.SCALES)
    assert all("not finished" in row[4] for row in rows)


def test_the_table_is_in_points(built):
    row = next(row for row in claim_table(judged(built.study, bootstrap())).rows if row[0].startswith("MNLI"))
    assert row[1:5] == ("+7.5", claims.PHANG_QUOTED, "small", "supported")
    assert 2 < float(row[5].split(" ")[0]) < 5


def test_worse_by_less_than_the_margin_is_not_contradicted():
    """0.8 points worse, surely: within the point that “as well” allows, or not, the interval cannot tell."""
    gains = world({"mnli": 0.1, "mnli+mlm": 0.1}, seeds=5)
    by_seed = np.array([0.094, 0.093, 0.091, 0.09, 0.092])  # mean 0.092
    samples = gains.bootstrap.means(claims.Examples.alike(by_seed[:, None]))
    for target in TARGETS:
        gains._found["mnli", target] = Effect(by_seed.mean(), samples, tuple(range(5)), by_seed)
        gains._found["mnli+mlm", target] = Effect(0.1, np.full_like(samples, 0.1), tuple(range(5)), np.full(5, 0.1))
    found = verdict("mlm", gains)
    assert -0.0105 < found.estimate.low < -0.01 < found.estimate.high < 0, "worse, by about a point"
    assert (found.word, found.reason) == ("cannot tell", "the interval holds values of either kind")


@pytest.mark.slow
@given(st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=6), st.sampled_from(["squad", "mlm"]))
def test_the_verdict_is_that_of_the_interval(by_seed, of):
    """Of a claim of one effect: above its threshold, below it, or about it."""
    gains = world({"squad": 0.0, "mnli": 0.0, "mnli+mlm": 0.0}, seeds=len(by_seed), noise=0.0)
    own = np.array(by_seed)
    effect = Effect(own.mean(), gains.bootstrap.means(claims.Examples.alike(own[:, None])), tuple(range(len(own))), own)
    for target in TARGETS:
        gains._found["squad", target] = gains._found["mnli", target] = effect
    found = verdict(of, gains)
    threshold = -claims.RELEVANT if of == "mlm" else 0.0
    low, high = found.estimate.low - threshold, found.estimate.high - threshold
    if min(abs(low), abs(high)) > 1e-9:  # not decided by rounding
        assert found.word == ("supported" if low > 0 else "contradicted" if high < 0 else "cannot tell")
    assert bool(found.reason) == (found.word == "cannot tell")


effects = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(
    lambda values: Effect(float(np.mean(values)), np.array(values), (1, 2, 3), np.array(values))
)


@pytest.mark.slow
@given(effects, effects)
def test_effects_are_subtracted_and_averaged_as_numbers_are(one, other):
    np.testing.assert_allclose((one - other).by_seed, -(other - one).by_seed)
    assert (one - one).value == 0
    np.testing.assert_allclose(mean([one, one]).samples, one.samples)
    assert mean([one, other]).value == pytest.approx((one.value + other.value) / 2)
    np.testing.assert_allclose(mean([one, other]).by_seed, mean([other, one]).by_seed)


@pytest.mark.slow
@given(st.permutations(list(CLAIMS)))
def test_no_claim_hangs_on_another(order):
    gains = world({**PAPER, "all9": 0.3})
    words = {claim.text: claims._judge(claim, "small", gains).word for claim in CLAIMS}
    assert {claim.text: claims._judge(claim, "small", gains).word for claim in order} == words


@settings(max_examples=50)
@given(st.lists(st.lists(st.none() | st.floats(-0.5, 0.5), min_size=3, max_size=3), min_size=3, max_size=3))
def test_gains_are_averaged_where_all_are_there_and_else_nothing_is_told(true):
    known = {name: dict(zip(TARGETS, row, strict=True)) for name, row in zip(SINGLES, true, strict=True)}
    gains = world(known)
    assert gains.singles == sorted(SINGLES)

    def told(parts: list[tuple[str, str]], whole: Callable[[], Effect]) -> None:
        if any(known[name][target] is None for name, target in parts):
            with pytest.raises(CannotTell, match="has no gain"):
                whole()
            return
        found, effects = whole(), [gains.of(*part) for part in parts]
        assert found.value == pytest.approx(np.mean([one.value for one in effects]), abs=1e-12)
        np.testing.assert_allclose(found.by_seed, np.mean([one.by_seed for one in effects], axis=0), atol=1e-12)
        np.testing.assert_allclose(found.samples, np.mean([one.samples for one in effects], axis=0), atol=1e-12)

    for name in SINGLES:
        told([(name, target) for target in TARGETS], partial(gains.average, name))
    for target in TARGETS:
        told([(name, target) for name in SINGLES], partial(gains.over_singles, target))
