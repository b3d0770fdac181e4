"""What a door hands to `trainers.run`, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from trainers.data.mirror import Mirror
from trainers.stage import Execution
from trainers.store import Store
from trainers.store.claims import Judge, nobody_knows
from trainers.store.tracking import Patience, Tracking

Outcome = Literal["completed", "diverged", "preempted"]


@dataclass
class Context:
    """What a door hands to `run` beside the stage."""

    store: Store
    mirror: Mirror
    execution: Execution = field(default_factory=Execution)
    tracking: Tracking = field(default_factory=Tracking)
    should_stop: Callable[[], bool] = lambda: False
    """Asked at every step boundary; if any rank says yes, all ranks save and `run` returns `preempted`."""
    job: str = "local"
    """Names this job in claims and events."""
    job_runs: Judge = nobody_knows
    """Asked whether the job that holds a stage still runs."""
    patience: Patience = field(default_factory=Patience)
    """How long W&B may hold up this process."""
    ready: Callable[[], None] = lambda: None
    """Called once the stage has its data, and its encoder is loaded."""
