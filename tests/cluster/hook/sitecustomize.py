"""Imported by every Python of the tests' jobs: ranks start warm (`tests.warm`), all else as on any cluster.

A rank stays one to whoever looks at it, signals it or waits for it.  Batch steps and agents start cold, for what SLURM
ends with them it finds among their children; and so does a rank whose code is not the tree under test.
"""

import os
import sys

CHECKOUT = os.path.realpath(f"{__file__}/../../../..")
MODULES = ("launch.job.rank", "launch.cli", "submitit.core._submit", "tests.cluster.whereabouts")


def starts_warm(words: list[str]) -> bool:
    """Whether an interpreter runs one of the modules, from this checkout, where forked processes can do all it does."""
    code = next((path for path in sys.path if os.path.isdir(f"{path}/trainers")), CHECKOUT)
    known = "-m" in words[:-1] and words[words.index("-m") + 1] in MODULES
    return known and os.path.realpath(code) == CHECKOUT and not os.path.exists("/dev/nvidiactl")


if (place := os.environ.get("RETAIN_WARM")) and starts_warm(sys.orig_argv):
    sys.path.insert(0, f"{CHECKOUT}/tests")
    import warm

    folder, _, owner = place.rpartition(":")
    warm.hand_over(folder, sys.orig_argv[1:], sys.executable, int(owner), program=sys.executable)
