"""bench/side_by_side.py runs the same stages both ways and tells their times."""

from __future__ import annotations

import re

import pytest

from bench import side_by_side
from bench.side_by_side import main


@pytest.mark.slow
def test_the_page_has_both_times_and_their_ratio(capsys):
    main("sandbox-s")
    page = capsys.readouterr().out
    beside, after = (float(seconds) for seconds in re.findall(r"^\| .* \| ([\d.]+) \|$", page, re.MULTILINE))
    told = re.search(r"Side by side is ([\d.]+) times as fast", page)
    assert told is not None
    assert float(told[1]) == pytest.approx(after / beside, rel=0.05)


def test_stages_that_end_badly_are_not_timed(monkeypatch, tmp_path):
    monkeypatch.setattr(side_by_side, "run_bundle", lambda _path: {"key": "failed"})
    plan = side_by_side.make_plan(
        side_by_side.Sweep(
            name="bench",
            store=tmp_path,
            scales=("sandbox-s",),
            intermediates=("none",),
            targets=("xnli",),
            seeds=(1,),
            recipes="sandbox",
            mirror=tmp_path / "mirror",
            languages=("en",),
        )
    )
    with pytest.raises(RuntimeError, match="did not end well"):
        side_by_side.run_stage(plan, 0, 1)
