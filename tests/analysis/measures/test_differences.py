"""Differences of gains between scales are those of paired numbers, and of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.measures.differences import GridGain, gain_grids
from analysis.measures.multilinguality import PLAIN, layer_curves
from analysis.measures.transfer import cells
from tests.analysis.made import arm, bootstrap, measurements, zero_shot

SCALES = ("small", "medium", "large")
gain = st.floats(-0.5, 0.5)


def grids(gains: dict[str, tuple[float, float]], seeds: dict[str, tuple[int, ...]] | None = None) -> list[GridGain]:
    """Of scale → gain in English and in each of two other languages, the same for all seeds."""
    scores = {}
    for scale, (english, others) in gains.items():
        own = (seeds or {}).get(scale, (0, 1, 2))
        plain = [{"en": 0.7 + seed / 100, "de": 0.5, "sw": 0.4} for seed in own]
        more = {"en": english, "de": others, "sw": others}
        scores[arm("none", scale, own)] = plain
        scores[arm("mnli", scale, own)] = [{name: one + more[name] for name, one in seed.items()} for seed in plain]
    strap = bootstrap()
    return gain_grids(cells(list(scores), measurements(zero_shot(scores)), strap), [], list(gains), strap)


def by_name(found: list[GridGain]) -> dict[tuple[str, str], float]:
    return {(one.where, one.side): one.gain.value for one in found}


def test_the_grids_by_hand():
    found = by_name(grids({"small": (0.1, 0.05), "medium": (0.3, 0.05), "large": (0.2, 0.0)}))
    assert found == {
        name: pytest.approx(value, abs=1e-12)
        for name, value in {
            ("small", "English"): 0.1,
            ("small", "other languages"): 0.05,
            ("medium", "English"): 0.3,
            ("medium", "other languages"): 0.05,
            ("large", "English"): 0.2,
            ("large", "other languages"): 0.0,
            ("medium − small", "English"): 0.2,
            ("medium − small", "other languages"): 0.0,
            ("large − medium", "English"): -0.1,
            ("large − medium", "other languages"): -0.05,
            ("large − small", "English"): 0.1,
            ("large − small", "other languages"): -0.05,
        }.items()
    }


@pytest.mark.slow
@given(gain, gain)
def test_turning_the_scales_round_turns_the_difference_round(first, second):
    there = by_name(grids({"small": (first, second), "large": (second, first)}))
    back = by_name(grids({"large": (second, first), "small": (first, second)}))
    for side in ("English", "other languages"):
        assert there["large − small", side] == pytest.approx(-back["small − large", side], abs=1e-12)
        assert there["small", side] == back["small", side]


@pytest.mark.slow
@given(st.tuples(gain, gain, gain))
def test_neighbours_differences_add_up_to_that_of_the_ends(gains):
    found = by_name(grids({scale: (one, one) for scale, one in zip(SCALES, gains, strict=True)}))
    steps = found["medium − small", "English"] + found["large − medium", "English"]
    assert steps == pytest.approx(found["large − small", "English"], abs=1e-12)


def test_one_scale_has_no_difference_and_other_seeds_no_pair():
    assert set(by_name(grids({"small": (0.1, 0.1)}))) == {("small", "English"), ("small", "other languages")}
    apart = grids({"small": (0.1, 0.1), "large": (0.2, 0.2)}, {"small": (0, 1), "large": (1, 2)})
    assert {one.where for one in apart} == {"small", "large"}


def test_retrieval_stands_among_the_other_languages_and_none_is_no_row():
    strap, arms, scores = bootstrap(), [], {}
    for scale, after in (("small", 0.4), ("large", 0.7)):
        own = [arm("none", scale, (0,), "tatoeba", trained=""), arm("mnli", scale, (0, 1), "tatoeba", trained="")]
        for one, value in zip(own, (0.5, after), strict=True):
            scores |= {(key, PLAIN, "tatoeba", "de", layer): value for key in one.ordered_keys for layer in range(3)}
        arms += own
    layers = layer_curves(arms, PLAIN, measurements(scores), strap, 0.5)
    found = gain_grids([], layers, ["small", "large"], strap)
    assert {(one.where, one.side, one.intermediate, one.target): one.gain.value for one in found} == {
        ("small", "other languages", "mnli", "tatoeba"): pytest.approx(-0.1),
        ("large", "other languages", "mnli", "tatoeba"): pytest.approx(0.2),
        ("large − small", "other languages", "mnli", "tatoeba"): pytest.approx(0.3),
    }
