"""Where each scale of a plan is placed on a cluster: the least sharding that fits, and why no less."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from launch.estimate.costs import TYPICAL_TOKENS, learn_memory, model_size
from launch.study.plan import Plan
from slurm.profile import Profile, ProfileError
from slurm.sizing.fitting import Misfit, least_sharding
from slurm.sizing.gpus import GIB, GPUS, Gpu, named
from slurm.sizing.memory import Placement, Precision, peak
from slurm.sizing.timing import CPU_CORE, Speed
from trainers.stage import Stage
from trainers.store import Store
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
        ProfileError: its name is not in the table, or may mean several.
    """
    if profile.gpus_per_node == 0 or profile.gpu is None:
        return None
    meant = named(profile.gpu)
    if not meant:
        raise ProfileError(
            f"gpu {profile.gpu!r} is not in the table of known GPUs ({', '.join(GPUS)}): name the nearest, and its "
            "memory as gpu_memory_gib"
        )
    if profile.gpu_memory_gib:
        memory = int(profile.gpu_memory_gib * GIB)
        return replace(min(meant, key=lambda gpu: abs(gpu.memory_bytes - memory)), memory_bytes=memory)
    if len(meant) > 1:
        names = " or ".join(gpu.name for gpu in meant)
        raise ProfileError(f"gpu {profile.gpu!r} may be {names}: write in the cluster file which one it is")
    return meant[0]


def speed_of(profile: Profile) -> Speed:
    """Of one of the cluster's GPUs; where the profile does not say which, of a CPU core.

    Raises:
        ProfileError: the GPU's name is not in the table, or may mean several.
    """
    gpu = gpu_of(profile)
    return Speed.of(gpu) if gpu else CPU_CORE


def place(plan: Plan, profile: Profile) -> dict[str, Placed]:
    """Each scale of the plan: as the profile says, or the least sharding that fits; one GPU where none is known.

    What fits is said by the memory model, corrected by the measured peaks of the plan's finished stages.

    Raises:
        ProfileError: something cannot fit; all of it, naming the limits.
    """
    gpu, placed, problems = gpu_of(profile), {}, []
    correction = learn_memory(plan, Store(plan.sweep.store.resolve()), speed_of(profile).device).factor
    for name in plan.scales:
        stages = [stage for stage in plan.stages if stage.scale.name == name]
        if name in profile.scales:
            where = Placed(profile.scales[name], _peak(plan, name, stages, profile, gpu, correction) if gpu else None)
        elif gpu is None:
            where = Placed(Placement(why="one rank: no cluster file names the GPU"))
        else:
            fit = least_sharding(
                model_size(plan.scales[name].shape, language_model=_reads_text(stages)),
                gpu,
                profile.gpus_per_node,
                profile.nodes * profile.gpus_per_node,
                max(map(step_tokens, stages)),
                max(map(longest_sequence, stages)),
                host_bytes=profile.memory_per_rank_gib and profile.memory_per_rank_gib * GIB,
                correction=correction,
            )
            if isinstance(fit, Misfit):
                problems.append(f"{name}: {fit.limit}")
                continue
            placement = fit.placement.model_copy(update={"why": str(fit)})
            where = Placed(placement, fit.parts.reserve + correction * fit.parts.allocated, fit.why)
        if why := profile.misfit(where.placement):
            problems.append(f"{name}: {why}")
        if where.peak_bytes is not None and gpu is not None and where.peak_bytes > gpu.memory_bytes:
            problems.append(
                f"{name}: the placement in the cluster file needs {where.peak_bytes / 1e9:.1f} GB per GPU and "
                f"{gpu.memory_bytes / 1e9:.1f} GB are there; remove it, and the least sharding that fits is chosen"
            )
        placed[name] = where
    if problems:
        raise ProfileError("\n".join(problems))
    return placed


def placements(plan: Plan, profile: Profile) -> dict[str, Placement]:
    """Where each scale of the plan is placed, as `place` says and with its errors."""
    return {scale: where.placement for scale, where in place(plan, profile).items()}


def _peak(plan: Plan, scale: str, stages: Iterable[Stage], profile: Profile, gpu: Gpu, correction: float) -> float:
    """Predicted peak of a placement that was set by hand."""
    size = model_size(plan.scales[scale].shape, language_model=_reads_text(stages))
    precision: Precision = "bf16" if gpu.bf16 else "fp32"
    parts = peak(size, profile.scales[scale], precision, plan.sweep.execution.micro_batch_tokens)
    return parts.reserve + correction * parts.allocated


def step_tokens(stage: Stage) -> int:
    """Typical tokens of one optimizer step."""
    return max(
        (training.recipe.batch_size * _typical(training.task, training.recipe.max_length) for training in stage.train),
        default=1,
    )


def longest_sequence(stage: Stage) -> int:
    """Tokens of the longest example that a stage may read: all choices of a question count."""
    lengths = [part.recipe.max_length for part in stage.train] + [part.max_length for part in stage.evaluate]
    return max(lengths)


def _typical(task: str, max_length: int) -> int:
    return min(MLM_TOKENS if task == MLM else TYPICAL_TOKENS.get(TASKS[task].family, 40), max_length)


def _reads_text(stages: Iterable[Stage]) -> bool:
    return any(MLM in stage.trained for stage in stages)
