"""`retain wandb sync` sends W&B what it lacks of a sweep, from the store; `dashboard` writes the sweep's W&B report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from launch.commands.common import Common, console, load_only, planned

if TYPE_CHECKING:
    from analysis.records.wandb_api import Place
    from trainers.stage import Stage
    from trainers.store import Store
    from trainers.store.replay import Shown

LOOKS = (0, 1, 2, 4, 8, 16)
"""Seconds before each look for what was sent: W&B shows it after a while."""


@dataclass
class WandbAction:
    """The word after `retain wandb`."""

    action: Annotated[Literal["sync", "dashboard"], tyro.conf.Positional]
    """sync: send what W&B lacks.  dashboard: write or update the sweep's W&B report."""


@dataclass
class Wandb(Common, WandbAction):
    """Send to W&B what it lacks of a sweep, from the store: offline runs, rows lost in a crash, another project.

    You can always repeat it: only what is missing is sent, and the same report is updated.  Exit status 1 if not
    everything could be sent to W&B.
    """

    project: str | None = None
    """W&B project; None is the sweep's."""
    entity: str | None = None
    """W&B user or team; None is the sweep's, or that of your key."""


def wandb(chosen: Wandb) -> int:
    """Carry out `retain wandb …`; 1 where W&B could not be given everything."""
    from analysis.records.wandb_api import Place, WandbError, connect
    from trainers.store import Store

    sweep = load_only(chosen)
    store = Store(sweep.store)
    plan = planned(sweep)
    stages = [stage for stage in plan.stages if (store.entry(stage.key).folder / "stage.json").exists()]
    try:
        api = connect()
        entity = chosen.entity or sweep.tracking.entity or api.default_entity
        place = Place(entity, chosen.project or sweep.tracking.project, sweep.name)
        if chosen.action == "sync":
            return _sync(stages, store, api, place)
        from launch.dashboard import write_dashboard

        print(f"report   {write_dashboard(api, place, plan)}")
        return 0
    except WandbError as error:
        print(error, file=sys.stderr)
        return 1


def _sync(stages: list[Stage], store: Store, api: Any, place: Place) -> int:
    from rich.progress import track

    from analysis.records.wandb_api import runs_of, told_in_words
    from trainers.store.replay import send, shown_by_store
    from trainers.store.tracking import Tracking

    screen = console()
    runs = {run.id: run for run in runs_of(api, place, [stage.key for stage in stages])}
    there, sent, running = 0, 0, 0
    for stage in track(stages, "W&B", console=screen, transient=True, disable=not screen.is_terminal):
        entry, run = store.entry(stage.key), runs.get(stage.key)
        if entry.claimant():
            running += 1
            continue
        in_store = shown_by_store(entry)
        lacking = in_store.less(_shown_by(stage, run) if run else None)
        if lacking is None:
            there += 1
            continue
        # A stage that sweeps share stays in the group of the first.
        group = (run.group if run else None) or place.sweep
        tracking = Tracking(mode="online", project=place.project, entity=place.entity, group=group)
        with told_in_words():
            send(stage, lacking, tracking)
        _see_arrive(stage, in_store, api, place)
        sent += 1
    screen.print(f"{sent} stages sent to {place.entity}/{place.project}, {there} already there", soft_wrap=True)
    if running:
        screen.print(f"{running} are still running: sync again when they have ended", style="yellow")
    return 0


def _shown_by(stage: Stage, run: Any) -> Shown:
    from analysis.records.wandb_api import read_run
    from trainers.store.replay import Shown, points_of

    fragment = read_run(run)
    return Shown(fragment.config, points_of(stage, fragment.history), fragment.summary, run.state)


def _see_arrive(stage: Stage, in_store: Shown, api: Any, place: Place) -> None:
    """Wait until W&B shows everything: its client may give up on rows without a word.

    Raises:
        WandbError: it does not.
    """
    import time

    from analysis.records.wandb_api import WandbError, told_in_words

    for pause_s in LOOKS:
        time.sleep(pause_s)
        with told_in_words():
            api.flush()  # it remembers runs
            run = api.run(f"{place.entity}/{place.project}/{stage.key}")
        if in_store.less(_shown_by(stage, run)) is None:
            return
    raise WandbError(
        f"W&B: {stage.label} ({stage.key}) was sent to {place.entity}/{place.project} and is not whole there. "
        "Run the same command again: the store has everything, and what has arrived is not sent twice."
    )
