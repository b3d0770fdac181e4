"""Zero-shot evaluation and retrieval: all ranks take part, and the result does not depend on how many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from trainers.batches import inference_batches
from trainers.data.stagedata import LabelledSet
from trainers.data.tokenise import TokenisedSet
from trainers.encoder import Vocabulary
from trainers.engine import Batch, Engine
from trainers.scores import Score
from trainers.tasks import family

INFERENCE_TOKENS_FACTOR = 2
"""An inference batch holds this many times a training micro-batch's tokens: nothing is kept for a backward pass."""
MAX_ROW_WIDTH = 8
"""The widest decoded row of any family (class logits; score and characters of a span)."""


def outputs(
    engine: Engine, examples: TokenisedSet, vocabulary: Vocabulary, task: str | None = None, all_layers: bool = False
) -> Iterator[tuple[np.ndarray, Batch, Any]]:
    """This rank's share of the set: (places, batch, `StageModel.forward`'s output) for each inference batch.

    Batches are cut from the whole set and dealt out, so each is the same for every world size.  A rank that has
    run out joins the others' last forward pass with a batch of theirs, because under ZeRO-3 every rank must.
    """
    batches = inference_batches(examples.lengths, INFERENCE_TOKENS_FACTOR * engine.execution.micro_batch_tokens)
    for start in range(0, len(batches), engine.ranks.world_size):
        number = start + engine.ranks.rank
        places = batches[number] if number < len(batches) else batches[start]
        batch = Batch.collate(examples, places, vocabulary, engine.device)
        output = engine.infer(batch, task, all_layers)
        if number < len(batches):
            yield places, batch, output


def predict(engine: Engine, task: str, examples: TokenisedSet, vocabulary: Vocabulary) -> np.ndarray:
    """[n, k] decoded rows of every sequence by the trained head of `task`, whole on every rank."""
    head, decoded = engine.model.head(task), DecodedRows(len(examples))
    for places, batch, logits in outputs(engine, examples, vocabulary, task):
        decoded.put(places, head.decode(logits, batch.mask, batch.spans))
    return decoded.whole(engine)


class DecodedRows:
    """Rows that ranks fill in turn and then sum into one whole array."""

    def __init__(self, count: int) -> None:
        self.rows = torch.zeros(count, MAX_ROW_WIDTH, dtype=torch.float64)
        self.width = 0

    def put(self, places: np.ndarray, rows: Tensor) -> None:
        self.width = rows.shape[1]
        self.rows[torch.from_numpy(places), : self.width] = rows.double().cpu()

    def whole(self, engine: Engine) -> np.ndarray:
        """[n, k] on every rank; also on one that had no batch and so does not know k."""
        width = int(engine.largest_over_ranks(self.width))
        return engine.sum_over_ranks(self.rows[:, :width].contiguous()).numpy()


def sentence_embeddings(engine: Engine, examples: TokenisedSet, vocabulary: Vocabulary) -> np.ndarray:
    """[layers + 1, n, H] mean over each sentence's tokens (`<s>` and `</s>` too), embeddings' layer first."""
    pooled: Tensor | None = None
    for places, batch, hidden in outputs(engine, examples, vocabulary, all_layers=True):
        if pooled is None:
            pooled = torch.zeros(len(hidden), len(examples), hidden[0].shape[-1], dtype=torch.float32)
        mask = batch.mask[:, :, None]
        for layer, states in enumerate(hidden):
            means = (states.float() * mask).sum(1) / mask.sum(1)
            pooled[layer, torch.from_numpy(places)] = means.cpu()
    if pooled is None:  # more ranks than batches
        layers = engine.model.encoder.config.num_hidden_layers + 1
        pooled = torch.zeros(layers, len(examples), engine.hidden_size)
    return engine.sum_over_ranks(pooled).numpy()


@dataclass(frozen=True)
class Evaluated:
    """One task in one language."""

    scores: list[Score]
    """One per metric; for retrieval one per layer, embeddings first."""
    examples: list[pl.DataFrame]
    """One row per example, in one frame, or one per layer."""


def evaluate(engine: Engine, vocabulary: Vocabulary, head: str, labelled: LabelledSet, measure: str) -> Evaluated:
    """Score the trained head `head` on one set.  All ranks must call it, and all get the same scores."""
    task, ways = labelled.task, family(labelled.task)
    decoded = predict(engine, head, labelled.examples, vocabulary)
    metrics, frame = ways.score(task, labelled.table, labelled.examples, decoded)
    chance = ways.chance(task, labelled.table)
    return Evaluated(
        [
            Score(measure, task.name, labelled.language, metric, value, len(frame), chance)
            for metric, value in metrics.items()
        ],
        [frame],
    )


def evaluate_retrieval(engine: Engine, vocabulary: Vocabulary, labelled: LabelledSet) -> Evaluated:
    """Score retrieval at every layer.  All ranks must call it, and all get the same scores."""
    task, ways = labelled.task, family(labelled.task)
    chance = ways.chance(task, labelled.table)
    layers = sentence_embeddings(engine, labelled.examples, vocabulary)
    frames = [ways.frame_of(ways.score_layer(embeddings)) for embeddings in layers]
    return Evaluated(
        [
            Score("retrieval", task.name, labelled.language, task.metric, frame["score"].mean(), len(frame), chance)
            for frame in frames
        ],
        frames,
    )
