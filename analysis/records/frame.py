"""The two tidy tables that everything here is computed from: one row per measured value, one row per stage.

A `Record` is what one stage left behind, wherever it was read (store or W&B); `tidy` and `stage_table` turn
records into tables.  The same records give equal tables, so that the two sources can be compared with `==`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from trainers.collector import uncollected
from trainers.stage import Stage
from trainers.stage.scores import Score
from trainers.tasks import TASKS

IDENTITY: dict[str, Any] = {
    "key": pl.String,
    "kind": pl.String,
    "scale": pl.String,
    "parameters": pl.Int64,
    "non_embedding_parameters": pl.Int64,
    "layer_norm": pl.String,
    "intermediate": pl.String,
    "variant": pl.String,
    "trained": pl.String,
    "seed": pl.Int64,
    "outcome": pl.String,
}
"""Whose value it is.  `variant` is the point of a search (`target.epochs=2 · target.warmup=0.1`, "" without one);
`trained` is the task trained on ("" for retrieval), several joined by `+`; `outcome` is `completed`, `diverged`,
`running` (begun, and without a result) or `missing` (planned, and never begun)."""

SCHEMA: dict[str, Any] = {
    **IDENTITY,
    "measure": pl.String,
    "task": pl.String,
    "language": pl.String,
    "metric": pl.String,
    "at": pl.Int64,
    "value": pl.Float64,
    "examples": pl.Int64,
    "chance": pl.Float64,
}
"""One row per measured value.  `at` is a step, or for retrieval a layer (0: the embeddings)."""

MEASURED: dict[str, Any] = {name: SCHEMA[name] for name in ("at", *Score._fields)}
"""One row per value of one stage."""
NOTHING = pl.DataFrame(schema=MEASURED)

STAGE_SCHEMA: dict[str, Any] = {
    **IDENTITY,
    "targets": pl.List(pl.String),
    "probed": pl.List(pl.String),
    "parent": pl.String,
    "retry": pl.Int64,
    "first_attempt": pl.String,
    "label": pl.String,
    "evidence": pl.String,
    "seconds": pl.Float64,
    "probe_share": pl.Float64,
    "tokens": pl.Int64,
    "tokens_per_s": pl.Float64,
}
"""One row per stage.  `probed` are the intermediate's tasks that are probed; `first_attempt` is the key of the stage
that it repeats, its own if none; `seconds` is the sum over the stage's parts, null while it has no result."""

SEPARATOR = " · "
"""Between the settings of a variant."""
_SORT = ["kind", "non_embedding_parameters", "scale", "intermediate", "variant", "trained", "seed"]
_POINT = ["measure", "task", "language", "metric", "at"]


@dataclass(frozen=True)
class Record:
    """What one stage left behind."""

    stage: Stage
    scale: Mapping[str, Any]
    """`trainers.stage.scales.Scale.facts`; empty where no attempt got so far."""
    result: Mapping[str, Any] | None
    """The content of result.json; None while the stage runs."""
    measured: pl.DataFrame
    """What was measured at which step or layer (`MEASURED`), in the order in which it was written."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    begun: bool = True

    @property
    def outcome(self) -> str:
        if self.result:
            return str(self.result["outcome"])
        return "running" if self.begun else "missing"

    @property
    def identity(self) -> dict[str, Any]:
        """This stage's values of the `IDENTITY` columns."""
        stage = self.stage
        facts = {name: self.scale.get(name) for name in ("parameters", "non_embedding_parameters", "layer_norm")}
        return {
            "key": stage.key,
            "kind": stage.kind,
            "scale": stage.scale.name,
            **facts,
            "intermediate": stage.intermediate,
            "variant": SEPARATOR.join(stage.settings),
            "trained": "+".join(stage.trained),
            "seed": stage.seed,
            "outcome": self.outcome,
        }


def with_planned(records: Sequence[Record], planned: Iterable[Stage]) -> list[Record]:
    """The records, named as the plan names them, and one for each planned stage that was never begun.

    Sweeps share stages: what another one called an arm, or searched, is no matter of this one.
    """
    ours = {stage.key: stage for stage in planned}
    named = [replace(record, stage=ours.pop(record.stage.key, record.stage)) for record in records]
    return [*named, *(Record(stage, {}, None, NOTHING, begun=False) for stage in ours.values())]


def settings(variant: str) -> dict[str, str]:
    """The settings of a variant by axis, in alphabetical order."""
    return dict(setting.split("=", 1) for setting in variant.split(SEPARATOR) if setting)


@uncollected()
def tidy(records: Iterable[Record]) -> pl.DataFrame:
    """One row per measured value (`SCHEMA`), of repeated measurements the last, in canonical order."""
    with_values = [record for record in records if record.measured.height]
    if not with_values:
        return pl.DataFrame(schema=SCHEMA)
    identities = pl.DataFrame([record.identity for record in with_values], schema=IDENTITY, orient="row")
    # Whose values come when is found out for stages, not for each of their values.
    order = identities.with_row_index("place").sort([*_SORT, "key"])["place"].to_list()
    values = pl.concat([with_values[place].measured for place in order])
    counts = [with_values[place].measured.height for place in order]
    whose = pl.Series("whose", np.repeat(np.arange(len(order)), counts))
    point = ["whose", *_POINT]
    # A few names stand in millions of rows: they are compared as numbers, in alphabetical order.
    names = {name: pl.Enum(values[name].unique().sort()) for name in _POINT if SCHEMA[name] == pl.String}
    values = values.with_columns(whose, *(pl.col(name).cast(kind) for name, kind in names.items()))
    values = values.sort(point, maintain_order=True)
    # What was measured again after a crash counts as it was measured last.
    measured_again = pl.all_horizontal(*(pl.col(name).eq_missing(pl.col(name).shift(-1)) for name in point))
    values = values.filter(~measured_again).cast(dict.fromkeys(names, pl.String))
    return pl.concat([identities[order][values["whose"]], values.drop("whose")], how="horizontal").select(list(SCHEMA))


def stage_table(records: Iterable[Record]) -> pl.DataFrame:
    """One row per stage (`STAGE_SCHEMA`), in canonical order."""
    rows = []
    for record in records:
        result = record.result or {}
        rows.append(
            {
                **record.identity,
                "targets": [evaluation.task for evaluation in record.stage.evaluate],
                "probed": [probe.task for probe in record.stage.probes],
                "parent": record.stage.parent,
                "retry": record.stage.retry,
                "first_attempt": record.stage.first_attempt,
                "label": record.stage.label,
                "evidence": result.get("evidence"),
                "seconds": sum(result["seconds"].values()) if "seconds" in result else None,
                **{name: result.get(name) for name in ("probe_share", "tokens", "tokens_per_s")},
            }
        )
    return pl.DataFrame(rows, schema=STAGE_SCHEMA, orient="row").sort([*_SORT, "retry", "key"])


def primary(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of each task's primary metric (`trainers.tasks`); of a task unknown there, all rows."""
    known = {name: task.metric for name, task in TASKS.items()}
    wanted = pl.col("task").replace_strict(known, default=None, return_dtype=pl.String)
    return frame.filter(wanted.is_null() | (wanted == pl.col("metric")))
