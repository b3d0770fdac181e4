"""The store: one folder a stage, plain files, the only source of truth.

In come a stage and what happens to it; out comes its `StageEntry`: events, checkpoints, results.  `claims` say who
works on a stage, and `files` are written whole or not at all.  `record` writes what is measured, `progress` shows it on
a terminal, `tracking` tells W&B, and `replay` tells it later.
"""

from trainers.store.entry import EventLog, StageEntry, Store

__all__ = ["EventLog", "StageEntry", "Store"]
