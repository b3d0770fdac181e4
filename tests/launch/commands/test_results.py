"""What the commands that read results print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launch.commands import results
from launch.commands.results import Power
from tests.analysis import fakes


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    for stage in fakes.stages((0, 1), ("none", "mnli")):
        if stage.kind != "retrieval" and stage.ending in ("", "pawsx"):
            fakes.write_stage(root, stage)
    return fakes.study_of(root)


@pytest.mark.slow
def test_power_is_told_as_a_table_and_as_json(study, monkeypatch, capsys):
    monkeypatch.setattr(results, "_study", lambda chosen: study)
    monkeypatch.setenv("COLUMNS", "200")
    assert results.power(Power(Path("sweep.yaml"), delta=0.3)) == 0
    text = capsys.readouterr().out
    assert "seeds to see a difference of 0.3 with power 80%" in text
    assert "small → medium" in text
    assert "not enough: nothing varied over seeds or examples" in text  # gains, which this study has alike everywhere
    assert results.power(Power(Path("sweep.yaml"), delta=1e-4, json=True)) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["measure"] for row in rows} == {"stored", "refit", "gain"}
    assert {row["measure"]: (row["seeds"], row["not_enough"]) for row in rows} == {
        "stored": (2, ""),
        "refit": (2, ""),
        "gain": (0, "nothing varied over seeds or examples"),
    }
    assert rows[0]["needed"] == "inf"  # JSON knows no infinity
