"""A sweep file's mistakes are told at once, each with the file, the field, the value and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.study.plan import make_plan
from launch.study.sweep import SweepError, load_sweep
from trainers.tasks import ALL_NINE, TARGETS, TASKS


def errors(path) -> str:
    with pytest.raises(SweepError) as caught:
        load_sweep(path)
    return str(caught.value)


def test_a_sound_sweep_is_read(sweep_file):
    sweep = load_sweep(sweep_file())
    assert sweep.intermediates == ("none", "mnli")
    assert sweep.overrides["*"]["max_steps"] == 4


def test_command_line_changes_win(sweep_file, tmp_path):
    assert load_sweep(sweep_file(), store=tmp_path / "other", mirror=None).store == tmp_path / "other"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seedz": [1]}, "seedz: unknown key; did you mean 'seeds'?"),
        ({"probe": {"exampels": 3}}, "probe.exampels: unknown key; did you mean 'examples'?"),
        ({"probe": {"by_task": {"squat": {}}}}, "'squat' is not an intermediate task: did you mean 'squad'?"),
        ({"targets": ["xnly"]}, "targets: 'xnly' is not a target: did you mean 'xnli'?"),
        ({"intermediates": ["squadd"]}, "did you mean 'squad'?"),
        ({"scales": ["sandbox-x"]}, "'sandbox-x' is not a scale: did you mean"),
        ({"languages": ["en", "klingon"]}, "'klingon' is not a language of XTREME"),
        ({"recipes": "xstilt"}, "did you mean 'xstilts'?"),
        ({"overrides": {"mnli": {"learning_rat": 1}}}, "mnli.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ({"overrides": {"mnlj": {"epochs": 1}}}, "'mnlj' is not a key of a book of recipes: did you mean 'mnli'?"),
        ({"overrides": {"targets.*": {"epochs": 1}}}, "did you mean 'target.*'?"),
        ({"overrides": {"*": {"learning_rate": -1}}}, "*.learning_rate: input should be greater than 0"),
        (
            {"overrides": {"squad": {"warmup": 1.5}}},
            "squad.warmup: a value up to 1 is a share of the steps, a larger one is their number",
        ),
        (
            {"search": {"warmup": [0.1, 1.5]}},
            "warmup: a value up to 1 is a share of the steps, a larger one is their number",
        ),
        ({"search": []}, "search: input should be a valid dictionary"),
        ({"search": {"learning_rate": 1e-5}}, "search.learning_rate: input should be a valid tuple (found 1e-05)"),
        ({"search": {"learning_rate": []}}, "learning_rate: holds 0 value(s), a search needs two or more"),
        ({"search": {"target.epochs": [3]}}, "target.epochs: holds 1 value(s), a search needs two or more"),
        ({"search": {"targt.epochs": [3, 4]}}, "'targt' is neither a phase nor a task: "),
        ({"search": {"targt.epochs": [3, 4]}}, "; did you mean 'target'?"),
        ({"search": {"target.*.epochs": [3, 4]}}, "did you mean 'target'?"),
        ({"search": {"target.mnlj.epochs": [3, 4]}}, "did you mean 'target.mnli'?"),
        (
            {"search": {"learning_rat": [1, 2]}},
            "'learning_rat' is not a field of the recipe: did you mean 'learning_ra",
        ),
        ({"search": {"learning_rate": [1e-5, -1]}}, "learning_rate: input should be greater than 0 (found -1)"),
        ({"search": {"mnli.epochs": [3, "many"]}}, "mnli.epochs: input should be a valid integer, unable to parse"),
        ({"search": {"learning_rate": [1e-5, 2e-5, "1e-5"]}}, "learning_rate: 1e-05 is named more than once"),
        (
            {"search": {"warmup": [0, 0.1], "epochs": list(range(1, 100)), "target.batch_size": [8, 16]}},
            "99 × 2 × 2 = 396 points, and each point is a whole sweep; a grid may have at most 256",
        ),
        ({"seeds": []}, "seeds: "),
        ({"seeds": ["one"]}, "seeds.0: "),
        ({"seeds": [-1]}, "seeds.0: input should be greater than or equal to 0"),
        ({"seeds": [1, 1]}, "1 is named more than once"),
        ({"seeds": None}, "seeds: is missing"),
        ({"name": "../../etc"}, "name: "),
        ({"name": "$(reboot)"}, "name: "),
        ({"name": "x" * 1000}, "name: "),
        ({"scales": "large"}, "scales: "),
    ],
)
def test_a_mistake_names_its_field_and_the_nearest_valid_name(sweep_file, changes, expected):
    path = sweep_file(**changes)
    message = errors(path)
    assert expected in message
    assert str(path) in message


@pytest.mark.parametrize("field", ["store", "mirror", "scales"])
@pytest.mark.parametrize("bad", ["\n", "\r", "\t", "\0", "\x7f", "\u2028"])
def test_a_path_with_a_control_character_is_refused(sweep_file, field, bad):
    path = f"/data/x{bad}touch /tmp/pwned #"
    said = errors(sweep_file(**{field: [path] if field == "scales" else path}))
    assert f"{field}: " in said
    assert "one line of printable text" in said


def test_a_relative_store_is_as_long_as_the_folder_it_lies_in(sweep_file, tmp_path, monkeypatch):
    folder = tmp_path / "a\ntouch pwned #"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "store: must be one line" in errors(sweep_file(store="runs"))


@pytest.mark.parametrize("path", ["a b", "it's", '"q"', "$(id)", "`id`", "a;b", "ü", "日本語", "-x", "#"])
def test_any_other_path_is_taken_as_it_is(sweep_file, path):
    assert load_sweep(sweep_file(store=f"/data/{path}")).store == Path(f"/data/{path}")


def test_all_mistakes_are_told_at_once(sweep_file):
    message = errors(sweep_file(seedz=[1], targets=["xnly", "pawsy"], recipes="nope"))
    for part in ("seedz", "'xnly'", "'pawsy'", "'nope'"):
        assert part in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected `key: value` lines"),
        (b"- a\n- b\n", "expected `key: value` lines"),
        (b"name: [unclosed", "is not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"1: 2\nname: x\n", "keys must be words"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(tmp_path, content, expected):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    assert expected in errors(path)


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.yaml: cannot be read: No such file" in errors(tmp_path / "nowhere.yaml")


SHIPPED = {
    "paper": 76 * 3,
    "full": 304 * 3,
    "scale": (4 + 5 * 2) * 4 * 5,
    "variants": (7 + 8 * 4) * 2 * 3,
    "learning-rate": (3 + (1 + 3) * 2 * 3) * 4 * 3,
}
"""Trainings of each ready-made sweep: intermediates, and from each start one per training set of a target and point."""


@pytest.mark.parametrize("name", SHIPPED)
def test_ready_made_sweeps_plan_as_many_trainings_as_they_say(name):
    plan = make_plan(load_sweep(Path("launch/sweeps") / f"{name}.yaml"))
    assert plan.trainings == SHIPPED[name]


PUBLISHED = {
    "intermediate": {
        "anli_plus": (24, 2, 256), "mnli": (24, 2, 256), "qqp": (24, 3, 256), "squad": (8, 3, 384),
        "squad_v2": (8, 3, 384), "hellaswag": (24, 7, 256), "ccg": (24, 15, 256), "cosmos_qa": (4, 15, 256),
        "commonsense_qa": (4, 10, 256),
    },
    "target": {
        "mnli": (32, 2, 256), "pawsx": (32, 5, 256), "udpos": (32, 10, 256), "panx": (32, 10, 256),
        "squad": (16, 2, 384), "tydiqa": (16, 2, 384),
    },
}  # fmt: skip
"""Batch, epochs, longest sequence of Phang et al. 2020: targets from jiant's XTREME scripts, intermediates recalled."""


def test_the_papers_sweep_trains_each_task_by_the_papers_recipe():
    """jiant's recipes differ from XTREME's own, so that their baselines are not interchangeable."""
    plan = make_plan(load_sweep(Path("launch/sweeps/paper.yaml")))
    assert {stage.scale.name for stage in plan.stages} == {"large"}
    assert {stage.intermediate for stage in plan.stages} == {"none", "all9", *ALL_NINE}
    assert {one.task for stage in plan.stages for one in stage.evaluate} == {
        name for name in TARGETS if TASKS[name].published
    }
    found: dict = {"intermediate": {}, "target": {}}
    for stage in plan.stages:
        for training in stage.train:
            recipe = training.recipe
            assert (recipe.learning_rate, recipe.warmup, recipe.weight_decay) == (1e-5, 0.1, 0.01)
            assert (recipe.adam_epsilon, recipe.gradient_clipping, recipe.doc_stride) == (1e-8, 1.0, 128)
            assert (recipe.max_steps, recipe.max_examples) == (None, None)
            told = (recipe.batch_size, recipe.epochs, recipe.max_length)
            assert found[stage.kind].setdefault(training.task, told) == told
        if stage.kind == "retrieval":
            assert {one.max_length for one in stage.evaluate} == {512}
    assert found == PUBLISHED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnly+squad", "'mnly' is not an intermediate: did you mean 'mnli'?"),
        ("mnli+mnli", "names mnli or one of its languages more than once"),
        ("none+mnli", "none is the baseline and cannot be joined with anything"),
        ("mlm", "mlm needs an intermediate task"),
        ("mnli@", "after @ come the languages"),
        ("mnli@de-xx", "'xx' is none"),
        ("mlm@de", "after @ come the languages"),
        ("", "'' is not an intermediate"),
    ],
)
def test_a_name_of_an_intermediate_that_cannot_be_is_told(sweep_file, name, expected):
    assert expected in errors(sweep_file(intermediates=["none", name]))


def test_one_intermediate_under_two_names_is_told(sweep_file):
    assert "are the same intermediate" in errors(sweep_file(intermediates=["mnli+squad", "squad+mnli"]))


def test_values_of_a_search_are_read_as_the_recipe_holds_them(sweep_file):
    path = sweep_file(search={"target.learning_rate": ["1e-5", 3], "adam_betas": [[0.9, 0.98], [0.9, 0.999]]})
    path.write_text(path.read_text().replace("'1e-5'", "1e-5"))  # which YAML takes for text
    search = load_sweep(path).search
    assert search == {"target.learning_rate": (1e-5, 3.0), "adam_betas": ((0.9, 0.98), (0.9, 0.999))}
