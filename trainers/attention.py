"""Padding-free encoding: the real tokens of a padded micro-batch one after another, each sequence attending to itself.

    packing = Packing.of(lengths, L, device)             # None where nothing is padded
    hidden = encoder(**packing.inputs(ids)) ...          # [1, N, H]: linear layers, norms and dropout see no padding
    packing.restored(hidden)                             # [S, L, H], zeros where padded

Only attention has to know of sequences.  Everywhere it works on a few groups of sequences of about one length, each
group padded by itself; in half precision on a GPU by FlashAttention's kernel for variable lengths.
Importing this module makes the attention known to transformers as `PACKED`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from trainers.batches import cheapest_groups
from trainers.data.tokenise import ranges

PACKED = "retain_packed"
"""The encoder's `attn_implementation`."""
FIRST_POSITION = 2
"""XLM-R counts positions from `padding_idx + 1`, anew in each sequence."""
GROUP_COST_TOKENS = 48
"""What one more group costs attention on a CPU, in padded tokens."""


@dataclass(frozen=True)
class Group:
    """Sequences that attend in one call."""

    first: int
    """Its tokens in the packed ones: from this on …"""
    end: int
    """… up to here."""
    sequences: int
    length: int
    """Of the longest sequence."""
    places: Tensor | None
    """[end - first] where its tokens lie in [sequences × length]; None where all are equally long."""
    mask: Tensor | None
    """[sequences, 1, 1, length] bool, False where padded."""


@dataclass(frozen=True)
class Packing:
    """How the N real tokens of a micro-batch [S, L] are packed, longest sequence first."""

    shape: tuple[int, int]
    """S and L."""
    places: Tensor
    """[N] where each packed token lies in [S × L]."""
    positions: Tensor
    """[1, N]"""
    bounds: Tensor
    """[S + 1] int32: where each sequence begins among the packed tokens."""
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, lengths: np.ndarray, device: torch.device) -> Packing | None:
        """The packing of sequences of these lengths, [S]; None where they are equally long, and nothing is padded."""
        longest = int(lengths.max())
        if (lengths == longest).all():
            return None
        order = np.argsort(-lengths, kind="stable")
        descending = lengths[order]
        bounds = np.concatenate([[0], np.cumsum(descending)])
        groups = [
            _group(descending[start:end], int(bounds[start]), device)
            for start, end in cheapest_groups(descending, GROUP_COST_TOKENS)
        ]

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(device)

        return cls(
            (len(lengths), longest),
            tensor(ranges(order * longest, descending)),
            tensor(ranges(np.full(len(lengths), FIRST_POSITION), descending))[None],
            tensor(bounds.astype(np.int32)),
            tuple(groups),
        )

    def inputs(self, ids: Tensor) -> dict[str, Any]:
        """What an encoder with `PACKED` attention is called with, for ids [S, L]."""
        return {"input_ids": ids.flatten()[self.places][None], "position_ids": self.positions, "packing": self}

    def restored(self, packed: Tensor) -> Tensor:
        """[1, N, H] → [S, L, H], zeros where padded."""
        count, longest = self.shape
        flat = packed.new_zeros(count * longest, packed.shape[-1])
        return flat.index_copy(0, self.places, packed[0]).view(count, longest, -1)


def _group(lengths: np.ndarray, first: int, device: torch.device) -> Group:
    count, longest, tokens = len(lengths), int(lengths[0]), int(lengths.sum())
    places = mask = None
    if tokens < count * longest:
        places = torch.from_numpy(ranges(np.arange(count) * longest, lengths)).to(device)
        mask = torch.from_numpy(np.arange(longest) < lengths[:, None]).to(device)[:, None, None]
    return Group(first, first + tokens, count, longest, places, mask)


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: [B, heads, T, d] queries, keys, values → [B, T, heads, d].

    With a packing B is 1 and T is N; without one every sequence fills its row.
    """
    if packing is None:
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scaling)
        return attended.transpose(1, 2), None
    query, key, value = (one[0].transpose(0, 1) for one in (query, key, value))  # [N, heads, d]
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        longest = packing.shape[1]
        bounds = packing.bounds
        # The public `varlen_attn` has no dropout, which the recipes have.
        attended, *_ = torch.ops.aten._flash_attention_forward(
            query, key, value, bounds, bounds, longest, longest, dropout, False, False, scale=scaling
        )
        return attended[None], None
    return torch.cat([_attend(group, query, key, value, dropout, scaling) for group in packing.groups])[None], None


def _attend(group: Group, query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None) -> Tensor:
    """[end - first, heads, d] of one group, from all packed tokens."""

    def padded(tokens: Tensor) -> Tensor:
        own = tokens[group.first : group.end]
        if group.places is not None:
            own = own.new_zeros(group.sequences * group.length, *own.shape[1:]).index_copy(0, group.places, own)
        return own.view(group.sequences, group.length, *own.shape[1:]).transpose(1, 2)

    attended = F.scaled_dot_product_attention(
        padded(query), padded(key), padded(value), attn_mask=group.mask, dropout_p=dropout, scale=scaling
    )
    flat = attended.transpose(1, 2).reshape(-1, *query.shape[1:])
    return flat if group.places is None else flat[group.places]


AttentionInterface.register(PACKED, packed_attention)
