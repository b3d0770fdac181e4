"""A micro-batch on the device: what heads and the network are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.network.attention import PAD_ID, Packing
from trainers.network.encoder import Vocabulary
from trainers.tokens.sets import TokenisedSet


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
