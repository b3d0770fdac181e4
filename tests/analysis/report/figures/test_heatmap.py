"""The heat map holds every intermediate and every target of the sweep, measured or not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.measures.differences import SIDES
from analysis.report.figures.heatmap import SHOWN, gain_heat_map
from tests.analysis import fakes

INTERMEDIATES = ["mnli", "squad"]
TARGETS = ["xnli", "pawsx", "tatoeba", "xquad"]


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    """Of one scale, where PAWS-X without an intermediate diverged, and SQuAD with all that followed."""
    root = tmp_path_factory.mktemp("diverged")
    for stage in fakes.stages(seeds=(0,)):
        if stage.scale.name == "small":
            bad = stage.intermediate == "squad" or (stage.intermediate, stage.ending) == ("none", "pawsx")
            fakes.write_stage(root, stage, "diverged" if bad else "completed")
    (drawing,) = gain_heat_map(fakes.study_of(root), "sweep")
    return drawing.figure


def test_what_diverged_altogether_keeps_its_row_and_its_column(figure):
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == INTERMEDIATES
    for panel in figure.axes[: len(SIDES)]:
        assert [label.get_text() for label in panel.get_xticklabels()] == TARGETS


def test_cells_without_a_gain_are_empty_and_no_others(figure):
    for panel, measured in zip(figure.axes, ({"xnli", "xquad"}, {"xnli", "xquad", "tatoeba"}), strict=False):
        values = np.ma.filled(panel.images[0].get_array(), np.nan)
        expected = [[row == "mnli" and column in measured for column in TARGETS] for row in INTERMEDIATES]
        assert (~np.isnan(values)).tolist() == expected


def test_gains_that_read_zero_have_no_colour(built):
    """All scales gain alike, but for rounding: a colour bar of 1e-15 would show noise as a finding."""
    drawings = {drawing.name: drawing.figure for drawing in gain_heat_map(built.study, "sweep")}
    for panel in drawings["gain-heat-map-large-minus-small"].axes[: len(SIDES)]:
        (image,) = panel.images
        assert (image.norm.vmin, image.norm.vmax) == (-SHOWN, SHOWN)
        assert np.abs(image.get_array()).max() < SHOWN / 100
