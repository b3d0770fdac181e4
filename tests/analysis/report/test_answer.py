"""The answer: three sentences from the numbers, and the data's silence where there is one."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.inference.statistics import Bootstrap, Estimate
from analysis.report.answer import answer
from analysis.report.findings import tally, verdict
from tests.analysis import fakes

EFFECT = r"[+−]\d\.\d\d\d?\s\[[+−]\d\.\d\d\d?,\s[+−]\d\.\d\d\d?\]"


def bootstrap() -> Bootstrap:
    return Bootstrap(np.random.default_rng(7), 400)


def test_of_a_study_whose_truth_is_known_it_tells_the_truth(built):
    stored, refit, gained = answer(built.study, bootstrap())
    assert stored.startswith("Larger encoders retain more through the stored head") or stored.startswith("Larger")
    assert re.search(r"changes by \+0\.6\d\s\[.*\] per tenfold", stored)
    assert "mean of 4 trainings on another task" in stored
    assert refit.startswith("Larger encoders retain more in")
    assert re.search(rf"from {EFFECT} at small to {EFFECT} at large \(mean over 2 intermediates", gained)
    assert "the data cannot tell whether it grows or shrinks with scale" in gained  # the truth is one gain for all


@pytest.mark.slow
def test_it_says_how_many_tasks_were_probed(several):
    stored = answer(several, bootstrap())[0]
    assert "mean of 3 trainings on another task than the intermediate’s and their 4 probed tasks" in stored


def test_of_one_scale_it_tells_no_change(tmp_path):
    for stage in fakes.stages((0, 1)):
        if stage.scale.name == "small" and stage.ending in ("", "pawsx"):
            fakes.write_stage(tmp_path, stage)
    stored, refit, gained = answer(fakes.study_of(tmp_path), bootstrap())
    for sentence in (stored, refit):
        assert sentence.startswith("Whether larger encoders retain more")
        assert "the data cannot tell" in sentence
    assert re.search(rf"at small is {EFFECT}", gained)
    assert gained.endswith("of its change with scale the data cannot tell.")


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(), (0,)])
def test_of_nothing_and_of_one_seed_it_says_that_it_cannot_tell(tmp_path, seeds):
    for stage in fakes.stages(seeds, ("none", "mnli")) if seeds else ():
        fakes.write_stage(tmp_path, stage)
    found = answer(fakes.study_of(tmp_path), bootstrap())
    assert len(found) == 3
    for sentence in found:
        assert "the data cannot tell" in sentence
        assert not re.search(r"nan|inf|\d\.\d", sentence)


@pytest.mark.slow
def test_arms_with_other_seeds_at_another_scale_are_not_compared(tmp_path):
    for seeds, scales in (((0, 1), {"small", "medium"}), ((2, 3), {"large"})):
        for stage in fakes.stages(seeds, ("none", "mnli")):
            if stage.scale.name in scales:
                fakes.write_stage(tmp_path, stage)
    gained = answer(fakes.study_of(tmp_path), bootstrap())[2]
    assert "cannot tell of more than one scale: the arms that are compared rest on different seeds" in gained


@settings(max_examples=50)
@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_verdict_is_given_where_the_interval_lies_to_one_side_of_0(value, below, above):
    one = Estimate(value, value - below, value + above)
    word = verdict(one, "above", "below", "unclear")
    assert (word == "above") == (value - below > 0)
    assert (word == "below") == (value + above < 0)
    assert (
        tally([one, one])
        == {"above": "rises in all", "below": "falls in all", "unclear": "cannot be told in any"}[word]
    )


@pytest.mark.slow
def test_trainings_that_lack_a_scale_are_left_out_and_counted(tmp_path):
    for stage in fakes.stages((0, 1), ("none", "mnli")):
        if (stage.scale.name, stage.ending) != ("large", "xquad"):
            fakes.write_stage(tmp_path, stage)
    stored, _, gained = answer(fakes.study_of(tmp_path), bootstrap())
    assert "(over small, medium and large; mean of 1 training on another task" in stored
    assert "; 1 more not defined at some of these scales)" in stored
    assert re.search(rf"from {EFFECT} at small to {EFFECT} at medium", gained), "large lacks a target"


@pytest.mark.slow
def test_scales_begun_with_other_targets_are_not_compared(tmp_path):
    """Without a plan, what is in the store is all that is known: at large, one target."""
    for stage in fakes.stages((0, 1), ("none", "mnli")):
        if stage.scale.name == "small" or (stage.scale.name == "large" and stage.ending in ("", "pawsx")):
            fakes.write_stage(tmp_path, stage)
    gained = answer(fakes.study_of(tmp_path), bootstrap())[2]
    assert re.search(rf"at small is {EFFECT} \(mean over 1 intermediate, all 4 targets and their", gained)


@pytest.mark.slow
def test_scales_that_share_no_intermediate_yet_are_told_so(tmp_path):
    for stage in fakes.stages((0, 1)):
        if (stage.scale.name, stage.intermediate) in {("small", "mnli"), ("large", "squad")} or (
            stage.intermediate == "none" and stage.scale.name != "medium"
        ):
            fakes.write_stage(tmp_path, stage)
    gained = answer(fakes.study_of(tmp_path), bootstrap())[2]
    assert gained.endswith("cannot tell of more than one scale: small and large share no intermediate yet.")
