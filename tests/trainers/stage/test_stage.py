"""A stage's key names everything that decides its result, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.trainers.stages import CHECKOUT, run_here
from trainers.stage import (
    Evaluation,
    Execution,
    Frozen,
    Mixing,
    Probe,
    Recipe,
    ScaleId,
    Stage,
    Training,
    canonical_json,
)
from trainers.store.tracking import Tracking

RECIPE = {"batch_size": 32, "epochs": 3, "learning_rate": 2e-5, "max_length": 128}
TRAINING = Training(task="pawsx", recipe=Recipe(**RECIPE))
OTHER_DECAY = Training(task="mnli", recipe=Recipe(**RECIPE, weight_decay=0.5))
FIXED = Stage(
    kind="target",
    scale=ScaleId(fingerprint="0123456789abcdef", name="base", source="/models/base"),
    train=(TRAINING, TRAINING.model_copy(update={"task": "qqp"})),
    mixing=Mixing(max_steps=10),
    evaluate=(Evaluation(task="pawsx", languages=("en", "de"), max_length=128),),
    parent="fedcba9876543210",
    seed=1,
    probes=(Probe(task="mnli", languages=("de",), max_length=128), Probe(task="squad", max_length=128)),
    data={"pawsx/train": "aa", "pawsx/test": "bb"},
    intermediate="mnli",
    variant={"target.learning_rate": 2e-5},
)
OTHERS: dict[type, Any] = {int: lambda value: value + 1, float: lambda value: value / 2, str: lambda value: value + "x"}


def test_key_is_the_same_in_every_version():
    """If this fails, results of older versions are not found any more: raise SCHEMA_VERSION and say so."""
    assert FIXED.key == "fddfb2515b3f2a34"


def others(model: Frozen) -> list[tuple[str, Frozen]]:
    """`model` with one field changed, for each field, nested ones too."""
    found = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Frozen):
            found += [(f"{name}.{inner}", model.model_copy(update={name: other})) for inner, other in others(value)]
        elif isinstance(value, tuple) and value and isinstance(value[0], Frozen):
            for inner, other in others(value[0]):
                found.append((f"{name}.{inner}", model.model_copy(update={name: (other, *value[1:])})))
        else:
            found.append((name, model.model_copy(update={name: another(name, value)})))
    return found


def another(name: str, value: Any) -> Any:
    if name == "kind":
        return "intermediate"
    if name == "sampling":
        return "uniform"
    if name == "overflow":
        return "truncate"
    if value is None:
        return 1
    if isinstance(value, tuple):
        return value[:-1] or ("x",)
    if isinstance(value, dict):
        return value | {next(iter(value)): "other"}
    return OTHERS[type(value)](value)


COSMETIC = {"scale.name", "scale.source", "intermediate", "variant"}
CHANGED = others(FIXED)


@pytest.mark.parametrize(
    "changed",
    [stage for name, stage in CHANGED if name in COSMETIC],
    ids=[name for name, _ in CHANGED if name in COSMETIC],
)
def test_cosmetic_field_is_not_in_the_key(changed):
    assert changed != FIXED
    assert changed.key == FIXED.key


@pytest.mark.parametrize(
    "changed",
    [stage for name, stage in CHANGED if name not in COSMETIC],
    ids=[name for name, _ in CHANGED if name not in COSMETIC],
)
def test_every_other_field_is_in_the_key(changed):
    assert changed.key != FIXED.key


def test_all_fields_were_tried():
    tried = {name for name, _ in CHANGED}
    assert tried >= {f"train.recipe.{name}" for name in Recipe.model_fields}
    assert tried >= {f"train.{name}" for name in Training.model_fields if name != "recipe"}
    assert tried >= {f"mixing.{name}" for name in Mixing.model_fields}
    assert tried >= {f"evaluate.{name}" for name in Evaluation.model_fields}
    assert tried >= {f"probes.{name}" for name in Probe.model_fields}
    assert {name.split(".")[0] for name in tried} == set(Stage.model_fields)


def test_floats_are_canonical():
    written = [
        Recipe(batch_size=1, epochs=1, max_length=8, learning_rate=rate, weight_decay=decay)
        for rate, decay in ((1e-5, 0), (0.00001, 0.0), ("1e-5", "0"))
    ]
    assert len({canonical_json(recipe.identity) for recipe in written}) == 1


plain_values = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.none())


@given(st.dictionaries(st.text(), plain_values))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value):
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_stage_survives_its_own_json():
    again = Stage.model_validate_json(FIXED.model_dump_json())
    assert again == FIXED
    assert again.key == FIXED.key
    assert Stage.model_validate(FIXED.model_dump(mode="json")).key == FIXED.key


def test_planned_stages_survive_their_own_json(arm):
    for stage in arm:
        assert Stage.model_validate_json(stage.model_dump_json()).key == stage.key


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mixing": None}, "says how they are mixed"),
        ({"train": ()}, "mixed|no task"),
        ({"train": (TRAINING, OTHER_DECAY)}, "weight_decay must be the same: pawsx 0.01, mnli 0.5"),
        ({"kind": "retrieval"}, "trains nothing"),
        ({"probes": FIXED.probes[:1] * 2}, "probed in one way, but found mnli, mnli"),
        ({"schema_version": 3}, "of version 3, and this program reads version 4"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"colour": "red"}, "Extra inputs"),
        ({"kind": "other"}, "kind"),
        ({"train": ({"task": "pawsx", "recipe": RECIPE | {"learning_rate": float("inf")}},)}, "finite number"),
        ({"train": ({"task": "pawsx", "recipe": RECIPE | {"learning_rate": float("nan")}},)}, "finite|greater than 0"),
        ({"train": ({"task": "pawsx", "recipe": RECIPE | {"batch_size": 0}},)}, "greater than 0"),
    ],
)
def test_impossible_stage_is_refused(change, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Stage(**{**FIXED.model_dump(), **change})


def test_stage_cannot_be_changed():
    with pytest.raises(ValidationError):
        FIXED.seed = 2


@pytest.mark.usefixtures("cold")
def test_stage_module_imports_no_torch():
    imported = "trainers.stage, trainers.stage.scales, trainers.stage.recipes, trainers.tasks, trainers.data.mirror"
    code = f"import sys, {imported}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert answer.stdout == "False\n"


def test_no_secret_of_the_environment_reaches_the_store(mirror, arm, store, monkeypatch):
    secrets = {
        "WANDB_API_KEY": "5" * 20 + "c0ffee" + "7" * 14,
        "HF_TOKEN": "hf_QWERTYtotallysecret",
        "MY_CLUSTER_PASSWORD": "correct-horse-battery",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    for stage in arm:
        run_here(stage, store, mirror, tracking=Tracking(mode="offline"))
    files = [path for path in store.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        content = path.read_bytes()
        for name, value in secrets.items():
            assert value.encode() not in content, f"{name} is in {path}"
    assert "WANDB_API_KEY" in os.environ


@pytest.mark.parametrize("zero_stage", [0, 1, 2])
def test_adam_goes_to_the_host_under_zero_3_only(zero_stage):
    with pytest.raises(ValueError, match=f"offload needs ZeRO-3, not stage {zero_stage}"):
        Execution(offload=True, zero_stage=zero_stage)
