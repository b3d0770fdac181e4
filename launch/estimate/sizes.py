"""A scale as the memory model counts it."""

from __future__ import annotations

from slurm.sizing.memory import ModelSize
from trainers.families.mlm import CHOSEN
from trainers.stage.scales import Shape

DROPOUTS = {"post": 2, "pre": 1}
"""Masks a layer keeps, by LayerNorm placement: XLM-R-XL has no dropout after its feed-forward."""


def model_size(shape: Shape, vocabulary: int | None = None, language_model: bool = False) -> ModelSize:
    """Counts of an encoder with one head.

    Args:
        vocabulary: embedding rows that a stage keeps of it; None keeps all.
        language_model: whether masked tokens are predicted, which no vocabulary is trimmed for.
    """
    rows = shape.vocabulary if vocabulary is None or language_model else vocabulary
    head = shape.hidden * (shape.hidden + 1)  # the dense layer; the projection to a few classes is nothing beside it
    return ModelSize(
        body_parameters=shape.non_embedding_parameters + head + (rows if language_model else 0),
        embedding_rows=rows + shape.positions + 1,
        layers=shape.layers,
        hidden=shape.hidden,
        feed_forward=shape.feed_forward,
        heads=shape.heads,
        dropouts=DROPOUTS[shape.layer_norm],
        logits_per_token=CHOSEN * rows if language_model else 0.0,
    )
