"""Heads: from an encoder's hidden states to logits, losses and decoded rows, one class a family.

A head first selects the `features` it needs, so that a probe runs the encoder once for several heads.
`losses` is per example: the engine weighs them over the whole step's batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.tasks import Task

MAX_ANSWER_TOKENS = 30


class Head(nn.Module):
    """What every head can do."""

    projection: nn.Linear

    def select(self, hidden: Tensor) -> Tensor:
        """The part of the hidden states [b, L, H] that `forward` reads."""
        raise NotImplementedError

    def losses(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """[b] losses from `forward`'s logits, [b, k] targets and [b, L] mask."""
        raise NotImplementedError

    def decode(self, logits: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
        """[b, k] rows, from which the family scores its examples."""
        raise NotImplementedError


class PairHead(Head):
    """XLM-R's own classification head on `<s>`: dropout, dense, tanh, dropout, projection."""

    def __init__(self, hidden: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(hidden, labels)

    def select(self, hidden: Tensor) -> Tensor:
        """[b, L, H] → [b, H]."""
        return hidden[:, 0]

    def forward(self, features: Tensor) -> Tensor:
        """[b, H] → [b, labels] logits."""
        return self.projection(self.dropout(torch.tanh(self.dense(self.dropout(features)))))

    def losses(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Cross-entropy: [b, labels], [b, 1], [b, L] → [b]."""
        return F.cross_entropy(logits.float(), targets[:, 0], reduction="none")

    def decode(self, logits: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
        """[b, labels] logits, as they are."""
        return logits.float()


class LinearPairHead(PairHead):
    """A linear probe on `<s>`."""

    def __init__(self, hidden: int, labels: int) -> None:
        nn.Module.__init__(self)
        self.projection = nn.Linear(hidden, labels)

    def forward(self, features: Tensor) -> Tensor:
        return self.projection(features)


class SpanHead(Head):
    """Start and end logits of each token: linear, so that it is its own linear probe."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.projection = nn.Linear(hidden, 2)

    def select(self, hidden: Tensor) -> Tensor:
        """[b, L, H] as they are."""
        return hidden

    def forward(self, features: Tensor) -> Tensor:
        """[b, L, H] → [b, L, 2] logits."""
        return self.projection(features)

    def losses(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Mean of start's and end's cross-entropy over the unpadded tokens: [b, L, 2], [b, 2], [b, L] → [b].

        Padding is masked (Hugging Face's head does not), or the loss would depend on how the batch was cut.
        """
        scores = logits.float().masked_fill(~mask[:, :, None], float("-inf"))
        return F.cross_entropy(scores, targets, reduction="none").mean(1)

    def decode(self, logits: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
        """Best span of each window: [b, L, 2] logits, [b, L, 2] characters → [b, 3] score, first, last+1 character."""
        start, end = logits.float().unbind(2)
        outside = spans[:, :, 0] < 0
        start, end = start.masked_fill(outside, float("-inf")), end.masked_fill(outside, float("-inf"))
        length = start.shape[1]
        allowed = torch.ones(length, length, dtype=torch.bool, device=start.device).triu().tril(MAX_ANSWER_TOKENS - 1)
        scores = (start[:, :, None] + end[:, None, :]).masked_fill(~allowed, float("-inf")).flatten(1)
        best, place = scores.max(1)
        rows = torch.arange(len(place), device=start.device)
        first = spans[rows, place // length, 0]
        last = spans[rows, place % length, 1]
        return torch.stack([best, first.float(), last.float()], 1).double()


def build_head(task: Task, hidden: int, dropout: float, initializer_range: float) -> Head:
    """A new head for `task`, drawn from torch's current random state as Hugging Face draws its heads."""
    head: Head = SpanHead(hidden) if task.family == "span" else PairHead(hidden, len(task.labels), dropout)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=initializer_range)
            nn.init.zeros_(module.bias)
    return head


def linear_head(task: Task, hidden: int) -> Head:
    """The refit head of `task`: linear, starting from zero, so that fitting it draws nothing at random."""
    head: Head = SpanHead(hidden) if task.family == "span" else LinearPairHead(hidden, len(task.labels))
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head
