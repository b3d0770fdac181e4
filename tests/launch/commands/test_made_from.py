"""A report is written again when anything that it is made from has changed, and only then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import analysis.report.report
from launch.commands import made_from, results
from launch.commands.made_from import MadeFrom
from launch.commands.results import Report
from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from trainers.store import EventLog, Store


@pytest.fixture
def report(sweep_file, tmp_path):
    """`report(**changes of the sweep)`: what the report in one folder is made from now."""

    def look(figures: bool | None = None, **changes) -> MadeFrom:
        return MadeFrom.of(make_plan(load_sweep(sweep_file(**changes))), tmp_path / "report", figures)

    made = look()
    (made.out / "tables").mkdir(parents=True)
    made.kept.mkdir(parents=True)
    made.page.write_text("page")
    (made.out / "tables" / "cells.csv").write_text("cells")
    (made.kept / "0123.json").write_text("{}")
    made.keep()
    return look


def begin(made: MadeFrom, sweep_file) -> None:
    plan = make_plan(load_sweep(sweep_file()))
    log = EventLog(Store(plan.sweep.store).open(plan.stages[-1]))
    log.write("attempt")
    log.close()


CHANGES = {
    "page gone": lambda made: made.page.unlink(),
    "page edited": lambda made: made.page.write_text("another page"),
    "page of the same size": lambda made: os.utime(made.page, (1, 1)),
    "table gone": lambda made: (made.out / "tables" / "cells.csv").unlink(),
    "a file more": lambda made: (made.out / "tables" / "other.csv").write_text(""),
    "what it rests on gone": lambda made: (made.kept / "0123.json").unlink(),
    "note torn": lambda made: (made.out / made_from.NAME).write_text('{"inputs": '),
}


def test_nothing_has_changed(report):
    assert report().written


@pytest.mark.parametrize("name", CHANGES)
def test_a_report_that_was_touched_is_written_again(report, name):
    CHANGES[name](report())
    assert not report().written


def test_a_stage_that_began_or_went_on_is_news(report, sweep_file):
    begin(report(), sweep_file)
    made = report()
    assert not made.written
    made.keep()
    assert report().written
    begin(made, sweep_file)
    assert not report().written


def test_another_sweep_or_other_figures_are_news(report):
    assert not report(figures=True).written
    assert not report(seeds=[7]).written
    assert report().written


def test_other_code_or_packages_are_news(report, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setattr(made_from, "version", lambda name: "0.0")
        assert not report().written
    (tmp_path / "changed.py").write_text("")
    monkeypatch.setattr(made_from.analysis, "__path__", [str(tmp_path)])
    assert not report().written


def test_the_command_writes_once(sweep_file, monkeypatch, capsys):
    written = []

    def write_report(reading, out: Path, figures) -> Path:
        written.append(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.html").write_text("page")
        reading.basis.keep(reading.store)
        return out / "report.html"

    monkeypatch.setattr(analysis.report.report, "write_report", write_report)
    for _ in range(2):
        assert results.report(Report(sweep_file())) == 0
    assert len(written) == 1
    assert capsys.readouterr().out.endswith("report.html  (unchanged: the data behind it have not changed)\n")
    assert results.report(Report(sweep_file(), out=written[0].parent / "elsewhere")) == 0
    assert len(written) == 2
