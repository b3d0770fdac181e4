"""How rows are drawn: from a seed, never the same text twice, in files of the hub's layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any, TypeVar

Item = TypeVar("Item")
Row = dict[str, Any]
Files = Iterator[tuple[str, str, list[Row]]]
"""Schema's name, path without the suffix, rows."""


class Draws:
    """Items of one data set whose texts never repeat, within a split or between splits."""

    def __init__(self, seed: int, data_set: str):
        self.seed, self.data_set = seed, data_set
        self.seen: set[str] = set()

    def take(
        self, split: str, count: int, make: Callable[[Random, int], Item], keys: Callable[[Item], Iterable[str]]
    ) -> list[Item]:
        """`count` items in a seeded order; `make` is given the item's number, `keys` are the texts kept apart."""
        random = Random(f"{self.seed}/{self.data_set}/{split}")
        taken: list[Item] = []
        while len(taken) < count:
            item = make(random, len(taken))
            texts = list(keys(item))
            if self.seen.isdisjoint(texts):
                self.seen.update(texts)
                taken.append(item)
        random.shuffle(taken)
        return taken
