"""The `retain` command: `main` and the table of commands, which `launch.commands` carries out.

Torch is imported only where a stage runs, so that everything else answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import tyro

from launch.commands import agents, cluster, results, run, study, wandb

COMMANDS: dict[type, Callable[..., int]] = {
    study.New: study.new,
    study.Doctor: study.doctor,
    study.Check: study.check,
    study.Fetch: study.fetch,
    study.Plan: study.plan,
    run.Run: run.run,
    run.Debug: run.debug,
    run.Status: run.status,
    results.Report: results.report,
    results.Power: results.power,
    results.Verify: results.verify,
    results.Submission: results.submission,
    wandb.Wandb: wandb.wandb,
    agents.Agents: agents.agents,
    cluster.Init: cluster.init,
    cluster.Submit: cluster.submit,
    cluster.Watch: cluster.watch,
    cluster.Why: cluster.why,
    cluster.Tail: cluster.tail,
    cluster.Cancel: cluster.cancel,
    cluster.Retry: cluster.retry,
    cluster.Prune: cluster.prune,
    cluster.Devcluster: cluster.devcluster,
}
"""Every command, in the order of `--help`: its options, after whose class it is named, and what carries it out."""


def main() -> None:
    """Entry point of the `retain` command."""
    commands: dict[str, Callable[..., object]] = {command.__name__.lower(): command for command in COMMANDS}
    from slurm.commands import SlurmError
    from trainers.store.files import StoreError

    try:
        chosen = tyro.extras.subcommand_cli_from_dict(
            commands, prog="retain", description="Measure what encoders of each scale retain; begin with `retain new`."
        )
        code = COMMANDS[type(chosen)](chosen)
    except (StoreError, SlurmError, ValueError) as error:
        print(error, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # whoever reads has read enough, e.g. `| head`; at exit Python would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    raise SystemExit(code)


if __name__ == "__main__":
    main()
