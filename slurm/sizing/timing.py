"""Hours of a stage from counts of its work: computed from the device's numbers, corrected by what finished stages took.

FLOPs a token: 6·N + 12·L·d·T forward and backward, a third of it forward alone (Kaplan et al. 2020, section 2.1; N
parameters without embeddings, L layers of width d, T tokens of its sequence).  A step also moves every parameter's
states through memory once, and starts every layer's kernels, which is what short steps of small networks wait for.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from slurm.sizing.gpus import Gpu

# -- how far predictions are off ---------------------------------------------------------------------------------

UNKNOWN_SPREAD = (1 / 3, 3.0)
"""Where nothing was measured yet, a prediction may be off by this much."""


@dataclass(frozen=True)
class Calibration:
    """What predictions are to be multiplied by."""

    factor: float = 1.0
    spread: tuple[float, float] = UNKNOWN_SPREAD
    """The interval of 8 in 10 measurements, as shares of the corrected prediction."""
    pairs: int = 0

    def interval(self, prediction: float) -> tuple[float, float, float]:
        """Low, middle and high of a corrected prediction."""
        middle = self.factor * prediction
        return self.spread[0] * middle, middle, self.spread[1] * middle


def calibrate(pairs: Sequence[tuple[float, float]]) -> Calibration:
    """Learn from (predicted, measured) pairs: the median of their ratios, which a few odd ones do not move.

    Raises:
        ValueError: a number is not above 0.
    """
    for predicted, measured in pairs:
        if predicted <= 0 or measured <= 0:
            raise ValueError(f"predicted and measured must be above 0, but a pair is ({predicted}, {measured})")
    if not pairs:
        return Calibration()
    ratios = [measured / predicted for predicted, measured in pairs]
    factor = statistics.median(ratios)
    if len(ratios) == 1:
        return Calibration(factor, UNKNOWN_SPREAD, 1)
    deciles = statistics.quantiles(ratios, n=10, method="inclusive")
    spread = (min(1.0, deciles[0] / factor), max(1.0, deciles[-1] / factor))
    return Calibration(factor, spread, len(ratios))


def left_out_errors(ratios: Sequence[float]) -> list[float]:
    """|predicted / measured − 1| of each pair, its prediction corrected by the median ratio of all the others."""
    errors = []
    for place, ratio in enumerate(ratios):
        others = [*ratios[:place], *ratios[place + 1 :]]
        errors.append(abs(statistics.median(others) / ratio - 1))
    return errors


# -- hours ---------------------------------------------------------------------------------------------------------

ADAM_TRAFFIC_BYTES = 30
"""Per parameter and step: gradients, master weights and two moments are read and all but the first written; weights."""
LAYER_START_S = 1e-3
"""Starting one layer's kernels, forward and backward, before a cluster's own stages tell.  Of Large on one H200 it was
0.5 ms replayed as CUDA graphs, and 4 fed from Python by a slow processor (docs/benchmarks/gpu-h200)."""
ACHIEVED = 0.35
"""Share of a GPU's peak that training reaches: 33 to 46 % for 1 to 8 billion parameters on H100s (llm-foundry's and
torchtitan's tables)."""
HOST_BYTES_PER_S = 1e10
"""Of Adam's traffic, when it runs on the host: a rank's share of the host's memory and of PCIe, a guess."""
START_S = 30.0
"""Reading data and encoder, and building the engine."""
RECOMPUTING = 4 / 3
"""FLOPs of a step with activation checkpointing, over those without."""


@dataclass(frozen=True)
class Work:
    """Size of one stage."""

    parameters: int
    body_parameters: int
    layers: int
    hidden: int
    training_tokens: int
    forward_tokens: int
    """Tokens read without a backward pass: probes and evaluation."""
    probe_tokens: int = 0
    """Those of them that probes read."""
    steps: int = 0
    """Optimizer steps."""
    sequence_tokens: float = 0.0
    """Mean tokens per sequence, over which attention reaches."""

    def __post_init__(self) -> None:
        if min(self.parameters, self.body_parameters, self.layers, self.hidden) <= 0:
            raise ValueError(f"a stage's parameters, layers and hidden must be above 0: {self}")
        if min(self.training_tokens, self.forward_tokens, self.probe_tokens, self.steps, self.sequence_tokens) < 0:
            raise ValueError(f"a stage's tokens and steps cannot be below 0: {self}")

    @property
    def training_flops(self) -> float:
        return self.training_tokens * self._flops_per_token

    @property
    def forward_flops(self) -> float:
        """Of probes and evaluation."""
        return self.forward_tokens * self._flops_per_token / 3

    @property
    def probe_flops(self) -> float:
        return self.probe_tokens * self._flops_per_token / 3

    @property
    def _flops_per_token(self) -> float:
        return 6.0 * self.body_parameters + 12.0 * self.layers * self.hidden * self.sequence_tokens


@dataclass(frozen=True)
class Speed:
    """How fast one rank is, before anything was measured."""

    flops_per_s: float
    """Achieved, not peak."""
    bytes_per_s: float
    layer_start_s: float = 0.0
    start_s: float = START_S
    device: str | None = None
    """Only stages that ran on such a device teach anything about it; None learns from all."""

    def __post_init__(self) -> None:
        if self.flops_per_s <= 0 or self.bytes_per_s <= 0 or self.layer_start_s < 0 or self.start_s < 0:
            raise ValueError(f"FLOP/s and bytes/s must be above 0 and times not below 0: {self}")

    @classmethod
    def of(cls, gpu: Gpu) -> Speed:
        return cls(ACHIEVED * gpu.flops_per_s, gpu.bytes_per_s, LAYER_START_S, device="cuda")


CPU_CORE = Speed(2e10, 1e10, start_s=1.0)
"""One core; a stage starts in a process that has torch and data already."""


def expected_s(
    work: Work, speed: Speed, world_size: int = 1, activation_checkpointing: bool = False, offload: bool = False
) -> float:
    """Seconds of a stage as the numbers say, uncorrected.

    Raises:
        ValueError: no rank.
    """
    if world_size < 1:
        raise ValueError(f"a stage runs on at least 1 rank, not on {world_size}")
    recomputing = RECOMPUTING if activation_checkpointing else 1.0
    flops = work.training_flops * recomputing + work.forward_flops
    adam_s = ADAM_TRAFFIC_BYTES * work.parameters / world_size / (HOST_BYTES_PER_S if offload else speed.bytes_per_s)
    step_s = adam_s + work.layers * speed.layer_start_s
    return speed.start_s + work.steps * step_s + flops / (speed.flops_per_s * world_size)


@dataclass(frozen=True)
class Finished:
    """What a stage took that has ended."""

    group: str
    """Stages of one group are alike (one scale): they are corrected alike."""
    expected_s: float
    measured_s: float


ENOUGH = 3
"""Finished stages of a group from which it is corrected by itself."""


@dataclass(frozen=True)
class Clock:
    """Expected seconds, corrected by what finished stages took; of the same group where enough of them have ended."""

    overall: Calibration = field(default_factory=Calibration)
    groups: dict[str, Calibration] = field(default_factory=dict)
    error: float | None = None
    """Median relative error of predicting each finished stage from the others: half of them are closer."""

    @classmethod
    def learn(cls, finished: Sequence[Finished]) -> Clock:
        overall = calibrate([(stage.expected_s, stage.measured_s) for stage in finished])
        members: dict[str, list[Finished]] = {}
        for stage in finished:
            members.setdefault(stage.group, []).append(stage)
        groups, errors = {}, []
        for group, stages in members.items():
            alike = stages if len(stages) >= ENOUGH else finished
            if len(stages) >= ENOUGH:
                groups[group] = calibrate([(stage.expected_s, stage.measured_s) for stage in stages])
            left_out = left_out_errors([stage.measured_s / stage.expected_s for stage in alike]) if alike[1:] else []
            errors += [error for stage, error in zip(alike, left_out, strict=False) if stage.group == group]
        return cls(overall, groups, statistics.median(errors) if errors else None)

    def interval_s(self, group: str, expected_s: float) -> tuple[float, float, float]:
        """Low, middle and high seconds of a stage; 8 in 10 of the finished ones lie in such an interval."""
        return self.groups.get(group, self.overall).interval(expected_s)

    @property
    def pairs(self) -> int:
        """Finished stages learned from."""
        return self.overall.pairs
