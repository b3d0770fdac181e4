"""What the cluster needs from Debian.  Run as a script, it prints the packages that are missing here, on one line.

Only the standard library is imported: `.ci/run` runs this file before there is an environment.
"""

from __future__ import annotations

import os
import shutil

PACKAGE_OF = {
    "slurmctld": "slurmctld",
    "slurmdbd": "slurmdbd",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "unshare": "util-linux",
}
"""Command → Debian package."""
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Daemons live where the PATH of users often does not lead."""


def missing_packages() -> list[str]:
    """Debian's packages whose commands this machine lacks."""
    return [package for command, package in PACKAGE_OF.items() if not shutil.which(command, path=PATH)]


def install_command(packages: list[str]) -> str:
    """The line that installs them."""
    return f"apt-get install --no-install-recommends {' '.join(packages)}"


if __name__ == "__main__":
    print(*missing_packages())
