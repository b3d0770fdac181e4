"""Heads: from an encoder's hidden states to logits, losses and decoded rows, one class a family.

A head first selects the `features` it needs, so that a probe runs the encoder once for several heads.
`losses` is per unit, as a sum over its `terms`: the engine weighs them over the whole step's batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.network.batch import Batch
from trainers.tasks import Task
from trainers.tokens.sets import TokenisedSet

MAX_ANSWER_TOKENS = 30


class Head(nn.Module):
    """What every head can do.  b units of g sequences of L tokens, S = b × g; for all but multiple choice g = 1."""

    projection: nn.Linear
    reads_tokens = False
    """Whether the features are those of every token, [S, L, H], or of `<s>` alone."""
    group = 1
    """g"""

    def select(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The part of the hidden states [S, L, H] that `forward` reads."""
        return hidden if self.reads_tokens else hidden[:, 0]

    def idle(self, hidden: Tensor) -> Tensor:
        """0, with a gradient of 0 for each parameter: a head that has no part in a step is stepped all the same.

        So all ZeRO stages agree: without it ZeRO-3 would apply the head's gradient of an earlier step once more.
        """
        shape = (1, 1) if self.reads_tokens else (self.group,)
        return 0.0 * self(hidden.new_zeros(*shape, hidden.shape[-1])).float().sum()

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """[b] losses from `forward`'s logits, each the sum over the unit's terms."""
        raise NotImplementedError

    @staticmethod
    def terms(examples: TokenisedSet) -> np.ndarray:
        """[n] terms in each unit's loss: 1, or the number of its words or masked tokens."""
        return np.ones(len(examples), np.int64)

    @staticmethod
    def row_width(examples: TokenisedSet) -> int:
        """Numbers in a decoded row, at the most."""
        raise NotImplementedError

    def decode(self, logits: Tensor, batch: Batch) -> Tensor:
        """[b, k] rows, from which the family scores its examples."""
        raise NotImplementedError


class PairHead(Head):
    """XLM-R's own classification head on `<s>`: dropout, dense, tanh, dropout, projection.  Or a linear probe."""

    def __init__(self, hidden: int, labels: int, dropout: float, linear: bool = False) -> None:
        """`linear` leaves the projection alone."""
        super().__init__()
        if not linear:
            self.dense = nn.Linear(hidden, hidden)
            self.dropout = nn.Dropout(dropout)
        self.linear = linear
        self.projection = nn.Linear(hidden, labels)

    def forward(self, features: Tensor) -> Tensor:
        """[S, H] → [S, labels] logits."""
        if self.linear:
            return self.projection(features)
        return self.projection(self.dropout(torch.tanh(self.dense(self.dropout(features)))))

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of [b, labels] logits and [b, 1] targets."""
        return F.cross_entropy(logits.float(), batch.targets[:, 0], reduction="none")

    def row_width(self, examples: TokenisedSet) -> int:  # type: ignore[override]
        return self.projection.out_features

    def decode(self, logits: Tensor, batch: Batch) -> Tensor:
        """[b, labels] logits, as they are."""
        return logits.float()


class ChoiceHead(PairHead):
    """The pair head with one logit per choice: each choice is a sequence of its own."""

    def __init__(self, hidden: int, options: int, dropout: float, linear: bool = False) -> None:
        super().__init__(hidden, 1, dropout, linear)
        self.group = options

    def forward(self, features: Tensor) -> Tensor:
        """[b × choices, H] → [b, choices] logits."""
        return super().forward(features).view(-1, self.group)

    def row_width(self, examples: TokenisedSet) -> int:  # type: ignore[override]
        return self.group


class SpanHead(Head):
    """Start and end logits of each token: linear, so that it is its own linear probe."""

    reads_tokens = True

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.projection = nn.Linear(hidden, 2)

    def forward(self, features: Tensor) -> Tensor:
        """[b, L, H] → [b, L, 2] logits."""
        return self.projection(features)

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean of start's and end's cross-entropy over the unpadded tokens: [b, L, 2] logits, [b, 2] targets → [b].

        Padding is masked (Hugging Face's head does not), or the loss would depend on how the batch was cut.
        """
        scores = logits.float().masked_fill(~batch.mask[:, :, None], float("-inf"))
        return F.cross_entropy(scores, batch.targets, reduction="none").mean(1)

    @staticmethod
    def row_width(examples: TokenisedSet) -> int:
        return 4

    def decode(self, logits: Tensor, batch: Batch) -> Tensor:
        """Best span of each window: [b, 4] its score, first and last+1 character, and the score of `<s>`: no answer."""
        start, end = logits.float().unbind(2)
        nothing = start[:, 0] + end[:, 0]
        outside = batch.marks[:, :, 0] < 0
        start, end = start.masked_fill(outside, float("-inf")), end.masked_fill(outside, float("-inf"))
        length = start.shape[1]
        allowed = torch.ones(length, length, dtype=torch.bool, device=start.device).triu().tril(MAX_ANSWER_TOKENS - 1)
        scores = (start[:, :, None] + end[:, None, :]).masked_fill(~allowed, float("-inf")).flatten(1)
        best, place = scores.max(1)
        rows = torch.arange(len(place), device=start.device)
        first = batch.marks[rows, place // length, 0]
        last = batch.marks[rows, place % length, 1]
        return torch.stack([best, first.float(), last.float(), nothing], 1).double()


class TaggingHead(Head):
    """A class for each word, from its first token: dropout and projection."""

    reads_tokens = True

    def __init__(self, hidden: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(hidden, labels)

    def forward(self, features: Tensor) -> Tensor:
        """[b, L, H] → [b, L, labels] logits."""
        return self.projection(self.dropout(features))

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Sum over the words of cross-entropy: [b, L, labels] logits, classes in the second mark → [b]."""
        classes = batch.marks[:, :, 1]
        return F.cross_entropy(logits.float().transpose(1, 2), classes, ignore_index=-1, reduction="none").sum(1)

    @staticmethod
    def terms(examples: TokenisedSet) -> np.ndarray:
        """[n] words of each sequence that have a class."""
        return examples.targets[:, 0]

    @staticmethod
    def row_width(examples: TokenisedSet) -> int:
        return int(examples.marks[:, 0].max(initial=0)) + 1

    def decode(self, logits: Tensor, batch: Batch) -> Tensor:
        """[b, words] the class of each word."""
        words = batch.marks[:, :, 0]
        rows = torch.zeros(len(words), int(words.max()) + 2, dtype=torch.float64, device=words.device)
        rows.scatter_(1, words + 1, logits.argmax(2).double())  # column 0 takes the tokens that begin no word
        return rows[:, 1:]


class MlmHead(Head):
    """XLM-R's pretrained language-model head: dense, GELU, LayerNorm, and the word embeddings as its projection."""

    def __init__(self, embeddings: nn.Embedding, layer_norm_eps: float) -> None:
        super().__init__()
        rows, hidden = embeddings.weight.shape
        self.dense = nn.Linear(hidden, hidden)
        self.layer_norm = nn.LayerNorm(hidden, eps=layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(rows))
        self.tied = (embeddings,)  # in a tuple, which hides it from torch: the weight stays the encoder's alone

    def select(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[M, H] states of the masked tokens, sequence by sequence."""
        return hidden[batch.marks[:, :, 0] >= 0]

    def forward(self, features: Tensor) -> Tensor:
        """[M, H] → [M, vocabulary] logits."""
        return F.linear(self.layer_norm(F.gelu(self.dense(features))), self.tied[0].weight, self.bias)

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Sum over a sequence's masked tokens of cross-entropy, the original ids being the mark → [b]."""
        originals = batch.marks[:, :, 0]
        masked = originals >= 0
        each = F.cross_entropy(logits.float(), originals[masked], reduction="none")
        return torch.zeros(len(originals), device=each.device).index_add(0, masked.nonzero()[:, 0], each)

    @staticmethod
    def terms(examples: TokenisedSet) -> np.ndarray:
        """[n] masked tokens of each sequence."""
        return examples.targets[:, 0]


def build_head(task: Task, config: Any, embeddings: nn.Embedding) -> Head:
    """A new head for `task`, drawn from torch's current random state as Hugging Face draws its heads.

    Args:
        config: the encoder's configuration.
        embeddings: the encoder's word embeddings, to which the language-model head is tied.
    """
    if task.family == "mlm":
        head: Head = MlmHead(embeddings, config.layer_norm_eps)
    else:
        head = _head(task, config.hidden_size, config.hidden_dropout_prob)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=config.initializer_range)
            nn.init.zeros_(module.bias)
    return head


def linear_head(task: Task, hidden: int) -> Head:
    """The refit head of `task`: linear, starting from zero, so that fitting it draws nothing at random."""
    head = _head(task, hidden, dropout=0.0, linear=True)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def _head(task: Task, hidden: int, dropout: float, linear: bool = False) -> Head:
    match task.family:
        case "pair":
            return PairHead(hidden, len(task.labels), dropout, linear)
        case "choice":
            return ChoiceHead(hidden, task.options, dropout, linear)
        case "span":
            return SpanHead(hidden)
        case "tagging":
            return TaggingHead(hidden, len(task.labels), dropout)
    raise ValueError(f"tasks of the family {task.family} have no {'linear ' if linear else ''}head")
