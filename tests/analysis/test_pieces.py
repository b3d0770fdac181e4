"""Scales that are measured in processes of their own give what they give one after another."""

from __future__ import annotations

import numpy as np

from analysis import pieces
from tests.analysis import fakes


def test_processes_change_nothing(built, monkeypatch):
    monkeypatch.setattr(pieces, "MANY_ARMS", 1)
    monkeypatch.setattr(pieces.os, "sched_getaffinity", lambda process: {0, 1})
    apart = fakes.study_of(built.root)
    assert [curve.final for curve in apart.curves] == [curve.final for curve in built.study.curves]
    assert [cell.scores for cell in apart.cells] == [cell.scores for cell in built.study.cells]
    assert [trend.overall for trend in apart.trends] == [trend.overall for trend in built.study.trends]
    assert apart.has_examples
    for mine, other in zip(apart.layers, built.study.layers, strict=True):
        np.testing.assert_array_equal(mine.value, other.value)
