"""What `wandb agent` starts for each assignment: take it → show how it goes → tell W&B how it ended.

    WANDB_RUN_ID=… WANDB_SWEEP_PARAM_PATH=… python -m launch.agents.trial       # RETAIN_AGENTS names the folder

Training is not done here but by `launch.agents.agent`, in a job that may be killed and requeued, and may have no
network.  Started again with the same run, it goes on with the same assignment; started after the end, it returns at
once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what takes time to import waits until the assignment is noted
    from launch.agents.trials import AgentsFolder, Trial, TrialResult
    from trainers.store import StageEntry

FOLDER, AGENT, PARENT = "RETAIN_AGENTS", "RETAIN_AGENT", "RETAIN_AGENT_PID"
"""In the environment: the folder; who takes the trial (nobody yet, under a broker); whom this must not outlive."""
LOOK_EVERY_S = 1.0
TIMEOUT_S = 60.0
"""For W&B to take the beginning or the end of a run; it is told again later."""


def main() -> int:
    """0 where the trial completed and W&B knows."""
    run = os.environ["WANDB_RUN_ID"]
    if given := os.environ.get("WANDB_SWEEP_PARAM_PATH"):
        note(Path(os.environ[FOLDER]), run, os.environ.get(AGENT, ""), Path(given).read_text(encoding="utf-8"))
    from launch.agents.trials import AgentsFolder

    folder = AgentsFolder(Path(os.environ[FOLDER]))
    folder.take_noted()
    trial = folder.trial(run)
    shown = None
    with suppress(Exception):  # W&B may be away; what was taken is carried out nevertheless
        shown = _open(folder, trial)
    result = _wait(folder, trial, shown)
    if result is None:
        return 1
    _report(shown or _open(folder, trial), result)
    folder.mark_reported(run)
    return 0 if result.outcome == "completed" else 1


def note(folder: Path, run: str, agent: str, given: str) -> None:
    """Keep what was served, at once: the job may be killed at any moment, and W&B would not serve it again."""
    path = folder / "trials" / f"{run}.given"
    path.with_suffix(".giving").write_text(f"{agent}\n{given}", encoding="utf-8")
    path.with_suffix(".giving").replace(path)


def _open(folder: AgentsFolder, trial: Trial) -> Any:
    """The trial's run, new or resumed."""
    import wandb

    from trainers.store.tracking import quiet

    return wandb.init(
        id=trial.run,
        group=folder.study.sweep.name,
        job_type="trial",
        config={**trial.assignment, "stages": [stage.key for stage in trial.stages]},
        resume="allow",
        settings=quiet(init_timeout=TIMEOUT_S, finish_timeout=TIMEOUT_S, finish_timeout_raises=True),
    )


def _wait(folder: AgentsFolder, trial: Trial, shown: Any) -> TrialResult | None:
    """How the trial ended, its measurements shown meanwhile; None where whoever started this is gone."""
    from trainers.store.tracking import step_axis

    tails = [_measured(folder.store.entry(stage.key), step_axis(stage)) for stage in trial.stages]
    parent = int(os.environ[PARENT])
    while True:
        result = folder.result(trial.run)
        for tail in tails:
            for row in next(tail):
                if shown is not None:
                    with suppress(Exception):
                        shown.log(row)
        if result is not None:
            return result
        if not Path(f"/proc/{parent}").exists():
            return None
        time.sleep(LOOK_EVERY_S)


def _measured(entry: StageEntry, axis: str) -> Iterator[list[dict[str, Any]]]:
    """What a stage has measured since the last look, as rows of W&B, again and again."""
    from launch.story import GrowingFile

    log = GrowingFile(entry.folder / "events.jsonl")
    while True:
        rows = []
        for event in (json.loads(line) for line in log.new_lines() if '"measured"' in line):
            name = f"{event['measure']}/{event['task']}/{event['language']}/{event['metric']}"
            rows.append({axis: event["at"], name: event["value"]})
        yield rows


def _report(shown: Any, result: TrialResult) -> None:
    from launch.agents.trials import OBJECTIVE

    facts = {"outcome": result.outcome, "evidence": result.evidence, OBJECTIVE: result.objective}
    shown.log({name: value for name, value in facts.items() if name == OBJECTIVE and value is not None})
    shown.summary.update({name: value for name, value in facts.items() if value not in (None, "")})
    shown.finish(exit_code=0 if result.outcome == "completed" else 1)


if __name__ == "__main__":
    sys.exit(main())
