"""One rank of a test: `RANK=… WORLD_SIZE=… python -m tests.trainers.worker works.json` (see stages.Ranks)."""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import count
from pathlib import Path


def main(path: str) -> None:
    from tests.trainers.stages import UNTRACKED
    from trainers.data.mirror import Mirror
    from trainers.run import Context, run
    from trainers.stage import Execution, Stage
    from trainers.store import Store
    from trainers.training.ranks import Ranks, disconnect

    ranks = Ranks.from_environment()
    last = ranks.rank == ranks.world_size - 1
    for work in json.loads(Path(path).read_text(encoding="utf-8")):
        asked = count()

        def should_stop(work=work, asked=asked) -> bool:
            step = next(asked)
            if last and step == work["hold_at"]:
                signal.pause()
            return last and step == work["stop_at"]

        context = Context(
            Store(Path(work["store"])),
            Mirror(Path(work["mirror"])),
            Execution(**work["execution"]),
            UNTRACKED,
            should_stop,
        )
        run(Stage.model_validate(work["stage"]), context)
    disconnect()
    sys.stdout.flush()
    os._exit(0)  # a gloo thread that still lives while the interpreter is taken down now and then aborts the process


if __name__ == "__main__":
    main(sys.argv[1])
