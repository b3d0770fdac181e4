"""From a store with a known truth, the study finds that truth; what must not be averaged in is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.benchmark.xtreme import scores
from analysis.inference.statistics import Bootstrap
from analysis.records.examples import ExampleFiles, no_examples
from analysis.records.gather import store_records
from analysis.records.measurements import Measurements
from analysis.report.retention_tables import retention_table, shape_table
from analysis.report.tables import cell_table, trouble_table
from analysis.study import analyse
from tests.analysis import fakes
from tests.analysis.fakes import study_of
from tests.frames import gather_store
from trainers.families import tagging
from trainers.families.metrics import precision_recall_f1
from trainers.tasks import ENGLISH


def small(intermediates=("none", "mnli"), seeds=(0, 1)):
    """Stages of one scale and target."""
    return [
        stage
        for stage in fakes.stages(seeds)
        if stage.scale.name == "small"
        and stage.kind != "retrieval"
        and stage.intermediate in intermediates
        and stage.ending in ("", "pawsx")
    ]


def test_final_retention_is_the_truth_within_its_interval(built):
    curves = [curve for curve in built.study.curves if curve.language == ENGLISH]
    assert len(curves) == 3 * 2 * 3 * 2
    for curve in curves:
        truth = (fakes.KEPT if curve.head == "stored" else fakes.REPRESENTATION_KEPT)[curve.arm.scale]
        assert curve.final.value == pytest.approx(truth, abs=0.02)
        assert curve.final.low < truth < curve.final.high
        assert curve.value[0] == 1
        assert not curve.undefined


def test_probes_in_other_languages_give_curves_of_their_own(built):
    languages = {curve.language for curve in built.study.curves if curve.arm.intermediate == "mnli"}
    assert languages == set(fakes.LANGUAGES)


def test_larger_scales_are_found_to_retain_more(built):
    slope = built.study.pooled_slopes["stored"]
    assert slope.above_zero
    assert slope.value == pytest.approx(0.6, abs=0.03)
    assert all(set(trend.within) == {"post"} for trend in built.study.trends)  # one pre-LN scale makes no slope


def test_a_target_on_the_intermediates_own_task_is_marked_and_left_out_of_the_means(built):
    same = {curve.path for curve in built.study.curves if curve.same_task}
    assert same == {"mnli → xnli (same task)", "squad → xquad (same task)"}
    assert all(heads.trainings == 4 for heads in built.study.heads)


def test_gains_are_the_truth_and_survive_holm(built):
    cells = [cell for cell in built.study.cells if cell.arm.intermediate != "none"]
    assert len(cells) == 3 * 2 * 3
    for cell in cells:
        assert cell.english_gain.value == pytest.approx(fakes.GAIN, abs=0.005)
        assert cell.others_gain.value == pytest.approx(fakes.GAIN / 2, abs=0.005)
        assert cell.gain_retention.value == pytest.approx(0.5, abs=0.05)
        assert all(gain.p <= gain.p_holm < 0.05 for gain in cell.gains)


def test_retrieval_falls_by_the_truth(built):
    after = [curve for curve in built.study.layers if curve.arm.intermediate != "none"]
    assert len(after) == 6
    for curve in after:
        assert curve.change.below_zero
        np.testing.assert_allclose(curve.changes, -0.05, atol=0.011)
        assert curve.change.value == pytest.approx(-0.05, abs=0.011)  # `none` has one seed, and its shift
        assert curve.compared_layer == 2  # 7/12 of 4


def test_retrieval_after_the_final_layer_norm_is_a_curve_of_its_own(built):
    assert {curve.arm.scale for curve in built.study.normed_layers} == {"large"}, "the only pre-LN scale"
    plain = {curve.arm: curve for curve in built.study.layers}
    for curve in built.study.normed_layers:
        np.testing.assert_allclose(curve.value - plain[curve.arm].value, fakes.NORMED, atol=0.005)


def test_each_task_of_an_intermediate_of_several_has_curves_of_its_own(several):
    found = {
        (curve.subject, curve.arm.scale, curve.head): curve.final.value
        for curve in several.curves
        if curve.language == ENGLISH and curve.arm.targets == ("pawsx",)
    }
    shares = {"mnli": 1.0, "mnli+squad · mnli": 1.0, "mnli+squad · squad": 0.5}
    kept = {"stored": fakes.KEPT, "refit": fakes.REPRESENTATION_KEPT}
    assert found == {
        (subject, scale, head): pytest.approx(share * by_scale[scale], abs=0.02)
        for subject, share in shares.items()
        for scale in ("small", "large")
        for head, by_scale in kept.items()
    }
    assert {curve.language for curve in several.curves if curve.subject == "mnli+squad · squad"} == set(fakes.LANGUAGES)


def test_only_the_task_that_the_target_trains_on_is_the_same_task(several):
    same = {curve.path for curve in several.curves if curve.same_task}
    assert same == {"mnli → xnli (same task)", "mnli+squad · mnli → xnli (same task)"}


def test_a_training_counts_once_however_many_of_its_tasks_are_probed(several):
    """→ pawsx of mnli and of mnli+squad (the mean of its two tasks), → xnli of mnli+squad's squad alone."""
    for heads in several.heads:
        kept = fakes.KEPT[heads.scale]
        assert heads.trainings == 3
        assert heads.stored.value == pytest.approx(np.mean([kept, 0.75 * kept, 0.5 * kept]), abs=0.02)
    slope = several.pooled_slopes["stored"].value
    assert slope == pytest.approx(np.mean([1, 0.75, 0.5]) * (fakes.KEPT["large"] - fakes.KEPT["small"]), abs=0.03)


def test_the_table_of_cells_shows_the_mean_over_the_probed_tasks_and_the_others_each(several):
    cells = {row[:3]: row[-2] for row in cell_table(several).rows}
    kept = fakes.KEPT["large"]
    for name, expected in (("mnli", kept), (fakes.SEVERAL, 0.75 * kept)):
        assert float(cells["large", name, "pawsx"].split()[0]) == pytest.approx(expected, abs=0.02)
    trainings = [row[1] for row in retention_table(several).rows if row[0] == "large" and row[2] == "stored"]
    assert trainings == [
        "mnli → pawsx",
        "mnli → xnli (same task)",
        "mnli+squad · mnli → pawsx",
        "mnli+squad · squad → pawsx",
        "mnli+squad · mnli → xnli (same task)",
        "mnli+squad · squad → xnli",
    ]


def test_examples_of_weighted_scores_are_resampled(tmp_path):
    """F1 of names: each sentence's, weighed by its chunks; without weights the mean is another, and is not used."""
    stage = next(stage for stage in fakes.stages((0,)) if stage.kind == "target")
    fakes.write_stage(tmp_path, stage)
    counts = np.array([(1, 2, 1), (3, 3, 4), (0, 0, 0), (0, 1, 2)])
    scores, weights = tagging.chunk_f1_of_each(counts)
    point = {"measure": "zero_shot", "task": "panx", "language": "en", "at": 100}
    value = {"metric": "f1", "value": precision_recall_f1(*counts.sum(0).tolist())[2], "examples": 4, "chance": 0.0}
    fakes.append_measured(tmp_path, stage.key, **point, **value)
    path = tmp_path / "stages" / stage.key / "predictions" / "panx-en.parquet"
    table = pl.DataFrame({"example": range(4), "score": scores, "weight": weights.astype(float)})
    for written, resampled in ((table, 4), (table.drop("weight"), 1)):
        written.write_parquet(path)
        found = Measurements(gather_store(tmp_path), ExampleFiles(tmp_path))
        examples = found.examples([stage.key], "zero_shot", "panx", "en", [100])
        assert examples.scores.shape == (1, resampled, 1)
        assert examples.by_seed[0, 0] == pytest.approx(value["value"])


def test_diverged_runs_are_never_averaged_in(tmp_path):
    for stage in small():
        bad = stage.kind == "target" and stage.seed == 1 and stage.intermediate == "mnli"
        fakes.write_stage(tmp_path, stage, "diverged" if bad else "completed")
    study = study_of(tmp_path)
    assert {curve.seeds for curve in study.curves} == {(0,)}
    (cell,) = (cell for cell in study.cells if cell.gains)
    assert (cell.seeds, cell.paired_seeds) == ((0,), (0,))
    assert next(cell for cell in study.cells if not cell.gains).seeds == (0, 1)


def test_children_of_a_diverged_intermediate_are_left_out(tmp_path):
    for stage in small():
        bad = stage.kind == "intermediate" and stage.seed == 0
        fakes.write_stage(tmp_path, stage, "diverged" if bad else "completed")
    study = study_of(tmp_path)
    assert {curve.seeds for curve in study.curves} == {(1,)}


def test_a_retry_counts_under_the_seed_of_what_diverged(tmp_path):
    planned = small()
    first = next(stage for stage in planned if stage.kind == "target" and stage.intermediate == "mnli" and stage.seed)
    second = first.model_copy(update={"retry": 1})
    for stage in [*planned, second]:
        fakes.write_stage(tmp_path, stage, "diverged" if stage.key == first.key else "completed")
    study = study_of(tmp_path)
    (cell,) = (cell for cell in study.cells if cell.gains)
    assert (cell.seeds, cell.paired_seeds) == ((0, 1), (0, 1))
    assert cell.arm.keys[1] == second.key
    assert [row[3:6] for row in cell_table(study).rows] == [("2", "–", "–")] * 2
    (row,) = trouble_table(study).rows
    assert row[:2] == ("small · mnli → pawsx · seed 1", "diverged, retried, attempt 2 counted")
    (score,) = (score for score in scores(study.compared, study.frame, 0.5) if score.intermediate == "mnli")
    assert (score.seeds, score.diverged) == (2, 0)


@pytest.mark.parametrize(("outcome", "said"), [("diverged", "diverged, too"), ("running", "is not done")])
def test_a_cell_whose_attempts_all_failed_is_shown_so(tmp_path, outcome, said):
    planned = small(seeds=(1,))
    first = next(stage for stage in planned if stage.kind == "target" and stage.intermediate == "mnli")
    for stage in planned:
        fakes.write_stage(tmp_path, stage, "diverged" if stage.key == first.key else "completed")
    fakes.write_stage(tmp_path, first.model_copy(update={"retry": 1}), outcome)
    study = study_of(tmp_path)
    assert [cell.arm.intermediate for cell in study.cells] == ["none"]
    counts = {row[1]: row[3:6] for row in cell_table(study).rows}
    assert counts["mnli"] == (("–", "1", "–") if outcome == "diverged" else ("–", "–", "1"))
    assert trouble_table(study).rows[0][1] == f"diverged, retried, attempt 2 {said}"


def test_arms_with_other_seeds_are_paired_on_the_common_ones(tmp_path):
    for stage in small(seeds=(0, 1, 2)):
        if (stage.intermediate, stage.seed) not in {("none", 0), ("mnli", 2)}:
            fakes.write_stage(tmp_path, stage)
    cell = next(cell for cell in study_of(tmp_path).cells if cell.gains)
    assert cell.seeds == (0, 1)
    assert cell.paired_seeds == (1,)


def test_retention_of_what_was_never_learned_is_undefined_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(fakes, "LEARNED", fakes.CHANCE + 0.01)
    for stage in small(intermediates=("mnli",)):
        fakes.write_stage(tmp_path, stage)
    for curve in study_of(tmp_path).curves:
        assert "is not above 0: there is nothing to retain" in curve.undefined
        assert np.isnan(curve.final.value)
        assert np.isfinite(curve.backward_transfer.value)


def test_without_the_untouched_probe_only_the_stored_head_has_a_curve(tmp_path):
    for stage in small(intermediates=("mnli",)):
        if stage.kind == "target":
            fakes.write_stage(tmp_path, stage)
    curves = study_of(tmp_path).curves
    assert all("untouched encoder was not probed" in curve.undefined for curve in curves if curve.head == "refit")
    assert not any(curve.undefined for curve in curves if curve.head == "stored")


def test_without_examples_intervals_cover_seeds_only(built):
    records = store_records(built.root)
    study = analyse(records, no_examples, Bootstrap(np.random.default_rng(0), 200))
    assert not study.has_examples
    curve, full = study.curves[0], built.study.curves[0]
    assert curve.final.value == pytest.approx(full.final.value)
    assert curve.final.high - curve.final.low < full.final.high - full.final.low


def test_examples_that_do_not_average_to_the_value_are_not_resampled(tmp_path):
    stage = small(intermediates=("mnli",))[0]
    fakes.write_stage(tmp_path, stage)
    frame = gather_store(tmp_path)
    point = (stage.key, "stored", "mnli", "en", 100)
    other = frame.with_columns(value=frame["value"] + 0.01)
    for table, count in ((frame, fakes.EXAMPLES), (other, 1)):
        found = Measurements(table, ExampleFiles(tmp_path)).examples([point[0]], *point[1:4], [100])
        assert found.scores.shape == found.weights.shape == (1, count, 1)


def test_stages_of_two_sweeps_are_not_mixed_up(tmp_path):
    stage = small(intermediates=("none",))[0]
    (training,) = stage.train
    recipe = fakes.RECIPE.model_copy(update={"epochs": 9})
    longer = stage.model_copy(update={"train": (training.model_copy(update={"recipe": recipe}),)})
    for each in (stage, longer):
        fakes.write_stage(tmp_path, each)
    with pytest.raises(ValueError, match="belong to different sweeps"):
        study_of(tmp_path)


def test_the_shape_of_english_curves_is_found(built):
    """The truth is kept + (1 − kept) · 2^(−τ/8): a plateau, of which the stored head of `small` passes ½."""
    for curve in built.study.curves:
        kept = (fakes.KEPT if curve.head == "stored" else fakes.REPRESENTATION_KEPT)[curve.arm.scale]
        if curve.language != ENGLISH:
            assert curve.fit.form == ""
        else:
            assert curve.fit.form == "plateau"
            assert curve.fit.asymptote.value == pytest.approx(kept, abs=0.04)
            assert np.isfinite(curve.fit.half_life.value) == (kept < 0.45)
    rows = {row[:3]: row for row in shape_table(built.study).rows}
    assert rows["small", "mnli → pawsx", "stored"][4] == "plateau"
    assert rows["large", "mnli → pawsx", "refit"][6] == "> 100"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    for stage in small():
        fakes.write_stage(root, stage)
    return store_records(root)


@pytest.mark.slow
@settings(max_examples=10)
@given(data=st.data())
def test_the_study_does_not_hang_on_the_order_of_what_was_gathered(records, data):
    def estimates(records):
        study = analyse(records, no_examples, Bootstrap(np.random.default_rng(0), 60))
        curves = [(curve.path, curve.head, curve.language, curve.final) for curve in study.curves]
        return repr((curves, [(cell.arm, cell.target, cell.scores, cell.gains) for cell in study.cells]))

    assert estimates(data.draw(st.permutations(records))) == estimates(records)
