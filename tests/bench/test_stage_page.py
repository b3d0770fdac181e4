"""bench/stage.py tells a stage's fixed cost from what grows with its steps and examples."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.stage import FORWARD, PARTS, fixed, parts_of

CHECKOUT = Path(__file__).parents[2]


def test_every_part_names_a_function_that_exists():
    for path, name in PARTS.values():
        if path.startswith("trainers/"):
            assert f"def {name}(" in (CHECKOUT / path).read_text(encoding="utf-8"), (path, name)


def test_fixed_is_all_but_steps_and_evaluation():
    profile = SimpleNamespace(
        total_tt=10.0,
        stats={
            ("/x/trainers/training/step.py", 1, "step"): (5, 5, 0.1, 6.0, {}),
            ("/x/trainers/run.py", 1, "_evaluate"): (1, 1, 0.1, 1.5, {}),
            ("/x/trainers/network/encoder.py", 1, "load_encoder"): (1, 1, 0.1, 0.5, {}),
            ("/x/elsewhere.py", 1, "step"): (1, 1, 0.1, 99.0, {}),
        },
    )
    seconds = parts_of(profile)
    assert (seconds["steps"], seconds["encoder"]) == (6.0, 0.5)
    assert seconds[FORWARD] == 6.0
    assert fixed(seconds) == pytest.approx(2.5)
