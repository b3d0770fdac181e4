"""Where an effect is true in every target it replicates in every target; where it is none, in none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.measures.replication import Replicated, replicated
from analysis.measures.transfer import cells
from analysis.report.figures.cost import costs_and_gains
from analysis.report.findings import by_intermediate, findings
from analysis.report.retention_tables import trend_table
from analysis.report.tables import replication_table
from tests.analysis import fakes
from tests.analysis.made import arm, bootstrap, measurements, zero_shot


def test_a_true_gain_replicates_in_every_target_and_always_improves(built):
    assert len(built.study.replicated) == 3 * 2
    for one in built.study.replicated:
        assert (one.targets, one.lacking) == (tuple(sorted(fakes.TARGETS)), ())
        assert (one.raised, one.lowered, one.seeds) == (3, 0, 3)
        assert one.gain.value == pytest.approx(fakes.GAIN * 3 / 5, abs=0.01)
        assert one.gain_iqm == pytest.approx(fakes.GAIN / 2, abs=0.01)  # the middle half are other languages
        assert one.improvement.value == 1
    assert [row[6:] for row in replication_table(built.study).rows] == [("3 of 3", "0 of 3", "–")] * 6


@pytest.mark.slow
def test_without_a_gain_nothing_replicates(tmp_path, monkeypatch):
    monkeypatch.setattr(fakes, "GAIN", 0.0)
    for stage in fakes.stages((0, 1), ("none", "mnli")):
        fakes.write_stage(tmp_path, stage)
    for one in fakes.study_of(tmp_path).replicated:
        assert (one.raised, one.lowered) == (0, 0)
        assert one.improvement.value == pytest.approx(0.5)


@pytest.mark.slow
def test_from_one_seed_nothing_is_concluded_however_many_its_examples(tmp_path):
    for stage in fakes.stages((0,), ("none", "mnli")):
        fakes.write_stage(tmp_path, stage)
    study = fakes.study_of(tmp_path)
    assert study.has_examples
    assert not any(curve.undefined for curve in study.curves), "whether there is anything to retain its examples tell"
    shown = [curve.final for curve in study.curves] + [trend.overall for trend in study.trends]
    shown += [one.gain for one in study.grids] + [
        one for mean in study.mean_gains for one in (mean.english, mean.others)
    ]
    shown += [one.gain for one in study.replicated] + [one.improvement for one in study.replicated]
    for estimate in shown:
        assert not math.isnan(estimate.value)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
    for cell in study.cells:
        assert math.isnan(cell.gain_retention.value)
        assert all(math.isnan(gain.p) and math.isnan(gain.p_holm) for gain in cell.gains)
    assert [row[6:8] for row in replication_table(study).rows] == [("–", "–")] * 3
    told = " ".join(findings(study) + by_intermediate(study))
    assert "one seed, which tells nothing of others" in told
    assert "the data cannot tell whether the head or the encoder lost it" in told
    before = [curve for curve in study.layers if curve.arm.intermediate == "none"]
    assert all(curve.compared.above_zero for curve in before), "no seed has a part in the pretrained encoder"
    assert all(math.isnan(curve.change.low) for curve in study.layers)


def test_the_slope_at_equal_placement_is_in_the_answer_and_in_the_table(built):
    """small and medium are post-LN, large is pre-LN: only the former two tell of size alone."""
    trend = built.study.trends[0]
    assert trend.adjusted.value == pytest.approx(trend.within["post"].value)
    assert any("at equal placement the slope is, stored head +" in sentence for sentence in findings(built.study))
    assert "at equal placement" in trend_table(built.study).columns


score = st.floats(0, 1)
tables = st.lists(st.fixed_dictionaries({"en": score, "de": score}), min_size=3, max_size=3)
NONE, MNLI = arm("none"), arm("mnli")


def replicated_of(scores) -> Replicated:
    strap = bootstrap()
    (found,) = replicated(cells(list(scores), measurements(zero_shot(scores)), strap), strap)
    return found


@pytest.mark.slow
@given(tables, tables)
def test_exchanging_the_arms_exchanges_what_is_raised_and_lowered(first, second):
    there, back = replicated_of({NONE: first, MNLI: second}), replicated_of({NONE: second, MNLI: first})
    assert (there.raised, there.lowered) == (back.lowered, back.raised)
    assert there.gain.value == pytest.approx(-back.gain.value, abs=1e-12)
    assert there.gain_iqm == pytest.approx(-back.gain_iqm, abs=1e-12)
    assert there.improvement.value == pytest.approx(1 - back.improvement.value)
    assert there.raised + there.lowered <= len(there.targets) == 1


@pytest.mark.slow
def test_an_arm_that_lacks_a_target_has_no_mean_over_the_others(tmp_path):
    for stage in fakes.stages((0, 1)):
        if (stage.scale.name, stage.intermediate, stage.ending) != ("large", "squad", "pawsx"):
            fakes.write_stage(tmp_path, stage)
    study = fakes.study_of(tmp_path)
    (one,) = (found for found in study.replicated if found.lacking)
    assert (one.scale, one.intermediate, one.lacking, one.targets) == ("large", "squad", ("pawsx",), ("xnli", "xquad"))
    assert math.isnan(one.gain.value)
    assert math.isnan(one.gain_iqm)
    assert math.isnan(one.improvement.value)
    assert one.raised == 2, "what it has is counted, of as many"
    assert [row[-1] for row in replication_table(study).rows] == ["–"] * 5 + ["pawsx"]
    points = {(point.scale, point.intermediate) for point in costs_and_gains(study)}
    assert points == {(other.scale, other.intermediate) for other in study.replicated} - {("large", "squad")}


def test_targets_without_a_common_seed_have_a_mean_gain_and_no_probability_of_improvement():
    scores = {}
    for target, seeds in (("pawsx", (0, 1)), ("xnli", (2, 3))):
        plain = [{"en": 0.5 + seed / 100, "de": 0.4} for seed in seeds]
        scores[arm("none", seeds=seeds, target=target, trained=target)] = plain
        scores[arm("mnli", seeds=seeds, target=target, trained=target)] = [
            {language: value + 0.1 for language, value in seed.items()} for seed in plain
        ]
    found = replicated_of(scores)
    assert found.gain.value == pytest.approx(0.1)
    assert math.isnan(found.improvement.value)
    assert found.seeds == 2
