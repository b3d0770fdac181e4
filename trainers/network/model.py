"""The network of a stage: an encoder with one head per task."""

from __future__ import annotations

from typing import Literal, Protocol, cast

from torch import Tensor, nn

from trainers.network.attention import Packing
from trainers.network.batch import Batch
from trainers.network.heads import Head
from trainers.network.xlmr import Encoder

Layers = Literal["plain", "normed"]
"""All hidden states, from the embeddings on: as they are, or after a pre-LN encoder's final LayerNorm."""


class Replay(Protocol):
    """The encoder's passes, recorded and replayed (`trainers.training.one_device`)."""

    def eligible(self, packing: Packing) -> bool:
        """Whether a micro-batch of this packing is replayed."""

    def __call__(self, ids: Tensor, packing: Packing) -> Tensor:
        """Hidden states [1, N, H] of the N real tokens of ids [S, L]."""


class StageModel(nn.Module):
    """An encoder and one head per task."""

    graphs: Replay | None = None
    """Replay the encoder in training, where a micro-batch is eligible."""

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
            states = tuple(batch.packing.restored(layer) for layer in states)
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
        if packing and self.training and self.graphs and self.graphs.eligible(packing):
            return (self.graphs(batch.ids, packing),)
        inputs = packing.inputs(batch.ids) if packing else {"input_ids": batch.ids}
        output = self.encoder(**inputs, output_hidden_states=layers is not None)
        states = output.hidden_states or (output.last_hidden_state,)
        if layers == "normed":  # a pre-LN encoder has normed the last, and only that
            layer_norm = self.encoder.get_submodule("encoder.LayerNorm")
            states = (*(layer_norm(inner) for inner in states[:-1]), states[-1])
        return states
