"""`retain new`: the first sweep file, by options and question by question."""

from __future__ import annotations

import io

import pytest
import yaml
from rich.console import Console

from launch.commands import study
from launch.commands.study import New
from launch.study import starter
from launch.study.check import check
from launch.study.sweep import Sweep, SweepError, load_sweep
from trainers.data.mirror import Mirror


def made(folder, **options) -> Sweep:
    file = folder / "study.yaml"
    assert study.new(New(file, **options)) == 0
    return load_sweep(file)


def test_without_options_it_is_a_study_that_runs_anywhere(tmp_path, sandbox):
    sweep = made(tmp_path)
    assert sweep.name == "study"
    assert (sweep.mirror, sweep.recipes) == (None, "sandbox")
    assert sweep == Sweep(
        **starter.FIRST, name="study", store="runs/study", recipes="sandbox", languages=("en", "de", "ru", "sw", "zh")
    )
    here = sweep.model_copy(update={"store": tmp_path / "store", "mirror": sandbox})
    assert not check(here, Mirror(sandbox)).problems


def test_every_field_is_explained_and_every_comment_holds_as_it_stands(tmp_path):
    sweep = made(tmp_path)
    text = (tmp_path / "study.yaml").read_text()
    assert max(map(len, text.splitlines())) < 200
    awake = "\n".join(
        line.removeprefix("# ") if line.partition(":")[0].removeprefix("# ") in Sweep.model_fields else line
        for line in text.splitlines()
    )
    whole = yaml.safe_load(awake)
    assert set(whole) == set(Sweep.model_fields)
    assert Sweep(**whole) == sweep


def test_options_choose_and_encoders_of_the_hub_get_a_mirror(tmp_path):
    sweep = made(tmp_path, scales=("base", "large"), targets=("xquad",), seeds=(4, 5), store=tmp_path / "a b: #c")
    assert (sweep.scales, sweep.targets, sweep.seeds) == (("base", "large"), ("xquad",), (4, 5))
    assert (str(sweep.mirror), sweep.recipes, sweep.store) == ("mirror", "xstilts", tmp_path / "a b: #c")


def test_mistakes_are_told_all_at_once_and_nothing_is_written(tmp_path):
    with pytest.raises(SweepError) as told:
        made(tmp_path, scales=("huge",), targets=("xnly",), seeds=(-1,))
    assert "huge" in str(told.value)
    assert "did you mean 'xnli'?" in str(told.value)
    assert "seeds.0" in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_file_whose_name_is_no_name_of_a_sweep_is_refused(tmp_path):
    with pytest.raises(SweepError, match="name"):
        study.new(New(tmp_path / "two words.yaml"))


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "study.yaml").write_text("mine")
    with pytest.raises(SweepError, match="not overwritten"):
        made(tmp_path)
    with pytest.raises(SweepError, match="No such file"):
        study.new(New(tmp_path / "no" / "study.yaml"))
    assert (tmp_path / "study.yaml").read_text() == "mine"


def test_in_a_terminal_it_asks_for_what_is_missing_and_again_where_an_answer_does_not_do(monkeypatch):
    answers = ["base, larg", "base, large", "none mnli [b]squad", "none mnli", "2 x", "2 3", "/data/mirror"]
    monkeypatch.setattr(Console, "input", lambda *_, **__: answers.pop(0))
    screen = Console(file=io.StringIO(), width=200)
    sweep = starter.starter(starter.ask({"name": "study", "targets": ("xnli",)}, screen))
    assert (sweep.scales, sweep.intermediates, sweep.targets) == (("base", "large"), ("none", "mnli"), ("xnli",))
    assert (sweep.seeds, str(sweep.mirror)) == ((2, 3), "/data/mirror")
    assert not answers
    said = screen.file.getvalue()
    assert "did you mean 'large'?" in said
    assert "[b]squad" in said
    assert "'x'" in said


def test_an_empty_answer_takes_what_is_offered(monkeypatch):
    monkeypatch.setattr(Console, "input", lambda *_, **__: "")
    asked = starter.ask({"name": "study"}, Console(file=io.StringIO()))
    assert starter.starter(asked) == starter.starter({"name": "study"})
