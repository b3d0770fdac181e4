"""DeepSpeed, imported in the one way that starts at once on any machine.

from trainers.training.quiet_deepspeed import deepspeed
"""

import logging
import os

import torch

# Saves a guess (and a warning), and protects a CUDA build of torch on a machine without a device.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed
import deepspeed.ops

logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
if not torch.cuda.is_available():
    # On a CPU init_distributed compiles an op that only inference uses: 84 s, and a process killed meanwhile
    # leaves a lock on which every later one hangs.  No compatible ops, no compiler.
    deepspeed.ops.__compatible_ops__ = {}

__all__ = ["deepspeed"]
