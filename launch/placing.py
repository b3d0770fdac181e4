"""Where each scale of a plan is placed on a cluster: the least sharding that fits, and why no less."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from launch.costs import TYPICAL_TOKENS
from launch.plan import Plan
from launch.sizes import model_size
from slurm.fitting import Misfit, least_sharding
from slurm.gpus import GIB, GPUS, Gpu
from slurm.memory import Sharding, peak
from slurm.profile import Placement, Profile, ProfileError
from slurm.timing import CPU_CORE, Speed
from trainers.stage import Stage
from trainers.tasks import TASKS
from trainers.tasks.intermediates import MLM

MLM_TOKENS = 128
"""Of one example of text."""


@dataclass(frozen=True)
class Placed:
    """One scale on one cluster."""

    placement: Placement
    peak_bytes: float | None = None
    """Predicted peak of one GPU; None where the GPU is not known."""
    why: tuple[str, ...] = ()
    """Why no lesser sharding: a sentence each."""


def gpu_of(profile: Profile) -> Gpu | None:
    """The cluster's GPU; None where the profile does not say what it is.

    Raises:
        ProfileError: its name is not in the table.
    """
    if profile.gpus_per_node == 0:
        return None
    if profile.gpu is None:
        return None
    if profile.gpu not in GPUS:
        raise ProfileError(
            f"gpu {profile.gpu!r} is not in the table of known ones ({', '.join(GPUS)}): name the nearest, with its "
            "memory as gpu_memory_gib"
        )
    known = GPUS[profile.gpu]
    return replace(known, memory_bytes=int(profile.gpu_memory_gib * GIB)) if profile.gpu_memory_gib else known


def speed_of(profile: Profile) -> Speed:
    """Of one of the cluster's GPUs; where the profile does not say which, of a CPU core.

    Raises:
        ProfileError: the GPU's name is not in the table.
    """
    gpu = gpu_of(profile)
    return Speed.of(gpu) if gpu else CPU_CORE


def place(plan: Plan, profile: Profile, correction: float = 1.0) -> dict[str, Placed]:
    """Each scale of the plan: as the profile says, or the least sharding that fits; one GPU where none is known.

    Args:
        correction: what finished stages taught about the memory model.

    Raises:
        ProfileError: something cannot fit; all of it, naming the limits.
    """
    gpu, placed, problems = gpu_of(profile), {}, []
    for name in plan.scales:
        stages = [stage for stage in plan.stages if stage.scale.name == name]
        if name in profile.scales:
            one = Placed(profile.scales[name], _peak(plan, name, stages, profile.scales[name], profile, gpu))
        elif gpu is None:
            one = Placed(Placement(why="one rank: the cluster file does not say what GPU there is"))
        else:
            fit = least_sharding(
                model_size(plan.scales[name].shape, language_model=_reads_text(stages)),
                gpu,
                profile.gpus_per_node,
                profile.nodes * profile.gpus_per_node,
                max(map(step_tokens, stages)),
                max(map(longest_sequence, stages)),
                host_bytes=(profile.memory_per_rank_gib or 0) * profile.gpus_per_node * GIB or None,
                correction=correction,
                may_offload=False,
            )
            if isinstance(fit, Misfit):
                problems.append(f"{name}: {fit.limit}")
                continue
            shape = fit.sharding
            placement = Placement(
                nodes=shape.nodes,
                ranks_per_node=min(shape.world_size, profile.gpus_per_node),
                zero_stage=shape.zero_stage,
                activation_checkpointing=shape.activation_checkpointing,
                micro_batch_tokens=shape.micro_batch_tokens,
                why=str(fit),
            )
            one = Placed(placement, fit.parts.reserve + correction * fit.parts.allocated, fit.why)
        if why := profile.misfit(one.placement):
            problems.append(f"{name}: {why}")
        if one.peak_bytes is not None and gpu is not None and one.peak_bytes > gpu.memory_bytes:
            problems.append(
                f"{name}: the placement in the cluster file needs {one.peak_bytes / 1e9:.1f} GB per GPU and "
                f"{gpu.memory_bytes / 1e9:.1f} GB are there; take it out, and the least sharding that fits is chosen"
            )
        placed[name] = one
    if problems:
        raise ProfileError("\n".join(problems))
    return placed


def _peak(
    plan: Plan, scale: str, stages: Iterable[Stage], placement: Placement, profile: Profile, gpu: Gpu | None
) -> float | None:
    """Predicted peak of a placement that was set by hand."""
    if gpu is None:
        return None
    stages = list(stages)
    sharding = Sharding(
        world_size=placement.ranks,
        gpus_per_node=max(1, profile.gpus_per_node),
        zero_stage=placement.zero_stage,
        activation_checkpointing=placement.activation_checkpointing,
        micro_batch_tokens=placement.micro_batch_tokens or plan.sweep.execution.micro_batch_tokens,
        precision="bf16" if gpu.bf16 else "fp32",
    )
    return peak(model_size(plan.scales[scale].shape, language_model=_reads_text(stages)), sharding).total


def step_tokens(stage: Stage) -> int:
    """Typical tokens of one optimizer step."""
    return max((one.recipe.batch_size * _typical(one.task, one.recipe.max_length) for one in stage.train), default=1)


def longest_sequence(stage: Stage) -> int:
    """Tokens of the longest example that a stage may read: all choices of a question count."""
    lengths = [one.recipe.max_length for one in stage.train] + [one.max_length for one in stage.evaluate]
    return max(lengths)


def _typical(task: str, max_length: int) -> int:
    return min(MLM_TOKENS if task == MLM else TYPICAL_TOKENS.get(TASKS[task].family, 40), max_length)


def _reads_text(stages: Iterable[Stage]) -> bool:
    return any(MLM in stage.trained for stage in stages)
