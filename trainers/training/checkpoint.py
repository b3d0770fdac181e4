"""Checkpoints that any world size and ZeRO stage can resume from: fp32 weights and Adam states by parameter name.

    checkpoints/step-000128/rank-00000.safetensors   this rank's share of the parameters
                            progress.json            step, world size
                            manifest.json            size and sha256 of every file; written last

A folder is built under another name and renamed when whole (trainers.training.saver).  DeepSpeed's own checkpoints are
pickles bound to one world size; through its `safe_get_full_*` functions every parameter is gathered whole instead, and
rank r writes each world_size-th one, so that writing is shared and nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.training.engine import Engine

MOMENTS = ("exp_avg", "exp_avg_sq")
KEEP = 2
"""Checkpoints kept while a stage runs: if the newest is damaged, the one before it is used."""


def named_parameters(engine: Engine) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in engine.model.named_parameters() if p.requires_grad]


def full_weight(engine: Engine, parameter: nn.Parameter) -> Tensor:
    """The whole fp32 weight, on every rank; all ranks must ask for the same parameter."""
    if _partitioned(engine):
        return _deepspeed().safe_get_full_fp32_param(parameter).detach()
    return engine.master(parameter).detach().float()


def _deepspeed() -> Any:
    """Its `safe_*` functions; imported where something is sharded only."""
    from trainers.training.quiet_deepspeed import deepspeed

    return deepspeed.utils


def _partitioned(engine: Engine) -> bool:
    """Whether DeepSpeed keeps fp32 master weights apart from the module's own."""
    return engine.optimizer is not engine.plain_optimizer


def _moment(engine: Engine, parameter: nn.Parameter, key: str) -> Tensor:
    if _partitioned(engine):
        return _deepspeed().safe_get_full_optimizer_state(parameter, key).detach()
    return engine.plain_optimizer.state[engine.master(parameter)][key].detach()


def share_of(engine: Engine) -> dict[str, Tensor]:
    """A copy in host memory of this rank's share of the weights and states; all ranks must call it, after a step."""
    _link_states(engine)
    mine: dict[str, Tensor] = {}
    for number, (name, parameter) in enumerate(named_parameters(engine)):
        weight = full_weight(engine, parameter)
        moments = [_moment(engine, parameter, key) for key in MOMENTS]
        if number % engine.ranks.world_size == engine.ranks.rank:
            for label, tensor in zip(("weight", *MOMENTS), (weight, *moments), strict=True):
                mine[f"{name}:{label}"] = tensor.reshape(weight.shape).to("cpu", copy=True).contiguous()
    return mine


def name_of(step: int) -> str:
    return f"step-{step:09d}"


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def witness(path: Path) -> dict[str, int | str]:
    """By what a file is known again."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def complete(folder: Path) -> list[Path]:
    """Checkpoint folders that were finished, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit())


def unfinished(folder: Path) -> list[Path]:
    """What attempts that were killed while writing left behind."""
    return list(folder.glob(".step-*"))


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint by its manifest; None where it is whole."""
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read ({error})"
    if not isinstance(manifest, dict) or "progress.json" not in manifest:
        return "its manifest does not list its files"
    for name, expected in manifest.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if witness(path) != expected:
            return f"{name} has changed since it was written"
    return None


@dataclass(frozen=True)
class Found:
    """What a stage resumes from."""

    checkpoint: Path | None
    set_aside: tuple[tuple[str, str], ...] = ()
    """Damaged checkpoints (new name, reason), renamed and never deleted."""


def newest_whole(folder: Path) -> Found:
    """The newest checkpoint that its manifest confirms; damaged ones are set aside on the way."""
    set_aside: list[tuple[str, str]] = []
    for checkpoint in reversed(complete(folder)):
        reason = damage(checkpoint)
        if reason is None:
            return Found(checkpoint, tuple(set_aside))
        earlier = len(list(folder.glob(f"damaged-{checkpoint.name}*")))
        aside = checkpoint.with_name(f"damaged-{checkpoint.name}" + (f"-{earlier}" if earlier else ""))
        os.rename(checkpoint, aside)
        set_aside.append((aside.name, reason))
    return Found(None, tuple(set_aside))


def load(engine: Engine, checkpoint: Path) -> int:
    """Put a checkpoint's weights and Adam states into a new engine; returns its step.  All ranks must call it."""
    step = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))["step"]
    _create_states(engine, step)
    _link_states(engine)
    files = [safe_open(path, framework="pt") for path in sorted(checkpoint.glob("rank-*.safetensors"))]
    where = {name: file for file in files for name in file.keys()}  # noqa: SIM118 - not a dict
    for name, parameter in named_parameters(engine):
        values = {
            label: where[f"{name}:{label}"].get_tensor(f"{name}:{label}").to(engine.device)
            for label in ("weight", *MOMENTS)
        }
        if hasattr(parameter, "ds_id"):
            _set_zero3(engine, parameter, values)
        elif _partitioned(engine):
            _deepspeed().safe_set_full_fp32_param(parameter, values["weight"])
            for key in MOMENTS:
                _deepspeed().safe_set_full_optimizer_state(parameter, values[key], key)
            parameter.data.copy_(values["weight"])  # each rank also holds the weight itself
        else:
            parameter.data.copy_(values["weight"])
            engine.master(parameter).data.copy_(values["weight"])
            for key in MOMENTS:
                engine.plain_optimizer.state[engine.master(parameter)][key].copy_(values[key])
    return step


def _set_zero3(engine: Engine, parameter: Any, values: dict[str, Tensor]) -> None:
    """Set this rank's part of a parameter; DeepSpeed's `safe_set_full_*` fails where parts are padded."""
    size = parameter.ds_tensor.numel()

    def part(value: Tensor) -> Tensor:
        padded = F.pad(value.flatten(), (0, size * engine.ranks.world_size - value.numel()))
        return padded[size * engine.ranks.rank :][:size]

    _deepspeed().safe_set_local_fp32_param(parameter, part(values["weight"]))
    for key in MOMENTS:
        _deepspeed().safe_set_local_optimizer_state(parameter, part(values[key]), key)
    parameter.ds_tensor.data.copy_(part(values["weight"]))
    if parameter.numel() == parameter.ds_numel:  # small ones stay gathered between steps
        parameter.data.copy_(values["weight"].view_as(parameter))


def _create_states(engine: Engine, step: int) -> None:
    """Adam makes its states in its first step; here they must exist before any."""
    optimizer = engine.plain_optimizer
    in_groups = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    # ZeRO-3 lends its flat parts to the optimizer only while it steps.
    for tensor in getattr(engine.optimizer, "fp32_partitioned_groups_flat", in_groups):
        optimizer.state[tensor] = {
            "step": torch.tensor(float(step), device=tensor.device),
            **{key: torch.zeros_like(tensor) for key in MOMENTS},
        }


def _link_states(engine: Engine) -> None:
    """ZeRO-1/2: connect each parameter with its part of the flat Adam states.

    DeepSpeed 0.19 does so once, after the first parameter group's first step, and so misses the second group.
    """
    if hasattr(engine.optimizer, "_lazy_init_hp_params_optimizer_state"):
        engine.optimizer._hp_optimizer_states_linked = False
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def discard(folder: Path) -> None:
    """Delete the checkpoints of a finished stage; damaged ones stay, as evidence."""
    for path in (*complete(folder), *unfinished(folder)):
        shutil.rmtree(path)
