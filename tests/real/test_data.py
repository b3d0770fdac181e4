"""Every task that the mirror holds is read and tokenised, in all its languages."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.data.tokenise import rows, tokenised
from trainers.families import family
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet

ENCODER = SANDBOX_ENCODERS / "sandbox-s"
LENGTHS = Lengths(384, 128)
ROWS = 150
ROLES = ("train", "development", "test")
NAMES = list(TASKS)


@pytest.fixture
def read(real_mirror, tmp_path):
    """`read(name)`: (role, language, rows, tokenised set) of each split of a task that the mirror holds."""

    def sets(name: str):
        task = TASKS[name]
        found = []
        for role in ROLES:
            files = getattr(task, role)
            for language in task.languages if files else ():
                if real_mirror.holds(files, language):
                    table = rows(real_mirror, task, files, language, ROWS)
                    encoded = tokenised(tmp_path, real_mirror, task, files, language, ENCODER, LENGTHS, ROWS)
                    found.append((role, language, table, encoded))
        if not found:
            pytest.skip(f"the mirror holds nothing of {name}")
        return task, found

    return sets


def answers_are_in_windows(table, encoded: TokenisedSet) -> bool:
    """All but those few that the sandbox's tokenizer, which does not know these words, makes longer than a window."""
    answered = {row for row, gold in enumerate(table["answers"].to_pylist()) if gold["text"]}
    found = set(encoded.example[encoded.targets[:, 0] > 0].tolist())
    return len(answered - found) <= 0.01 * len(answered)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_task_is_read_and_tokenised(read, name):
    task, found = read(name)
    for role, language, table, encoded in found:
        where = f"{name} {role} {language}"
        assert table.num_rows > 0, where
        assert sorted(set(encoded.example.tolist())) == list(range(table.num_rows)), where
        assert (encoded.lengths > 2).all(), where
        assert (encoded.sequence_lengths <= LENGTHS.max_length).all(), where
        if task.family == "mlm":
            continue
        assert 0 <= family(task).chance(LabelledSet(task, language, table, encoded)) < 1, where
        if task.family == "pair":
            assert np.bincount(encoded.targets[:, 0], minlength=len(task.labels)).all(), f"{where} lacks a class"
        if task.family == "span":
            assert answers_are_in_windows(table, encoded), where


def test_mirror_holds_the_tasks_of_this_version(real_mirror):
    held = {
        name
        for name in NAMES
        for files in [TASKS[name].test or TASKS[name].train]
        if any(real_mirror.holds(files, language) for language in TASKS[name].languages)
    }
    assert {"mnli", "squad", "xnli", "pawsx", "xquad", "tatoeba"} <= held
