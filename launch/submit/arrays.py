"""Which job arrays a plan becomes: pure, from what is missing and what is already in the queue.

Per scale there is an array of the intermediates; one or more whose element k waits for element k of that array and
trains its targets; and one of all that waits for nothing.  SLURM does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launch.study.plan import Plan
from trainers.stage import Stage

Bundles = tuple[tuple[Stage, ...], ...]
MOST_CALLS = 12
"""sbatch calls for a sweep, as far as arrays need not be cut: clusters' schedulers ask their users for few."""


@dataclass(frozen=True, eq=False)
class Array:
    """Bundles of one scale that one sbatch call submits; element k is the k-th."""

    scale: str
    bundles: Bundles
    seconds: float
    """Predicted time of the longest bundle."""
    after: Array | str | None = None
    """An array of the same submission: element k waits for its element k.  Or the id of one queued element: all
    wait for it."""

    @property
    def ends_after_s(self) -> float:
        """Predicted end, if no job ever waits for a GPU."""
        return self.seconds + (self.after.ends_after_s if isinstance(self.after, Array) else 0.0)


def mails_of(array: Array, arrays: Sequence[Array]) -> tuple[str, ...]:
    """Of what SLURM mails a person: that the first array of a submission begins, that any of them fails, and that the
    one which is predicted to be the last has ended."""
    begins = ("BEGIN",) if array is arrays[0] else ()
    ends = ("END",) if array is max(arrays, key=lambda other: other.ends_after_s) else ()
    return (*begins, *ends, "FAIL")


def make_arrays(
    plan: Plan, seconds: Mapping[str, float], queued: Mapping[str, str], job_s: float, most_elements: int
) -> list[Array]:
    """Arrays in the order in which they must be submitted.

    Args:
        seconds: predicted time of each stage to submit, by key: those that are neither done nor in the queue, whose
            parents are done, in the queue, or among them.
        queued: for each stage that is in the queue, the id of its element.
        job_s: stages are bundled up to about this time.
        most_elements: of one array.
    """
    arrays: list[Array] = []
    for scale in plan.scales:
        stages = [stage for stage in plan.stages if stage.scale.name == scale and stage.key in seconds]
        children: dict[str | None, list[Stage]] = {}
        parents: list[Stage] = []
        for stage in stages:
            if stage.kind == "intermediate":
                parents.append(stage)
            else:
                children.setdefault(stage.parent, []).append(stage)
        most_waves = max(1, MOST_CALLS // len(plan.scales) - 2)  # beside the intermediates and what waits for nothing
        waves = {parent.key: _waves(children.pop(parent.key, []), seconds, job_s, most_waves) for parent in parents}
        # Arrays that wait for this one cover its first elements: those with most bundles come first.
        parents.sort(key=lambda parent: -len(waves[parent.key]))
        for parents_of_array in _slices(parents, most_elements):
            arrays += _family(scale, parents_of_array, waves, seconds)
        free: list[tuple[Stage, ...]] = []
        for parent, group in children.items():
            bundles = _cut(group, seconds, job_s)
            if parent is not None and parent in queued:
                arrays.append(_array(scale, bundles, seconds, queued[parent]))
            else:
                free += bundles
        arrays += [_array(scale, tuple(bundles), seconds) for bundles in _slices(free, most_elements)]
    return arrays


def _family(
    scale: str, parents: Sequence[Stage], waves: Mapping[str, Bundles], seconds: Mapping[str, float]
) -> list[Array]:
    """An array of intermediates and those of their targets, wave by wave."""
    first = _array(scale, tuple((parent,) for parent in parents), seconds)
    arrays = [first]
    for wave in range(len(waves[parents[0].key])):
        bundles = tuple(waves[parent.key][wave] for parent in parents if wave < len(waves[parent.key]))
        arrays.append(_array(scale, bundles, seconds, first))
    return arrays


def _array(scale: str, bundles: Bundles, seconds: Mapping[str, float], after: Array | str | None = None) -> Array:
    return Array(scale, bundles, max(sum(seconds[stage.key] for stage in bundle) for bundle in bundles), after)


def _waves(stages: list[Stage], seconds: Mapping[str, float], job_s: float, most: int) -> Bundles:
    """Bundles of one parent, no more than `most`: each is an element of another array, and so costs a call."""
    room = max(job_s, sum(seconds[stage.key] for stage in stages) / most)
    while len(bundles := _cut(stages, seconds, room)) > most:
        room *= 1.1
    return bundles


def _cut(stages: list[Stage], seconds: Mapping[str, float], job_s: float) -> Bundles:
    """Stages of one parent, in order, as bundles of about `job_s`; none is empty."""
    bundles: list[list[Stage]] = []
    room = 0.0
    for stage in stages:
        if not bundles or seconds[stage.key] > room:
            bundles.append([])
            room = job_s
        bundles[-1].append(stage)
        room -= seconds[stage.key]
    return tuple(tuple(bundle) for bundle in bundles)


def _slices(items: list, length: int) -> list[list]:
    return [items[start : start + length] for start in range(0, len(items), length)]


def within(arrays: Sequence[Array], room: int | None) -> list[Array]:
    """The first elements that find room, parents before their children; None is room for all.

    An element whose parent finds no room is left out with it.
    """
    if room is None:
        return list(arrays)
    fitting: dict[Array, Array] = {}
    for array in arrays:
        after = array.after
        most = room
        if isinstance(after, Array):
            if after not in fitting:
                continue
            after = fitting[after]
            most = min(room, len(after.bundles))
        if bundles := array.bundles[:most]:
            fitting[array] = Array(array.scale, bundles, array.seconds, after)
            room -= len(bundles)
    return list(fitting.values())
