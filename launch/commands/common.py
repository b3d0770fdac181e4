"""What every command takes, and begins with: the sweep with the command line's changes, its mirror, its plan."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from rich.console import Console

    from launch.status import StageStatus
    from launch.study.plan import Plan
    from launch.study.sweep import Sweep
    from trainers.data.mirror import Mirror
    from trainers.stage import Stage


SweepFile = Annotated[Path, tyro.conf.Positional]
StageKey = Annotated[str, tyro.conf.Positional]


@dataclass
class Common:
    """What every command takes."""

    sweep: SweepFile
    """The sweep file (YAML)."""
    mirror: Path | None = None
    """Use this folder of data sets instead of the file's `mirror:`."""
    encoder: tuple[Path, ...] = ()
    """Use these encoder folders instead of the file's `scales:`."""
    store: Path | None = None
    """Use this folder of results instead of the file's `store:`."""


def load_only(chosen: Common) -> Sweep:
    """The sweep with the command line's changes."""
    from launch.study.sweep import load_sweep

    encoders = tuple(str(folder) for folder in chosen.encoder) or None
    return load_sweep(chosen.sweep, mirror=chosen.mirror, scales=encoders, store=chosen.store)


def load(chosen: Common) -> tuple[Sweep, Mirror]:
    """The sweep with the command line's changes, and its mirror; the sandbox's is made at first use."""
    from launch.study.plan import mirror_of

    sweep = load_only(chosen)
    if sweep.mirror is None:
        from trainers.sandbox import write_mirror

        write_mirror(mirror_of(sweep).root)
    return sweep, mirror_of(sweep)


def planned(sweep: Sweep) -> Plan:
    """The plan of a sweep, with the retries of what has diverged so far."""
    from launch.study.plan import make_plan
    from launch.study.retries import as_it_stands
    from trainers.store import Store

    return as_it_stands(make_plan(sweep), Store(sweep.store))


def checked_plan(sweep: Sweep, mirror: Mirror) -> Plan:
    """The plan of a sweep without problems.

    Raises:
        SweepError: all the problems.
    """
    from launch.study.check import check
    from launch.study.retries import as_it_stands
    from launch.study.sweep import SweepError
    from trainers.store import Store

    findings = check(sweep, mirror)
    if findings.problems or findings.plan is None:
        raise SweepError("\n".join(findings.problems))
    return as_it_stands(findings.plan, Store(sweep.store))


def stage_of(stages: Iterable[Stage], key: str) -> Stage:
    """The one stage whose key begins so.

    Raises:
        SweepError: none or several do.
    """
    from launch.study.sweep import SweepError

    matches = [stage for stage in stages if key and stage.key.startswith(key)]
    if len(matches) != 1:
        raise SweepError(
            f"{key!r} names {len(matches)} stages of this sweep; give the key of one (see `retain plan --stages`)"
        )
    return matches[0]


def console() -> Console:
    """Where a command writes for a person."""
    from rich.console import Console

    return Console(highlight=False)


def show_live(
    screen: Console, sweep: str, look: Callable[[], list[StageStatus]], unfinished: Collection[str], every_s: float
) -> list[StageStatus]:
    """Show the table of a sweep until no stage is in one of the states `unfinished`; the last look."""
    from rich.live import Live

    from launch.status import table

    with Live(console=screen) as live:
        while True:
            statuses = look()
            live.update(table(statuses, sweep, everything=False))
            if not any(progress.state in unfinished for progress in statuses):
                return statuses
            time.sleep(every_s)


def plain(text: str) -> str:
    """Text whose brackets are no markup."""
    from rich.markup import escape

    return escape(text)


def print_json(value: Any) -> None:
    """For a program: dataclasses as objects, infinity as a word, an unknown number as null (JSON knows neither)."""
    print(json.dumps(_known(value), ensure_ascii=False))


def _known(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _known(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: _known(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_known(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
