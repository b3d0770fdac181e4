"""Padding-free encoding: the real tokens of a padded micro-batch one after another, each sequence attending to itself.

    packing = Packing.of(lengths, L, device)             # None where nothing is padded
    hidden = encoder(**packing.inputs(ids)) ...          # [1, N, H]: linear layers, norms and dropout see no padding
    packing.restored(hidden)                             # [S, L, H], zeros where padded

Only attention has to tell sequences apart.  It works on a few groups of sequences of about one length, each padded by
itself; in half precision on a GPU it calls torch's kernels for variable lengths.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainers.tokens.sets import ranges

PAD_ID = 1
FIRST_POSITION = PAD_ID + 1
"""XLM-R counts positions from `padding_idx + 1`, anew in each sequence."""
GROUP_COST_TOKENS = 48
"""What one more group costs attention on a CPU, in padded tokens."""
SHORT_TOKENS, SHORT_HEAD = 128, 64
"""Sequences up to so long, in heads of up to so many dimensions, leave most of FlashAttention's tiles of 128 tokens
empty: those of torch's memory-efficient kernel are of 64 (docs/benchmarks/gpu-h200/attention.md)."""
NO_MASK = 0
"""`custom_mask_type` of that kernel."""


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
    lengths: np.ndarray
    """[S] tokens of each sequence."""

    @classmethod
    def of(cls, lengths: np.ndarray, device: torch.device) -> Packing | None:
        """The packing of sequences of these lengths, [S]; None where they are equally long, and nothing is padded.

        On a GPU they are packed all the same, for its kernel.
        """
        longest = int(lengths.max())
        if device.type != "cuda" and (lengths == longest).all():
            return None
        order = np.argsort(-lengths, kind="stable")
        descending = lengths[order]

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(device)

        return cls(
            (len(lengths), longest),
            tensor(ranges(order * longest, descending)),
            tensor(ranges(np.full(len(lengths), FIRST_POSITION), descending))[None],
            tensor(np.concatenate([[0], np.cumsum(descending)]).astype(np.int32)),
            descending,
        )

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Sequences of about one length, for attention without a kernel for variable ones."""
        firsts = np.concatenate([[0], np.cumsum(self.lengths)])
        return tuple(
            _group(self.lengths[start:end], int(firsts[start]), self.places.device)
            for start, end in cheapest_groups(self.lengths, GROUP_COST_TOKENS)
        )

    def inputs(self, ids: Tensor) -> dict[str, Any]:
        """What an encoder is called with, for ids [S, L]."""
        return {"input_ids": ids.flatten()[self.places][None], "position_ids": self.positions, "packing": self}

    def restored(self, packed: Tensor) -> Tensor:
        """[1, N, H] → [S, L, H], zeros where padded."""
        count, longest = self.shape
        flat = packed.new_zeros(count * longest, packed.shape[-1])
        return flat.index_copy(0, self.places, packed.squeeze(0)).view(count, longest, -1)


def _group(lengths: np.ndarray, first: int, device: torch.device) -> Group:
    count, longest, tokens = len(lengths), int(lengths[0]), int(lengths.sum())
    places = mask = None
    if tokens < count * longest:
        places = torch.from_numpy(ranges(np.arange(count) * longest, lengths)).to(device)
        mask = torch.from_numpy(np.arange(longest) < lengths[:, None]).to(device)[:, None, None]
    return Group(first, first + tokens, count, longest, places, mask)


def attend(
    query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None, packing: Packing | None
) -> Tensor:
    """[B, heads, T, d] queries, keys, values → [B, T, heads, d].

    With a packing B is 1 and T is N; without one every sequence fills its row.
    """
    if packing is None:
        return _dense(query, key, value, None, dropout, scaling).transpose(1, 2)
    # Not `each[0]`, whose backward pass copies all of it.
    query, key, value = (each.squeeze(0).transpose(0, 1) for each in (query, key, value))  # [N, heads, d]
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        longest = packing.shape[1]
        short = longest <= SHORT_TOKENS and query.shape[-1] <= SHORT_HEAD
        return VariableLengthAttention.apply(query, key, value, packing.bounds, longest, dropout, scaling, short)[None]
    return torch.cat([_attend(group, query, key, value, dropout, scaling) for group in packing.groups])[None]


class VariableLengthAttention(torch.autograd.Function):
    """Attention in sequences of different lengths: [N, heads, d] queries, keys, values → the same.

    By FlashAttention's kernel, or for `short` sequences by torch's memory-efficient one.  The public `varlen_attn` has
    no dropout, which the recipes have.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bounds: Tensor,
        longest: int,
        dropout: float,
        scaling: float | None,
        short: bool,
    ) -> Tensor:
        sizes = (bounds, bounds, longest, longest, dropout)
        if short:
            attended, *rest, _, _ = torch.ops.aten._efficient_attention_forward(
                query[None], key[None], value[None], None, *sizes, NO_MASK, compute_log_sumexp=True, scale=scaling
            )
            attended = attended[0]
        else:
            attended, *rest, _ = torch.ops.aten._flash_attention_forward(
                query, key, value, *sizes, False, False, scale=scaling
            )
        ctx.save_for_backward(query, key, value, attended, bounds, *rest)
        ctx.settings = longest, dropout, scaling, short
        return attended

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, attended, bounds, log_sums, *random = ctx.saved_tensors
        longest, dropout, scaling, short = ctx.settings
        sizes = (bounds, bounds, longest, longest)
        # Where torch only warns of what is not deterministic, FlashAttention's backward pass would not be.
        with _errors_for_warnings():
            if short:
                *batches, _ = torch.ops.aten._efficient_attention_backward(
                    *(gradient[None], query[None], key[None], value[None], None, attended[None]),
                    *(*sizes, log_sums, dropout, *random, NO_MASK, False),
                    scale=scaling,
                    num_splits_key=1,  # deterministic where keys are not split
                )
                gradients = [batch[0] for batch in batches]
            else:
                gradients = torch.ops.aten._flash_attention_backward(
                    *(gradient, query, key, value, attended, log_sums, *sizes, dropout, False, *random), scale=scaling
                )
        return *gradients, None, None, None, None, None


@contextlib.contextmanager
def _errors_for_warnings() -> Iterator[None]:
    """Where torch would warn of what is not deterministic, let it raise."""
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error" if mode else "default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def _attend(group: Group, query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None) -> Tensor:
    """[end - first, heads, d] of one group, from all packed tokens."""

    def padded(tokens: Tensor) -> Tensor:
        rows = tokens[group.first : group.end]
        if group.places is not None:
            rows = rows.new_zeros(group.sequences * group.length, *rows.shape[1:]).index_copy(0, group.places, rows)
        return rows.view(group.sequences, group.length, *rows.shape[1:]).transpose(1, 2)

    attended = _dense(padded(query), padded(key), padded(value), group.mask, dropout, scaling)
    flat = attended.transpose(1, 2).reshape(-1, *query.shape[1:])
    return flat if group.places is None else flat[group.places]


def _dense(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scaling: float | None
) -> Tensor:
    """[B, heads, T, d]; on a GPU by plain products: the backward passes of its fused kernels are not deterministic."""
    with sdpa_kernel(SDPBackend.MATH) if query.is_cuda else contextlib.nullcontext():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)


def cheapest_groups(descending: np.ndarray, cost_tokens: int) -> list[tuple[int, int]]:
    """(start, end) of the groups that make padded tokens plus `cost_tokens` a group least, by dynamic programming.

    Args:
        descending: [n] lengths, longest first.
    """
    longest, starts = np.unique(-descending, return_index=True)  # equal lengths are never worth parting
    places, lengths = np.append(starts, len(descending)), -longest
    count = len(lengths)
    best = np.zeros(count + 1)  # best[e]: cost of the lengths before e
    came_from = np.zeros(count + 1, np.int64)
    for end in range(1, count + 1):
        costs = best[:end] + (places[end] - places[:end]) * lengths[:end] + cost_tokens
        came_from[end] = costs.argmin()
        best[end] = costs[came_from[end]]
    groups: list[tuple[int, int]] = []
    end = count
    while end:
        start = int(came_from[end])
        groups.append((int(places[start]), int(places[end])))
        end = start
    return groups[::-1]
