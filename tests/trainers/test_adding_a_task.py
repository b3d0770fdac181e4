"""docs/adding-a-task.md is true: its file registers a task that is checked, trained, probed and scored."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launch.study.check import check
from launch.study.plan import make_plan
from launch.study.sweep import Sweep
from tests.trainers.stages import measurements, run_here
from trainers.data.mirror import Mirror
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.stage.scores import FOLDS, without_fold
from trainers.tasks import TASKS, Task, register

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-task.md"
NAMES = ("rain", "sun", "dog", "key")


@pytest.fixture
def copa():
    """The page's own code, run; the table is as it was afterwards."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict = {}
    exec(code[0], namespace)
    exec(code[1], namespace)
    yield namespace
    del TASKS["copa"]


@pytest.fixture
def mirror_with_copa(mirror, tmp_path):
    root = tmp_path / "mirror"
    shutil.copytree(mirror.root, root)
    folder = root / "super_glue" / "copa"
    folder.mkdir(parents=True)
    for split, count in (("train", 60), ("validation", 40)):
        rows = [
            {"premise": f"The {NAMES[n % 4]} was there.", "question": ("cause", "effect")[n % 2],
             "choice1": f"Anna saw it {n} times.", "choice2": f"Nobody came on day {n}.", "label": n // 2 % 2}
            for n in range(count)
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    return Mirror(root)


def sweep_of(mirror: Mirror) -> Sweep:
    return Sweep(
        name="copa",
        store=mirror.root.parent / "store",
        mirror=mirror.root,
        scales=(str(SANDBOX_ENCODERS / "sandbox-s"),),
        intermediates=("none", "copa"),
        targets=("pawsx",),
        seeds=(1,),
        languages=("en",),
        recipes="sandbox",
        overrides={"*": {"max_steps": 3, "max_examples": 24, "batch_size": 4, "max_length": 64}},
        probe={"examples": 8, "examples_other": 0, "refit_examples": 8},
        evaluation={"max_examples": 8, "development_examples": 8},
    )


def test_a_task_registered_as_the_page_says_is_checked_trained_probed_and_scored(copa, mirror_with_copa, store):
    copa["test_copa_asks_for_cause_or_effect"]()
    sweep = sweep_of(mirror_with_copa)
    assert check(sweep, mirror_with_copa).problems == ()
    for stage in make_plan(sweep).stages:
        run_here(stage, store, mirror_with_copa)
        if stage.trained == ("copa",):
            found = {(measure, metric) for _, measure, task, _, metric in measurements(store.entry(stage.key))}
            without = [without_fold(measure, fold) for measure in ("untouched", "refit") for fold in range(FOLDS)]
            measures = ("untouched", "stored", "refit", "development", *without)
            assert found == {(measure, "accuracy") for measure in measures}


def test_a_wrong_row_of_it_is_told(copa, mirror_with_copa):
    path = mirror_with_copa.root / "super_glue/copa/train.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[5]["label"] = 2
    pq.write_table(pa.Table.from_pylist(rows), path)
    (problem,) = check(sweep_of(mirror_with_copa), mirror_with_copa).problems
    assert "copa: row 5 has the label 2, which is none of its 2 choices" in problem


@pytest.mark.parametrize("name", ["mnli", "two words", "a+b", "x@de", ""])
def test_a_name_that_is_taken_or_cannot_be_said_is_refused(name):
    with pytest.raises(ValueError, match=r"already|no name for a task"):
        register(Task(name, "choice", "intermediate", ("en",), ("a", "b")))
