"""The options of every command of `retain`: what `--help` shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

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


@dataclass
class New:
    """Write a first sweep file with every field explained; in a terminal it asks for what no option gives."""

    out: Annotated[Path, tyro.conf.Positional] = Path("sweep.yaml")
    """Where to write it; an existing file is never overwritten.  The sweep is named after it."""
    scales: tuple[str, ...] = ()
    """Encoders: base, large, xl, xxl, sandbox-s, sandbox-m, sandbox-l, hub ids or folders."""
    intermediates: tuple[str, ...] = ()
    """What phase 2 trains on, `none` for the baseline."""
    targets: tuple[str, ...] = ()
    """XTREME tasks."""
    seeds: tuple[int, ...] = ()
    """Shared by all arms; three or more for statistics."""
    mirror: Path | None = None
    """Folder of the data sets; the sandbox's encoders need none."""
    store: Path | None = None
    """Folder of the results; None is `runs/<name>`."""
    ask: bool = True
    """In a terminal, ask for what no option gives."""


@dataclass
class Doctor:
    """Look at this machine as a sweep needs it: packages, GPUs, disks, SLURM, W&B; and say what to do.

    Exit status 1 where something stands in the way.
    """

    store: Path = Path("runs")
    """The folder of results, or where it is to be."""
    json: bool = False
    """Print the findings as JSON."""


@dataclass
class Check(Common):
    """Show every problem of the sweep, its data and its encoders, before anything runs."""

    json: bool = False
    """Print the findings as JSON."""


@dataclass
class Fetch(Common):
    """Bring the data sets and encoders that the sweep reads from the hub into its mirror, on a machine with a network.

    Repeat it after anything: what is there is checked and not fetched again.  Repositories are pinned to the commit of
    their first fetch (`<mirror>/fetched.json`).  Exit status 1 where something could not be brought.
    """

    again: bool = False
    """Replace files that have changed since they were fetched, or that this command did not bring."""
    revision: tuple[str, ...] = ()
    """Read a repository at this commit, tag, branch or pull request: `<hub id>=<revision>`, e.g. `a/b=refs/pr/1`."""


@dataclass
class Plan(Common):
    """Show the deduplicated graph: what is done, what is to do, how long and how large."""

    stages: bool = False
    """List every stage with its key."""
    json: bool = False
    """Print the stages as JSON; with a cluster file, what each scale takes there."""
    cluster: Path | None = None
    """A cluster file (see `retain init`): how each scale is sharded there and why, what it takes, when it starts."""
    budget: float | None = None
    """Hours of one GPU (without a cluster file: of one CPU core) to spend: what to run first, and what they buy."""


@dataclass
class Run(Common):
    """Run what is missing on this machine, as many bundles side by side as it holds."""

    steps: bool = False
    """Inside a SLURM allocation: run bundles as its steps, on all of its nodes (see slurm/sweep.sbatch)."""
    cluster: Path | None = None
    """By it steps are placed as `retain submit` would place them; None is cluster.yaml, or one task each without it."""


@dataclass
class Debug(Common):
    """Run one stage in this process; breakpoints work."""

    stage: str = ""
    """Key of the stage, or its first digits (see `retain plan --stages`)."""


@dataclass
class Status(Common):
    """Show what ran, runs, waits, failed and why."""

    watch: bool = False
    """Refresh until every stage has ended."""
    json: bool = False
    """Print the states as JSON."""


@dataclass
class Report(Common):
    """Write one HTML page with interactive figures, its tables for papers, and figures as files."""

    out: Path | None = None
    """Folder of the report; None is `<store>/report`."""
    source: Annotated[str, tyro.conf.arg(name="from")] = "store"
    """`store`, or a W&B server: `wandb://<entity>/<project>/<sweep>`, whose intervals cover seeds only."""
    figures: bool | None = None
    """Draw PNG and SVG files, too: minutes for a full study; None draws those of a study of up to 100 arms."""
    watch: bool = False
    """Serve the report to this machine while the sweep runs, and write it again whenever a stage has ended."""
    port: int = 0
    """Where `--watch` serves; 0 takes a free port."""
    reproduce: str | None = None
    """Write an earlier report again, by its fingerprint or first digits; None for `--out` is `<store>/reports/…`."""


@dataclass
class Power(Common):
    """Tell how many seeds it takes to see a difference between scales, from the variance seen so far."""

    delta: float = 0.05
    """The difference: of R(T), and of the mean gain in scores from 0 to 1."""
    power: float = 0.8
    """How probably it is to be seen."""
    json: bool = False
    """Print the numbers as JSON."""


@dataclass
class Verify(Common):
    """Judge the baselines (none → target) by the bands of published numbers; exit status 1 where one is outside."""

    json: bool = False
    """Print the verdicts as JSON."""


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
    """One of the sweep's scales; needed where it has several."""
    settings: tuple[str, ...] = ()
    """Where the sweep searches: a value for each axis that the arm has, e.g. `target.learning_rate=1e-05`."""
    layer: int | None = None
    """Layer at which retrieval is read; None is the sweep's `retrieval_depth`: 14 of 24, 7 of 12."""
    partial: bool = False
    """Write what there is, though examples, languages or tasks are missing."""


@dataclass
class WandbAction:
    """The word after `retain wandb`."""

    action: Annotated[Literal["sync", "dashboard"], tyro.conf.Positional]
    """sync: send what W&B lacks.  dashboard: write the sweep's W&B report, or write it anew."""


@dataclass
class Wandb(Common, WandbAction):
    """Give W&B what it lacks of a sweep, from the store: offline runs, rows lost in a crash, another project.

    Repeat it after anything: what is there is not sent again, and one report is updated.  Exit status 1 where W&B could
    not be given everything.
    """

    project: str | None = None
    """W&B project; None is the sweep's."""
    entity: str | None = None
    """W&B user or team; None is the sweep's, or the key's own."""


@dataclass
class Agents(Common):
    """Let a W&B sweep hand out the work: jobs that run the real `wandb agent`, each trial made stages of the store.

    Over the sweep's arms and the points of its `search:`.  Repeat it after anything: the same W&B sweep goes on.
    """

    count: int = 1
    """Agents, each a job with one trial at a time; those that live already count."""
    on: Literal["local", "slurm"] = "local"
    """This machine, or the cluster of `--cluster`."""
    method: Literal["grid", "random", "bayes"] = "grid"
    """A grid tries the values of `search:`; the others draw between the smallest and the largest of each axis."""
    runs: int | None = None
    """Trials in all; needed by random and bayes, which have no end of their own."""
    scale: str | None = None
    """Only this one of the sweep's scales; None is all."""
    intermediate: str | None = None
    """Only this one of the sweep's intermediates; None is all."""
    seed: int | None = None
    """Only this one of the sweep's seeds; None is all.  `--method bayes` wants one arm: of several it would draw the
    best one ever more often, and not look for the best point of each."""
    broker: bool = False
    """Jobs have no network: ask W&B from here, as long as this command runs."""
    cluster: Path = Path("cluster.yaml")
    """The cluster file (see `retain init`)."""


@dataclass
class Init:
    """Look at the SLURM cluster that this is a login node of, and write a commented cluster file."""

    out: Annotated[Path, tyro.conf.Positional] = Path("cluster.yaml")
    """Where to write it; an existing file is never overwritten."""
    partition: str | None = None
    """Where jobs are to go; None is the partition with most GPUs."""


@dataclass
class Sending(Common):
    """What commands that send jobs to SLURM take."""

    cluster: Path = Path("cluster.yaml")
    """The cluster file (see `retain init`)."""
    strict: bool = False
    """Refuse code with uncommitted changes."""
    cancel_removed: bool = False
    """Cancel pending jobs of arms that are no longer in the sweep file, without asking."""


@dataclass
class Submit(Sending):
    """Send to SLURM what is missing: repeat it after anything, work that is done or under way is never sent again."""

    print: bool = False
    """Show the exact sbatch scripts and send nothing."""
    json: bool = False
    """With `--print`: the scripts as JSON, with the names of their arrays."""


@dataclass
class Watch(Sending):
    """Submit again and again until every stage has ended, and show the sweep; needed by nothing, liked by some."""

    every_s: float = 60.0
    """Seconds between looks."""


@dataclass
class Cancel(Common):
    """Take the sweep's jobs out of the queue; what they have saved stays."""

    stage: tuple[str, ...] = ()
    """Only the jobs that hold these stages (keys or their first digits); their other stages go with them."""


@dataclass
class Why(Common):
    """Tell the whole story of one stage: attempts, jobs, checkpoints, failures and decisions."""

    stage: StageKey = ""
    """Key of the stage, or its first digits."""
    json: bool = False
    """Print the story as JSON."""


@dataclass
class Tail(Common):
    """Show what the job that runs a stage prints, as it prints it."""

    stage: StageKey = ""
    """Key of the stage, or its first digits."""
    lines: int = 20
    """So many lines from before."""
    follow: bool = True
    """Go on until the stage ends."""
    json: bool = False
    """Print each line as JSON."""


@dataclass
class Retry(Common):
    """Let failed stages be run and submitted again."""

    stage: tuple[str, ...] = ()
    """Keys or their first digits; none is every failed stage of the sweep."""


@dataclass
class Prune(Common):
    """Delete checkpoints and encoders that no unfinished stage of the sweep needs; results stay."""

    dry: bool = False
    """Only say what would be deleted."""
    json: bool = False
    """Print the folders as JSON."""


@dataclass
class Devcluster:
    """Bring up a throwaway SLURM cluster on this machine, show it, or take it down.

    `eval "$(retain devcluster up)"` brings it up where it is not yet, and `sbatch` and `retain` of this shell find it.
    It needs root and Debian's SLURM packages.
    """

    action: Annotated[Literal["up", "status", "down"], tyro.conf.Positional]
    """up: bring it up where it is not yet.  status: show its nodes.  down: end it."""
    root: Path | None = None
    """The cluster's folder; None is `/run/retain-devcluster`."""
    nodes: int = 4
    """Nodes, all of them on this machine."""
    gpus: int = 2
    """Fake GPUs of each node."""
    cpus: int = 8
    """CPUs of each node, whether this machine has them or not."""
    json: bool = False
    """Print the cluster as JSON."""
