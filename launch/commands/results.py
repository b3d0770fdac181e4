"""The commands that read what came out: report, power, verify, submission."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import tyro

from launch.commands.common import Common, console, load, planned, print_json

if TYPE_CHECKING:
    from analysis.reading import Reading
    from analysis.study import Study
    from launch.commands.made_from import MadeFrom
    from launch.study.plan import Plan
    from launch.study.sweep import Sweep
    from trainers.stage import Stage

LOOK_EVERY_S = 2.0


@dataclass
class Report(Common):
    """Write one HTML page with interactive figures; also tables and figures as files, for papers."""

    out: Path | None = None
    """Folder of the report; None is `<store>/report`."""
    source: Annotated[str, tyro.conf.arg(name="from")] = "store"
    """`store`, or W&B: `wandb://<entity>/<project>/<sweep>`, where intervals cover seeds only."""
    figures: bool | None = None
    """Also draw PNG and SVG files, which takes minutes for a full study; None draws them for up to 100 arms."""
    watch: bool = False
    """Serve the report to this machine while the sweep runs, and update it whenever a stage has ended."""
    port: int = 0
    """Port for `--watch`; 0 takes a free one."""
    reproduce: str | None = None
    """Write an earlier report again: its fingerprint or first digits.  None for `--out` is then `<store>/reports/…`."""


def report(chosen: Report) -> int:
    one_thread()
    if chosen.watch:
        _watch(chosen)
    sweep, _ = load(chosen)
    plan = planned(sweep)
    made_from = _made_from(chosen, plan)
    if made_from is not None and made_from.written:
        print(f"report  {made_from.page}  (unchanged: the data behind it have not changed)")
        return 0
    from analysis.records.wandb_api import WandbError
    from analysis.report.report import write_report

    try:
        reading, out = _reading(chosen, plan)
        page = write_report(reading, out, chosen.figures)
    except WandbError as error:
        print(error, file=sys.stderr)
        return 1
    if made_from is not None:
        made_from.keep()
    print(f"report  {page}")
    print(f"tables  {out / 'tables'}")
    for figure in sorted((out / "figures").glob("*.png")):
        print(f"figure  {figure}")
    return 0


def _made_from(chosen: Report, plan: Plan) -> MadeFrom | None:
    """What a report of the store is made from; None of one that is reproduced or read from W&B."""
    from launch.commands.made_from import MadeFrom

    if chosen.reproduce is not None or chosen.source != "store":
        return None
    return MadeFrom.of(plan, chosen.out or plan.sweep.store / "report", chosen.figures)


def _reading(chosen: Report, plan: Plan) -> tuple[Reading, Path]:
    """What the report is written of, and where."""
    from analysis.reading import read_again
    from analysis.records.basis import Basis

    sweep, stages = plan.sweep, plan.stages
    if chosen.reproduce is None:
        return _read(sweep, stages, chosen.source), chosen.out or sweep.store / "report"
    basis = Basis.kept(sweep.store, chosen.reproduce)
    return read_again(sweep.store, basis, stages), chosen.out or sweep.store / "reports" / basis.fingerprint


def _watch(chosen: Report) -> NoReturn:
    """Until it is interrupted."""
    from analysis.report.report import write_report
    from launch.commands.serving import ReportServer
    from launch.study.plan import make_plan
    from launch.study.retries import as_it_stands
    from launch.study.sweep import SweepError
    from trainers.store import Store

    if chosen.reproduce is not None or chosen.source != "store":
        raise SweepError("--watch follows the store while it grows: do not give --reproduce or --from with it")
    sweep, _ = load(chosen)
    plan, store, out = make_plan(sweep), Store(sweep.store), chosen.out or sweep.store / "report"
    server, last = ReportServer(out, chosen.port), None
    while True:
        stages = as_it_stands(plan, store).stages
        ended = {stage.key for stage in stages if store.entry(stage.key).done}
        if ended != last:
            reading = _read(sweep, stages)
            write_report(reading, out, chosen.figures or False)
            print(f"written  {time.strftime('%X')}  {len(ended)} stages have ended", flush=True)
            server.version = reading.basis.fingerprint
        if last is None:
            server.start()
            print(f"serving  {server.url}  until you interrupt it", flush=True)
        last = ended
        time.sleep(LOOK_EVERY_S)


@dataclass
class Power(Common):
    """Say how many seeds are needed to see a difference between scales, from the variance so far."""

    delta: float = 0.05
    """The difference to see, in R(T) and in the mean gain (scores are from 0 to 1)."""
    power: float = 0.8
    """Probability of seeing it."""
    json: bool = False
    """Print the numbers as JSON."""


def power(chosen: Power) -> int:
    from rich.table import Table

    from analysis.power import MOST_SEEDS, outlooks

    comparisons = outlooks(_study(chosen), chosen.delta, chosen.power)
    if chosen.json:
        print_json(comparisons)
        return 0
    screen = console()
    if not comparisons:
        screen.print("Scales cannot be compared: fewer than two have begun.")
        return 0
    table = Table(title=f"seeds to see a difference of {chosen.delta:g} with power {chosen.power:.0%}")
    for column in (
        "measure",
        "scales",
        "trainings",
        "seeds so far",
        "over seeds",
        "over examples",
        "needed",
        "visible",
    ):
        table.add_column(column, justify="left" if column in ("measure", "scales") else "right")
    for comparison in comparisons:
        scales = f"{comparison.smaller} → {comparison.larger}"
        if comparison.not_enough:
            table.add_row(comparison.measure, scales, f"not enough: {comparison.not_enough}", *[""] * 5)
            continue
        seeds = [
            f"{count:.0f}" if math.isfinite(count) else f"> {MOST_SEEDS}"
            for count in (comparison.needed, comparison.cautious)
        ]
        table.add_row(
            comparison.measure,
            scales,
            str(comparison.trainings),
            str(comparison.seeds),
            f"{comparison.by_seed:.3f}",
            f"{comparison.by_examples:.3f}",
            " to ".join(dict.fromkeys(seeds)),
            f"{comparison.visible:.3f}",
        )
    screen.print(table)
    screen.print(
        "over seeds: standard deviation of the difference; over examples: its standard error, however many seeds; "
        "needed: seeds by that deviation, and by its upper 80 % limit; visible: what the seeds so far would show",
        soft_wrap=True,
    )
    return 0


@dataclass
class Verify(Common):
    """Compare the baselines (none → target) with bands of published numbers; exit status 1 if one is outside."""

    json: bool = False
    """Print the verdicts as JSON."""


def verify(chosen: Verify) -> int:
    from analysis.benchmark.verify import summary, verdict_table
    from analysis.benchmark.verify import verify as judge

    sweep, _ = load(chosen)
    screen = console()
    verdicts = judge(sweep.store, planned(sweep).stages, sweep.evaluation.retrieval_depth)
    if chosen.json:
        print_json(verdicts)
    else:
        screen.print(verdict_table(verdicts, sweep.name))
        screen.print(summary(verdicts))
    return int(any(verdict.word == "outside" for verdict in verdicts))


@dataclass
class Submission(Common):
    """Write XTREME's submission folder for one scale, intermediate and seed."""

    out: Annotated[Path, tyro.conf.Positional] = Path("submission")
    """A folder that is new or empty."""
    intermediate: str = "none"
    """One of the sweep's intermediates."""
    seed: int = 1
    """One of the sweep's seeds."""
    scale: str | None = None
    """One of the sweep's scales; needed if it has several."""
    settings: tuple[str, ...] = ()
    """If the sweep has a `search:`, a value for each axis of the arm, e.g. `target.learning_rate=1e-05`."""
    layer: int | None = None
    """Layer for retrieval; None is the sweep's `retrieval_depth` (by default 14 of 24, 7 of 12)."""
    partial: bool = False
    """Write what there is, even if examples, languages or tasks are missing."""


def submission(chosen: Submission) -> int:
    from analysis.benchmark.submission import choose_arm, write_submission
    from analysis.benchmark.xtreme import compared_layer
    from trainers.store import Store

    sweep, mirror = load(chosen)
    plan = planned(sweep)
    arm = choose_arm(plan.stages, chosen.scale, chosen.intermediate, chosen.seed, chosen.settings)
    layer = chosen.layer
    if layer is None:
        layer = compared_layer(sweep.evaluation.retrieval_depth, plan.scales[arm.scale].shape.layers)
    written = write_submission(Store(sweep.store), mirror, arm, chosen.out, layer=layer, partial=chosen.partial)
    for line in (*(f"missing  {gap}" for gap in written.gaps), *(f"note     {note}" for note in written.notes)):
        print(line)
    print(f"wrote    {len(written.files)} files of {arm.name} to {chosen.out}")
    return 0


def one_thread() -> None:
    """Call it before numpy is imported: the bootstrap's products are small, threads only get in their way."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _study(chosen: Common) -> Study:
    one_thread()
    sweep, _ = load(chosen)
    return _read(sweep, planned(sweep).stages).study


def _read(sweep: Sweep, stages: Sequence[Stage], source: str = "store") -> Reading:
    from analysis.reading import read_study, source_of

    keys, depth = {stage.key for stage in stages}, sweep.evaluation.retrieval_depth
    return read_study(sweep.store, keys, sweep.name, stages, source=source_of(source), retrieval_depth=depth)
