"""What the GPU benchmark trains: XLM-R of any size with random weights, on random pairs as long as XNLI's."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.gpu.measure import MEAN_TOKENS
from trainers.network.heads import build_head
from trainers.network.model import StageModel
from trainers.network.xlmr import Encoder, EncoderConfig
from trainers.stage.scales import Shape
from trainers.tasks import TASKS
from trainers.tokens.sets import TokenisedSet

TASK = "mnli"
SEED = 1
EXAMPLES = 20_000
SD_TOKENS, MAX_TOKENS = 15, 128


def config_of(shape: Shape, labels: int) -> Any:
    """Transformers' configuration of XLM-R, or of XLM-R XL where LayerNorm comes first, dropout included."""
    from transformers import XLMRobertaConfig, XLMRobertaXLConfig

    return {"post": XLMRobertaConfig, "pre": XLMRobertaXLConfig}[shape.layer_norm](
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        type_vocab_size=1,
        max_position_embeddings=shape.positions,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        num_labels=labels,
    )


def random_encoder(config: Any, device: torch.device) -> Encoder:
    """Random weights as transformers draws them, on the device: on the CPU, XL's 14 GB would take minutes."""
    own = EncoderConfig(**{field.name: getattr(config, field.name) for field in fields(EncoderConfig)})
    torch.manual_seed(SEED)
    with torch.device(device):
        encoder = Encoder(own)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() > 1:
            nn.init.normal_(parameter, std=own.initializer_range)
    return encoder


def build_model(shape: Shape, device: torch.device, activation_checkpointing: bool) -> StageModel:
    """Random weights at full size."""
    encoder = random_encoder(config_of(shape, len(TASKS[TASK].labels)), device)
    with torch.device(device):
        head = build_head(TASKS[TASK], encoder.config, encoder.embeddings.word_embeddings)
    if activation_checkpointing:
        encoder.checkpoint_activations()
    return StageModel(encoder, {TASK: head})


def random_examples(vocabulary: int) -> TokenisedSet:
    """Random tokens in sequences as long as XNLI's: lognormal, at most 128 tokens."""
    random = np.random.default_rng(SEED)
    variance = math.log(1 + (SD_TOKENS / MEAN_TOKENS) ** 2)
    drawn = random.lognormal(math.log(MEAN_TOKENS) - variance / 2, math.sqrt(variance), EXAMPLES)
    lengths = np.clip(drawn.round(), 4, MAX_TOKENS).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(4, vocabulary, starts[-1], dtype=np.int32)
    ids[starts[:-1]], ids[starts[1:] - 1] = 0, 2
    labels = random.integers(0, len(TASKS[TASK].labels), (EXAMPLES, 1), dtype=np.int32)
    return TokenisedSet(ids, starts, labels, np.arange(EXAMPLES, dtype=np.int32), np.zeros((len(ids), 0), np.int32))
