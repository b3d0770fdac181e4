"""The contract: what a stage is, and how it may be carried out.  Imports no torch, so that plans are instant.

In comes what a sweep asks for; out go a `Stage`, whose key names its result, and an `Execution`, not in the key.
Beside them: the seeds of what a stage draws (`random`), the published `recipes`, the `scales` (encoders and their
sizes), the `languages` of XTREME, the names of `scores`.
"""

from trainers.stage.keys import Frozen, canonical_json, digest
from trainers.stage.stage import (
    SCHEMA_VERSION,
    SHARED_BY_TASKS,
    Evaluation,
    Execution,
    Fraction,
    Kind,
    Mixing,
    Overflow,
    Probe,
    Recipe,
    ScaleId,
    Setting,
    Stage,
    Training,
    Warmup,
)

__all__ = [
    "SCHEMA_VERSION",
    "SHARED_BY_TASKS",
    "Evaluation",
    "Execution",
    "Fraction",
    "Frozen",
    "Kind",
    "Mixing",
    "Overflow",
    "Probe",
    "Recipe",
    "ScaleId",
    "Setting",
    "Stage",
    "Training",
    "Warmup",
    "canonical_json",
    "digest",
]
