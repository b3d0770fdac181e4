"""Where each scale of a plan is placed on a cluster, and what of it cannot be placed."""

from __future__ import annotations

from launch.plan import Plan
from slurm.profile import Placement, Profile, ProfileError


def place(plan: Plan, profile: Profile) -> dict[str, Placement]:
    """A placement for each scale: the profile's own word, or one GPU.

    Raises:
        ProfileError: something cannot fit; all of it, naming the limits.
    """
    placements = {name: profile.scales.get(name, Placement()) for name in plan.scales}
    if problems := [f"{name}: {why}" for name, one in placements.items() if (why := profile.misfit(one))]:
        raise ProfileError("\n".join(problems))
    return placements
