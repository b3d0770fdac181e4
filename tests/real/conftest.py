"""Real data and a real encoder, where this machine has them; tests skip with the reason where it does not.

The data are `$RETAIN_SHARED`, or the folder `shared` beside the checkout.  The encoder is built once from a PyPI
package by `shared/tools/real_encoder.py` and kept in the user's cache, or taken from `$RETAIN_REAL_ENCODER`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from trainers.data.mirror import Mirror

SHARED = Path(os.environ.get("RETAIN_SHARED") or Path(__file__).parents[2].parent / "shared")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retain"
BUILD_TIMEOUT_S = 250


@pytest.fixture(scope="session")
def real_mirror() -> Mirror:
    root = SHARED / "data" / "mirror"
    if not root.is_dir():
        pytest.skip(f"no real data: {root} does not exist (set RETAIN_SHARED)")
    return Mirror(root)


@pytest.fixture(scope="session")
def real_encoder() -> Path:
    """A pretrained multilingual encoder of XLM-R's architecture, 12 layers × 384."""
    folder = Path(os.environ.get("RETAIN_REAL_ENCODER") or CACHE / "e5-small")
    if (folder / "config.json").is_file():
        return folder
    tool = SHARED / "tools" / "real_encoder.py"
    if not tool.is_file():
        pytest.skip(f"no real encoder: neither {folder} nor {tool} exists (set RETAIN_REAL_ENCODER or RETAIN_SHARED)")
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    building.parent.mkdir(parents=True, exist_ok=True)
    try:
        built = subprocess.run(
            [sys.executable, str(tool), str(building)], capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"no real encoder: {tool.name} took more than {BUILD_TIMEOUT_S} s")
    if built.returncode:
        pytest.skip(f"no real encoder: {tool.name} failed: {built.stderr.strip().splitlines()[-1:]}")
    building.rename(folder)
    return folder
