"""Points of a search stand apart, the best is chosen by development score alone, and arms are compared there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from analysis.records.examples import no_examples
from analysis.records.frame import settings, stage_table, with_planned
from analysis.records.gather import store_records
from analysis.records.measurements import arms
from analysis.report.figures.drawing import drawings
from analysis.report.figures.search import scores_by_point
from analysis.report.findings import findings
from analysis.report.tables import cell_table, search_table
from tests.analysis import fakes
from tests.analysis.browser import needs_chromium, texts_that_overlap
from tests.analysis.fakes import study_of
from trainers.stage import Stage

INTERMEDIATE, TARGET = "intermediate.learning_rate", "target.learning_rate"
RATES = (1e-5, 2e-5, 4e-5)
DEVELOPMENT = {1e-5: 0.61, 2e-5: 0.7, 4e-5: 0.5}
ZERO_SHOT = {1e-5: 0.5, 2e-5: 0.6, 4e-5: 0.9}
"""The test prefers another point than development."""


def at(stage: Stage, rate: float, **changes) -> Stage:
    """The stage with another learning rate, as the search makes it."""
    trained = tuple(
        one.model_copy(update={"recipe": one.recipe.model_copy(update={"learning_rate": rate})}) for one in stage.train
    )
    axis = INTERMEDIATE if stage.kind == "intermediate" else TARGET
    return stage.model_copy(update={"train": trained, "variant": {axis: rate}, **changes})


def grid(seeds: Iterable[int] = (0, 1, 2), intermediates=("none",), rates=RATES) -> list[Stage]:
    """`pawsx` at every point of both phases' learning rates, in the smallest scale."""
    stages = [one for one in fakes.stages(tuple(seeds)) if one.scale.name == "small" and one.ending in ("", "pawsx")]
    found = [at(stage, rate) for stage in stages for rate in rates if stage.intermediate == "none"]
    for parent in (one for one in stages if one.kind == "intermediate" and one.intermediate in intermediates):
        child = next(one for one in stages if one.parent == parent.key)
        for before in rates:
            start = at(parent, before)
            found.append(start)
            for rate in rates:
                variant = {INTERMEDIATE: before, TARGET: rate}
                found.append(at(child, rate, parent=start.key, variant=variant))
    return found


@pytest.fixture(autouse=True)
def scores_by_rate(monkeypatch):
    """Development and test scores hang on the learning rate that a stage was trained with."""
    before = fakes.truth

    def truth(stage: Stage):
        for point in before(stage):
            values = {"development": DEVELOPMENT, "zero_shot": ZERO_SHOT}.get(point.measure)
            yield replace(point, value=values[stage.recipe.learning_rate]) if values else point

    monkeypatch.setattr(fakes, "truth", truth)


def write(root, stages: list[Stage], diverged: Iterable[str] = ()) -> list[str]:
    for stage in stages:
        fakes.write_stage(root, stage, "diverged" if stage.label in diverged else "completed")
    return [stage.key for stage in stages]


def test_points_are_never_averaged_as_if_they_were_seeds(tmp_path):
    write(tmp_path, grid())
    found = arms(stage_table(store_records(tmp_path)), "target")
    assert [(arm.variant, arm.seeds) for arm in found] == [(f"{TARGET}={rate}", [0, 1, 2]) for rate in RATES]


def test_the_best_point_is_that_of_the_development_score_whatever_the_test_says(tmp_path):
    write(tmp_path, grid())
    study = study_of(tmp_path)
    assert [(point.settings[TARGET], point.best) for point in study.points] == [
        ("1e-05", False),
        ("2e-05", True),
        ("4e-05", False),
    ]
    for point, rate in zip(study.points, RATES, strict=True):
        assert point.development.value == pytest.approx(DEVELOPMENT[rate], abs=0.011)
        assert point.zero_shot.value == pytest.approx(ZERO_SHOT[rate], abs=0.011)
    (cell,) = study.cells
    assert cell.others.value == pytest.approx(ZERO_SHOT[2e-5], abs=0.011)
    assert len(cell.seeds) == 3


def test_a_point_with_diverged_seeds_does_not_win(tmp_path):
    stages = grid()
    write(tmp_path, stages, diverged=[stage.label for stage in stages if stage.variant[TARGET] == 2e-5 and stage.seed])
    study = study_of(tmp_path)
    assert [point.settings[TARGET] for point in study.points if point.best] == ["1e-05"]
    rows = {row[2]: row[3:7] for row in search_table(study).rows}
    assert rows[f"{TARGET} 2e-05"] == ("", "1", "2", "–")


def test_points_where_every_seed_diverged_or_none_is_done_are_shown_and_not_scored(tmp_path):
    stages = grid(seeds=(0,))
    write(tmp_path, stages[:2], diverged=[stages[0].label])
    records = with_planned(store_records(tmp_path), stages)
    study = fakes.analyse(records, no_examples, fakes.Bootstrap(np.random.default_rng(0), 50))
    rows = {row[2]: row[3:8] for row in search_table(study).rows}
    assert rows[f"{TARGET} 1e-05"] == ("", "–", "1", "–", "–")
    assert rows[f"{TARGET} 2e-05"][:4] == ("best", "1", "–", "–")
    assert rows[f"{TARGET} 4e-05"] == ("", "–", "–", "1", "–")
    assert [row[3:6] for row in cell_table(study).rows] == [("1", "–", "–")]


def test_an_arm_that_diverged_at_every_point_is_shown_so(tmp_path):
    stages = grid(seeds=(0, 1))
    write(tmp_path, stages, diverged=[stage.label for stage in stages])
    study = study_of(tmp_path)
    assert [row[:6] for row in cell_table(study).rows] == [("small", "none", "pawsx", "–", "6", "–")]
    assert study.cells == study.points == []


def test_retrieval_without_a_development_score_has_no_best_point(tmp_path):
    plain = next(one for one in fakes.stages() if one.kind == "retrieval" and not one.parent)
    read = [plain.model_copy(update={"variant": {"max_length": one}, "seed": one}) for one in (64, 128)]
    write(tmp_path, read)
    assert study_of(tmp_path).layers == []


@pytest.mark.slow
def test_both_phases_are_compared_at_their_best_and_retention_is_shown_at_every_point(tmp_path):
    write(tmp_path, grid(intermediates=("mnli",)))
    study = study_of(tmp_path)
    best = {point.arm.path: point.settings for point in study.points if point.best and point.arm.targets}
    assert best["none → pawsx"] == {TARGET: "2e-05"}
    assert best["mnli → pawsx"] == {INTERMEDIATE: "1e-05", TARGET: "2e-05"}  # of equals the first
    assert len(study.points) == 3 + 3 + 9
    retained = [point.retention.value for point in study.points if point.arm.parents.get(0)]
    assert retained == [pytest.approx(fakes.KEPT["small"], abs=0.02)] * 9
    assert {curve.arm.variant for curve in study.curves} == {f"{INTERMEDIATE}=1e-05 · {TARGET}=2e-05"}
    (cell,) = (cell for cell in study.cells if cell.gains)
    assert cell.english_gain.value == pytest.approx(0, abs=0.001)  # both at 2e-05
    assert "1 of 1" not in " ".join(findings(study))


@pytest.mark.slow
def test_retrieval_is_compared_at_the_best_point_of_its_intermediate(tmp_path):
    parents = [stage for stage in grid(intermediates=("mnli",)) if stage.kind == "intermediate"]
    plain = next(one for one in fakes.stages() if one.kind == "retrieval" and one.parent)
    ends = [plain.model_copy(update={"parent": one.key, "seed": one.seed, "variant": one.variant}) for one in parents]
    write(tmp_path, [*parents, *ends])
    (curve,) = study_of(tmp_path).layers
    assert curve.arm.variant == f"{INTERMEDIATE}=2e-05"


def test_another_sweeps_name_of_a_shared_stage_does_not_count(tmp_path):
    """A search left its variant in stage.json; a sweep without one has an arm without one."""
    searched = grid(rates=(1e-5,))
    write(tmp_path, searched)
    planned = [stage.model_copy(update={"variant": {}}) for stage in searched]
    table = stage_table(with_planned(store_records(tmp_path), planned))
    assert set(table["variant"]) == {""}
    assert set(table["key"]) == {stage.key for stage in searched}


def test_the_edge_of_a_search_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(DEVELOPMENT, 4e-5, 0.9)
    write(tmp_path, grid())
    assert any("1 best point, 1 lie at the edge" in sentence for sentence in findings(study_of(tmp_path)))


@pytest.mark.slow
def test_a_search_has_its_section_in_the_report_and_others_have_none(tmp_path, built):
    keys = write(tmp_path / "store", grid(intermediates=("mnli",)))
    page = fakes.report(tmp_path / "store", keys, tmp_path / "out", "searched", resamples=50)
    text = page.read_text()
    assert "The search, point by point" in text
    assert "best" in text
    assert {path.stem for path in (tmp_path / "out" / "figures").glob("search-*.png")} == {
        "search-intermediate_learning_rate",
        "search-target_learning_rate",
    }
    plain = fakes.report(built.root, built.keys, tmp_path / "plain", "plain", figures=False, resamples=50)
    assert "The search" not in plain.read_text()


@pytest.mark.slow
@needs_chromium
def test_the_search_figure_keeps_its_texts_apart(tmp_path):
    write(tmp_path / "store", grid(intermediates=("mnli", "squad")))
    study = study_of(tmp_path / "store")
    found = [
        drawing
        for view in scores_by_point(study)
        for drawing in drawings(view, study, "a sweep with a name so long that it has to be wrapped")
    ]
    assert [drawing.name for drawing in found] == [f"search-{INTERMEDIATE}", f"search-{TARGET}"]
    assert texts_that_overlap(found, tmp_path) == []


def test_settings_are_read_back_from_a_variant():
    stage = grid()[0].model_copy(update={"variant": {"adam_betas": (0.9, 0.98), "target.overflow": "split"}})
    assert settings(" · ".join(stage.settings)) == {"adam_betas": "(0.9, 0.98)", "target.overflow": "split"}
    assert settings("") == {}
