"""Laws of small functions, whose known answers stand in their modules' own tests."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.benchmark.claims import untranslated, without_mlm
from analysis.benchmark.published import published_runs
from analysis.benchmark.verify import covered, in_points
from analysis.benchmark.xtreme import Score
from analysis.inference.effect import CannotTell, same_seeds
from analysis.measures import retention
from analysis.measures.curves import shares
from analysis.report.findings import DASH, counted, listed
from analysis.report.formats import as_csv
from analysis.report.table import table_of
from analysis.report.xtreme_tables import beside_published, points
from analysis.study import scales_in
from tests.analysis import made
from trainers.tasks import ALL_NINE

tasks = st.lists(st.sampled_from(ALL_NINE), min_size=1, max_size=3, unique=True)
POINTS = st.integers(0, 1000).map(lambda tenths: tenths / 10)


@settings(max_examples=50)
@given(tasks, st.sampled_from(["de", "de-ru", "zh"]))
def test_a_variant_leads_back_to_the_plain_intermediate_and_that_nowhere(names, languages):
    plain = "+".join(names)
    translated = "+".join(f"{name}@{languages}" for name in names)
    assert without_mlm(f"{plain}+mlm") == untranslated(translated) == plain
    assert without_mlm(plain) is without_mlm(translated) is untranslated(plain) is None
    assert without_mlm(f"{plain}+mlm@{languages}") is untranslated(f"{translated}+mlm") is None


def test_shares_by_hand():
    """Three curves of one training and one of another: each training counts a half."""
    several = [made.curve(0.5, intermediate="mnli+squad+qqp", task=task) for task in ("mnli", "squad", "qqp")]
    assert shares([*several, made.curve(0.5)]).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["mnli", "squad", "mnli+squad"]), min_size=1, max_size=9))
def test_shares_are_equal_within_a_training_and_between_trainings(intermediates):
    found = shares([made.curve(0.5, intermediate=one) for one in intermediates])
    for one in set(intermediates):
        own = [share for share, name in zip(found, intermediates, strict=True) if name == one]
        assert max(own) == min(own)
        assert sum(own) == pytest.approx(1 / len(set(intermediates)))


@settings(max_examples=50)
@given(st.lists(st.sampled_from([(0, 1), (0, 2), (0, 1, 2)]), max_size=4))
def test_effects_of_other_seeds_are_refused(seeds):
    effects = [SimpleNamespace(seeds=one) for one in seeds]
    if all(one == seeds[0] for one in seeds):
        same_seeds(effects)
    else:
        with pytest.raises(CannotTell, match="different seeds"):
            same_seeds(effects)


@settings(max_examples=50)
@given(st.lists(st.text("abc", min_size=1), min_size=1))
def test_what_is_listed_is_read_back(names):
    *others, last = listed(names).split(" and ")
    assert len(others) <= 1
    assert [name for part in others for name in part.split(", ")] + [last] == names


@given(st.integers(0, 10**6), st.text("abc", min_size=1))
def test_only_one_is_singular(count, noun):
    assert counted(count, noun) == f"{count} {noun}" + ("s" if count != 1 else "")


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 1), st.floats(0.1, 9), st.floats(-1, 1))
def test_representation_retention_knows_neither_unit_nor_level(probes, base, unit, level):
    curve = np.array([base + 0.1, *probes])
    found = retention.representation_retention(curve, np.array(base))
    assert found[0] == pytest.approx(1)
    other = retention.representation_retention(unit * curve + level, np.array(unit * base + level))
    np.testing.assert_allclose(other, found, atol=1e-9)
    np.testing.assert_array_equal(found > 1e-12, curve > base + 1e-13)


@settings(max_examples=50)
@given(st.lists(POINTS, min_size=1, max_size=2))
def test_points_are_read_back_by_people_and_programs(values):
    table = table_of([points("x", len(values))], [(((*values, math.nan)[:2]),)])
    ((shown,),) = table.rows
    assert shown == (in_points(tuple(values)) or DASH)
    assert [float(part) for part in shown.split(" / ")] == values
    assert [float(part) for part in as_csv(table).splitlines()[1].split(",")] == values


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 15), st.integers(0, 75_150))
def test_what_is_not_covered_is_told_and_nothing_else(seeds, diverged, unfinished, languages, examples):
    told = covered(Score("large", "mnli", "xnli", (80.0,), seeds, diverged, unfinished, languages, examples))
    assert (f"{diverged} diverged" in told) == (diverged > 0)
    assert (f"{unfinished} unfinished" in told) == (unfinished > 0)
    assert (f"{languages} of 15 languages" in told) == (languages < 15)
    assert (f"{examples:,} of 75,150 examples" in told) == (examples < 0.99 * 75_150)


@settings(max_examples=50)
@given(POINTS)
def test_the_difference_is_ours_less_what_was_published(ours):
    rows = beside_published([Score("large", "none", "xnli", (ours,), 3)]).rows
    runs = [run for run in published_runs("large") if run.intermediate == "none" and "xnli" in run.scores]
    assert len(rows) == len(runs) > 0
    for row, run in zip(rows, runs, strict=True):
        assert (row[3], row[-1]) == (f"{ours:.1f}", run.source)
        if run.zero_shot:
            assert float(row[5].replace("−", "-")) == pytest.approx(ours - run.scores["xnli"][0], abs=0.05 + 1e-9)
        else:
            assert row[5] == "–"


def test_scales_are_ordered_by_size_and_the_unknown_come_last():
    sizes = {"xl": 3_000, "base": 85, "mine": None, "large": 300, "a-base": 85}
    rows = [(scale, size) for scale, size in sizes.items() for _ in range(2)]
    table = pl.DataFrame(rows, schema=["scale", "non_embedding_parameters"], orient="row")
    assert scales_in(table) == ["a-base", "base", "large", "xl", "mine"]


@settings(max_examples=50)
@given(st.dictionaries(st.text(min_size=1, max_size=3), st.none() | st.integers(1, 9), min_size=1), st.randoms())
def test_each_scale_is_named_once_and_none_before_a_smaller_one(sizes, random):
    rows = [row for row in sizes.items() for _ in range(random.randint(1, 3))]
    random.shuffle(rows)
    schema = {"scale": pl.String, "non_embedding_parameters": pl.Int64}
    found = scales_in(pl.DataFrame(rows, schema=schema, orient="row"))
    assert sorted(found) == sorted(sizes)
    ordered = [sizes[scale] or 10 for scale in found]
    assert ordered == sorted(ordered)
