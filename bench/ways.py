"""The ways of training that are compared, by the names under which every page shows them."""

from __future__ import annotations

OURS = "retain"
PEER_NAMES = {
    "a": "(a) HF Trainer, padded to the maximum",
    "b": "(b) HF Trainer, dynamic padding",
    "c": "(c) HF Trainer, group_by_length",
    "d": "(d) HF Trainer with DeepSpeed, dynamic padding",
}
