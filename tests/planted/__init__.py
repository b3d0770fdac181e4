"""Planted faults: what tests are worth shows when the code is wrong.

    make planted                         # plants each fault of faults.yaml in a copy; the tests named for it turn red
    python -m tests.planted holm claim   # those faults whose names or files hold one of these words

A fault is a passage of the code and what stands there instead, so that it outlives reformatting elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """One mistake that somebody could make."""

    name: str
    """What the code then does, in words."""
    file: str
    """Path from the root of the checkout."""
    old: str
    """Occurs once in the file."""
    new: str
    tests: tuple[str, ...]
    """Node ids, `<file>::<function>`: each must fail with the fault, and pass without it."""

    def planted(self, text: str) -> str:
        """The file's text with the fault in it.

        Raises:
            ValueError: the passage is not there, or there more than once.
        """
        if (found := text.count(self.old)) != 1:
            raise ValueError(
                f"“{self.name}” no longer fits {self.file}, where its passage stands {found} times, not once: "
                f"write it anew in tests/planted/faults.yaml.\n{self.old}"
            )
        return text.replace(self.old, self.new)


def faults() -> list[Fault]:
    """All of faults.yaml, in its order."""
    entries = yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text(encoding="utf-8"))
    return [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
