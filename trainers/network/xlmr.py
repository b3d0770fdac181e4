"""XLM-R (post-LN) and XLM-R XL (pre-LN) as a network, under Hugging Face's names of weights.

    encoder = Encoder(EncoderConfig.read(folder))
    states = encoder(ids)                                   # [S, L], all of one length
    states = encoder(**packing.inputs(ids))                 # padded ones, packed: trainers.network.attention
    states.last_hidden_state                                # [S, L, H] or [1, N, H]

The operations and their order are those of transformers' `XLMRobertaModel` and `XLMRobertaXLModel`, to the last bit
(tests/trainers/network/test_xlmr.py).  They stand here because importing those takes 4 processor-seconds, twice what
torch takes, and each of their calls passes through wrappers for what no stage does: generation, caches, quantisation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from trainers.network.attention import FIRST_POSITION, PAD_ID, Packing, attend
from trainers.stage.scales import Shape


@dataclass(frozen=True)
class EncoderConfig:
    """What of a `config.json` decides the network, under Hugging Face's names."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    initializer_range: float

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )

    @classmethod
    def read(cls, folder: Path) -> EncoderConfig:
        """Of an encoder folder.

        Raises:
            ValueError: another architecture, or not all of its fields are there.
        """
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        Shape.from_config(config)
        if missing := [field.name for field in fields(cls) if field.name not in config]:
            raise ValueError(f"{path} lacks the field {missing[0]!r}: it is not a complete encoder configuration")
        for name, expected in {"hidden_act": "gelu", "pad_token_id": PAD_ID}.items():
            if config.get(name, expected) != expected:
                raise ValueError(f"{path}: {name} is {config[name]!r}, but XLM-R's is {expected!r}")
        return cls(**{field.name: config[field.name] for field in fields(cls)})

    @property
    def pre_layer_norm(self) -> bool:
        """Whether LayerNorm stands before each sub-layer, as in XL and XXL."""
        return self.model_type == "xlm-roberta-xl"


class States(NamedTuple):
    """What an encoder gives."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None
    """Those of all layers, the embeddings first, where they were asked for; the last is `last_hidden_state`."""


class Encoder(nn.Module):
    """Token ids → hidden states.  A new one's weights are uninitialised; they are loaded from files."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        packing: Packing | None = None,
        output_hidden_states: bool = False,
    ) -> States:
        """
        Args:
            input_ids: [S, L] without padding, or [1, N] packed.
            position_ids: [1, N], where packed.
        """
        if position_ids is None:
            positions = torch.arange(FIRST_POSITION, input_ids.shape[1] + FIRST_POSITION, device=input_ids.device)
            position_ids = positions.expand_as(input_ids)
        states = self.encoder(self.embeddings(input_ids, position_ids), packing)
        return States(states[-1], tuple(states) if output_hidden_states else None)

    def checkpoint_activations(self) -> None:
        """Keep of each layer its input alone in training, and compute the layer again for its backward pass."""
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.recomputed = True


class Embedding(nn.Embedding):
    """A table that draws no random numbers; drawing them on torch's device without memory would import its compiler."""

    def reset_parameters(self) -> None:
        """Leave them as they are."""


class Linear(nn.Linear):
    """The same of a linear layer."""

    def reset_parameters(self) -> None:
        """Leave them as they are."""


class Embeddings(nn.Module):
    """Words, token types (always the first) and positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.word_embeddings = Embedding(config.vocab_size, config.hidden_size, PAD_ID)
        self.token_type_embeddings = Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = None if config.pre_layer_norm else _layer_norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.position_embeddings = Embedding(config.max_position_embeddings, config.hidden_size, PAD_ID)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        hidden = self.word_embeddings(ids) + self.token_type_embeddings(torch.zeros_like(ids))
        hidden = hidden + self.position_embeddings(positions)
        if self.LayerNorm is not None:
            hidden = self.LayerNorm(hidden)
        return self.dropout(hidden)


class Layers(nn.Module):
    """All layers; pre-LN has one more LayerNorm after the last."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        if config.pre_layer_norm:
            self.LayerNorm = _layer_norm(config)

    def forward(self, hidden: Tensor, packing: Packing | None) -> list[Tensor]:
        """Hidden states before the first layer and after each."""
        states = [hidden]
        for layer in self.layer:
            states.append(layer(states[-1], packing))
        if hasattr(self, "LayerNorm"):
            states[-1] = self.LayerNorm(states[-1])
        return states


class Layer(nn.Module):
    """Attention and feed-forward network."""

    recomputed = False
    """Whether the backward pass computes the layer again, instead of keeping its activations."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        # XL drops nothing after its feed-forward network.
        dropout = 0.0 if config.pre_layer_norm else config.hidden_dropout_prob
        self.output = Output(config, config.intermediate_size, dropout)
        self.LayerNorm = _layer_norm(config) if config.pre_layer_norm else None

    def forward(self, hidden: Tensor, packing: Packing | None) -> Tensor:
        if self.recomputed and self.training:
            return checkpoint(self._computed, hidden, packing, use_reentrant=False)
        return self._computed(hidden, packing)

    def _computed(self, hidden: Tensor, packing: Packing | None) -> Tensor:
        attended = self.attention(hidden, packing)
        return self.output(
            self.intermediate(attended if self.LayerNorm is None else self.LayerNorm(attended)), attended
        )


class Attention(nn.Module):
    """Self-attention, its projection and the residual."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Output(config, config.hidden_size, config.hidden_dropout_prob)
        self.self_attn_layer_norm = _layer_norm(config) if config.pre_layer_norm else None

    def forward(self, hidden: Tensor, packing: Packing | None) -> Tensor:
        normed = hidden if self.self_attn_layer_norm is None else self.self_attn_layer_norm(hidden)
        return self.output(self.self(normed, packing), hidden)


class SelfAttention(nn.Module):
    """Queries, keys and values, and how they attend."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.head_size = config.hidden_size // config.num_attention_heads
        self.query = Linear(config.hidden_size, config.hidden_size)
        self.key = Linear(config.hidden_size, config.hidden_size)
        self.value = Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, hidden: Tensor, packing: Packing | None) -> Tensor:
        heads = (*hidden.shape[:-1], -1, self.head_size)
        query, key, value = (
            projection(hidden).view(heads).transpose(1, 2) for projection in (self.query, self.key, self.value)
        )
        dropout = self.dropout.p if self.training else 0.0
        return attend(query, key, value, dropout, self.head_size**-0.5, packing).reshape(hidden.shape)


class Intermediate(nn.Module):
    """The wide half of the feed-forward network."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.gelu(self.dense(hidden))


class Output(nn.Module):
    """The way back to the residual stream; post-LN norms the sum."""

    def __init__(self, config: EncoderConfig, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = Linear(width, config.hidden_size)
        self.LayerNorm = None if config.pre_layer_norm else _layer_norm(config)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        total = self.dropout(self.dense(hidden)) + residual
        return total if self.LayerNorm is None else self.LayerNorm(total)


def _layer_norm(config: EncoderConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
