"""While one stage trains, the data of the next are tokenised beside it, so that its GPUs need not wait for them.

pretokeniser.wait()                      # before a stage begins: one tokeniser is at work at a time
run(stage, context with ready=lambda: pretokeniser.start(following))
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable
from pathlib import Path

from trainers.data.mirror import Mirror
from trainers.stage import Stage
from trainers.store import Store


class Pretokeniser:
    """Tokenises the data of one stage at a time, in a thread."""

    def __init__(self, store: Store, mirror: Mirror) -> None:
        self.store, self.mirror = store, mirror
        self._thread: threading.Thread | None = None
        self._seen: set[Hashable] = set()
        """What was looked at before: it is tokenised, or soon fails."""

    def start(self, following: Stage) -> None:
        """Start tokenising what `following` reads, unless nothing of it is new."""
        read = _data_of(following)
        if read in self._seen:
            return
        self._seen.add(read)
        self._thread = threading.Thread(target=self._tokenise, args=(following,), name="pretokenise", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until what was started is done."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _tokenise(self, stage: Stage) -> None:
        from trainers.data.stagedata import StageData

        with contextlib.suppress(Exception):  # the stage itself will tell what is wrong with its data
            StageData.load(stage, self.mirror, self.store.tokenised, Path(stage.scale.source))


def _data_of(stage: Stage) -> Hashable:
    """Equal for all seeds of an arm."""
    return stage.scale.source, stage.train, stage.evaluate, stage.probes, stage.development_examples
