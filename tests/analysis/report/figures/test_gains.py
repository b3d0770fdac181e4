"""The heat map holds every intermediate and every target of the sweep, measured or not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.measures.differences import SIDES
from analysis.report.figures.drawing import Drawing, drawings
from analysis.report.figures.gains import SHOWN, gain_by_language, gain_heat_map
from tests.analysis import fakes

INTERMEDIATES = ["mnli", "squad"]
TARGETS = ["xnli", "pawsx", "tatoeba", "xquad"]


@pytest.fixture(scope="module")
def heat_map(tmp_path_factory) -> Drawing:
    """Of one scale, where PAWS-X without an intermediate diverged, and SQuAD with all that followed."""
    root = tmp_path_factory.mktemp("diverged")
    for stage in fakes.stages(seeds=(0,)):
        if stage.scale.name == "small":
            bad = stage.intermediate == "squad" or (stage.intermediate, stage.ending) == ("none", "pawsx")
            fakes.write_stage(root, stage, "diverged" if bad else "completed")
    study = fakes.study_of(root)
    (drawing,) = drawings(gain_heat_map(study), study, "sweep")
    return drawing


@pytest.mark.slow
def test_what_diverged_altogether_keeps_its_row_and_its_column(heat_map):
    for layer in heat_map.spec["spec"]["layer"]:
        assert layer["encoding"]["y"]["scale"]["domain"] == INTERMEDIATES
        assert layer["encoding"]["x"]["scale"]["domain"] == TARGETS
    assert heat_map.spec["facet"]["sort"] == list(SIDES)
    for name in (*INTERMEDIATES, *TARGETS):
        assert f">{name}<" in heat_map.svg


def test_cells_without_a_gain_are_empty_and_no_others(heat_map):
    for side, measured in zip(SIDES, ({"xnli", "xquad"}, {"xnli", "xquad", "tatoeba"}), strict=True):
        shown = {(row["i"], row["t"]) for row in heat_map.spec["data"]["values"] if row["side"] == side}
        assert shown == {("mnli", target) for target in measured}


def test_gains_that_read_zero_have_no_colour(built):
    """All scales gain alike, but for rounding: a colour bar of 1e-15 would show noise as a finding."""
    alike = [gain for gain in built.study.grids if gain.where == "large − small"]
    view = gain_heat_map(replace(built.study, grids=alike))
    assert view is not None
    assert view.layers[0]["encoding"]["color"]["scale"]["domain"] == [-SHOWN, SHOWN]
    assert max(abs(row["v"]) for row in view.rows) < SHOWN / 100


def test_languages_of_the_gain_figure_stand_from_much_pretraining_text_to_little(built):
    """And those that only one scale was scored in stand with them."""
    cells = [
        replace(cell, gains=cell.gains[:3]) if cell.arm.scale == "small" else replace(cell, gains=cell.gains[2:])
        for cell in built.study.cells
    ]
    for study in (built.study, replace(built.study, cells=cells)):
        view = gain_by_language(study)
        assert view is not None
        assert view.layers[1]["encoding"]["y"]["sort"] == ["en", "ru", "de", "zh", "sw", "others"]
        assert {row["g"] for row in view.rows} == {"en", "ru", "de", "zh", "sw", "others"}
        assert "pretraining text" in view.caption
