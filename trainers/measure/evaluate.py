"""Zero-shot evaluation and retrieval: all ranks take part, and the result does not depend on how many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from trainers.families import family
from trainers.network.batch import Batch
from trainers.network.encoder import Vocabulary
from trainers.network.heads import Head
from trainers.network.model import Layers
from trainers.stage.scores import Score
from trainers.tokens.sets import LabelledSet, TokenisedSet
from trainers.training.batches import inference_batches
from trainers.training.step import Engine

INFERENCE_TOKENS_FACTOR = 2
"""An inference batch holds this many times a training micro-batch's tokens: nothing is kept for a backward pass."""
RETRIEVAL_BYTES = 8 << 30
"""Sentence embeddings that are held at once; of more, a few layers are done at a time."""


def outputs(
    engine: Engine,
    examples: TokenisedSet,
    vocabulary: Vocabulary,
    task: str | None = None,
    layers: Layers | None = None,
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
        output = engine.infer(batch, task, layers)
        if number < len(batches):
            yield places, batch, output


def predict(
    engine: Engine,
    task: str,
    sets: Sequence[TokenisedSet],
    vocabulary: Vocabulary,
    beat: Callable[[], None] = lambda: None,
) -> list[np.ndarray]:
    """For each set [n, k] rows decoded by the trained head of `task`, whole on every rank.

    All sets share one row of length-sorted batches: few full ones, not several small ones a language.
    `beat` is called after each batch.
    """
    head = engine.model.head(task)
    together = TokenisedSet.concatenate(sets)
    decoded = DecodedRows(head, together)
    for places, batch, logits in outputs(engine, together, vocabulary, task):
        decoded.put(places, head.decode(logits, batch))
        beat()
    ends = np.cumsum([len(examples) for examples in sets])
    parts = np.split(decoded.whole(engine), ends[:-1])
    return [rows[:, : head.row_width(examples)] for examples, rows in zip(sets, parts, strict=True)]


class DecodedRows:
    """Rows that ranks fill in turn and then sum into one whole array."""

    def __init__(self, head: Head, examples: TokenisedSet) -> None:
        self.rows = torch.zeros(len(examples), head.row_width(examples), dtype=torch.float64)

    def put(self, places: np.ndarray, rows: Tensor) -> None:
        self.rows[torch.from_numpy(places), : rows.shape[1]] = rows.double().cpu()

    def whole(self, engine: Engine) -> np.ndarray:
        """[n, k] on every rank."""
        return engine.sum_over_ranks(self.rows).numpy()


def sentence_embeddings(
    engine: Engine, examples: TokenisedSet, vocabulary: Vocabulary, numbers: range, layers: Layers = "plain"
) -> np.ndarray:
    """[numbers, n, H] mean over each sentence's tokens (`<s>` and `</s>` too) of some layers; 0 is the embeddings."""
    pooled = torch.zeros(len(numbers), len(examples), engine.hidden_size)
    for places, batch, hidden in outputs(engine, examples, vocabulary, layers=layers):
        mask = batch.mask[:, :, None]
        for row, number in enumerate(numbers):
            pooled[row, torch.from_numpy(places)] = ((hidden[number].float() * mask).sum(1) / mask.sum(1)).cpu()
    return engine.sum_over_ranks(pooled).numpy()


@dataclass(frozen=True)
class Evaluated:
    """One task in one language (for retrieval: at one layer)."""

    scores: list[Score]
    """One per metric."""
    examples: pl.DataFrame
    """One row per example."""


def evaluate(
    engine: Engine,
    vocabulary: Vocabulary,
    head: str,
    sets: Sequence[tuple[str, LabelledSet]],
    beat: Callable[[], None] = lambda: None,
) -> list[Evaluated]:
    """Score the trained head `head` on sets, each given with the name of what it measures, all in one go.

    All ranks must call it, and all get the same scores.  `beat` is called often.
    """
    decoded = predict(engine, head, [labelled.examples for _, labelled in sets], vocabulary, beat)
    return [
        _evaluated(measure, labelled, *family(labelled.task).score(labelled, rows))
        for (measure, labelled), rows in zip(sets, decoded, strict=True)
    ]


RETRIEVAL, RETRIEVAL_NORMED = "retrieval", "retrieval_normed"
"""Measures of retrieval: on the hidden states as they are, and for pre-LN encoders also after the final LayerNorm."""


def evaluate_retrieval(
    engine: Engine, vocabulary: Vocabulary, labelled: LabelledSet
) -> Iterator[tuple[int, Evaluated]]:
    """Score retrieval at every layer, from the embeddings (0) on.  All ranks must go through all of it together."""
    encoder: Any = engine.model.encoder
    measures: dict[str, Layers] = {RETRIEVAL: "plain"}
    if hasattr(encoder.encoder, "LayerNorm"):
        measures[RETRIEVAL_NORMED] = "normed"
    ways, development = family(labelled.task), labelled.development
    sentences = len(labelled.examples) + (len(development.examples) if development else 0)
    at_once = max(1, RETRIEVAL_BYTES // (4 * engine.hidden_size * sentences))
    count = encoder.config.num_hidden_layers + 1
    for measure, kind in measures.items():
        for start in range(0, count, at_once):
            block = range(start, min(start + at_once, count))
            states = sentence_embeddings(engine, labelled.examples, vocabulary, block, kind)
            extra: list[tuple[np.ndarray, ...]] = [()] * len(block)
            if development is not None:
                extra = [(one,) for one in sentence_embeddings(engine, development.examples, vocabulary, block, kind)]
            for layer, embeddings, more in zip(block, states, extra, strict=True):
                yield layer, _evaluated(measure, labelled, *ways.score_layer(labelled, embeddings, *more))


def _evaluated(measure: str, labelled: LabelledSet, metrics: dict[str, float], frame: pl.DataFrame) -> Evaluated:
    task, chance = labelled.task, family(labelled.task).chance(labelled)
    return Evaluated(
        [
            Score(measure, task.name, labelled.language, metric, value, len(frame), chance)
            for metric, value in metrics.items()
        ],
        frame,
    )
