"""The network of a stage and what it is given: an encoder with one head per task, and micro-batches on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from trainers.network.attention import PAD_ID, Packing
from trainers.network.encoder import Vocabulary
from trainers.network.heads import Head
from trainers.network.xlmr import Encoder
from trainers.tokens.sets import TokenisedSet

Layers = Literal["plain", "normed"]
"""All hidden states, from the embeddings on: as they are, or after a pre-LN encoder's final LayerNorm."""


class Replay(Protocol):
    """The encoder's passes, recorded and replayed (`trainers.training.graphs`)."""

    def take(self, packing: Packing) -> bool:
        """Whether a micro-batch of this packing is replayed."""

    def __call__(self, ids: Tensor, packing: Packing) -> Tensor:
        """Hidden states [1, N, H] of the N real tokens of ids [S, L]."""


class StageModel(nn.Module):
    """An encoder and one head per task."""

    graphs: Replay | None = None
    """Replay the encoder in training, where they take a micro-batch."""

    def __init__(self, encoder: Encoder, heads: dict[str, Head]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)

    def head(self, task: str) -> Head:
        return cast(Head, self.heads[task])

    def forward(
        self, batch: Batch, task: str | None = None, with_losses: bool = False, layers: Layers | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """What is asked for: hidden states [S, L, H], or those of all layers (embeddings first); with a task its
        head's logits, or the losses [b] of the units."""
        states = self._states(batch, layers)
        if batch.packing:
            states = tuple(batch.packing.restored(one) for one in states)
        if layers:
            return states
        hidden = states[0]
        if task is None:
            return hidden
        head = self.head(task)
        logits = head(head.select(hidden, batch))
        if not with_losses:
            return logits
        others = [self.head(name).idle(hidden) for name in self.heads if name != task]
        return head.losses(logits, batch) + sum(others)

    def _states(self, batch: Batch, layers: Layers | None) -> tuple[Tensor, ...]:
        """The last hidden states, or those of all layers, as the encoder gives them: packed, where the batch is."""
        packing = batch.packing
        if packing and self.training and self.graphs and self.graphs.take(packing):
            return (self.graphs(batch.ids, packing),)
        inputs = packing.inputs(batch.ids) if packing else {"input_ids": batch.ids}
        output = self.encoder(**inputs, output_hidden_states=layers is not None)
        states = output.hidden_states or (output.last_hidden_state,)
        if layers == "normed":  # a pre-LN encoder has normed the last, and only that
            layer_norm = self.encoder.get_submodule("encoder.LayerNorm")
            states = (*(layer_norm(inner) for inner in states[:-1]), states[-1])
        return states


@dataclass(frozen=True)
class Batch:
    """A dense micro-batch on the device: b units of S sequences, padded to the longest of L tokens."""

    ids: Tensor
    """[S, L]"""
    mask: Tensor
    """[S, L] bool, False where padded."""
    targets: Tensor
    """[b, k]"""
    marks: Tensor
    """[S, L, w], -1 where padded."""
    packing: Packing | None
    """How the encoder sees it without padding; None where nothing is padded."""

    @classmethod
    def collate(cls, examples: TokenisedSet, units: np.ndarray, vocabulary: Vocabulary, device: torch.device) -> Batch:
        """The units, padded to their longest sequence."""
        numbers = examples.sequences(units)
        sequences = [examples.sequence(number) for number in numbers]
        length = max(len(sequence) for sequence in sequences)
        ids = np.full((len(numbers), length), PAD_ID, np.int64)
        mask = np.zeros((len(numbers), length), bool)
        marks = np.full((len(numbers), length, examples.marks.shape[1]), -1, np.int64)
        for row, (number, sequence) in enumerate(zip(numbers, sequences, strict=True)):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = True
            marks[row, : len(sequence)] = examples.marks[examples.starts[number] : examples.starts[number + 1]]
        return cls(
            vocabulary.translate(torch.from_numpy(ids)).to(device),
            torch.from_numpy(mask).to(device),
            torch.from_numpy(examples.targets[units].astype(np.int64)).to(device),
            torch.from_numpy(marks).to(device),
            Packing.of(np.array([len(sequence) for sequence in sequences]), device),
        )
