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

    `beat` is called after each batch.
    """
    head = engine.model.head(task)
    decoded = DecodedRows(head, sets)
    for places, batch, logits in outputs(engine, decoded.together, vocabulary, task):
        decoded.put(places, head.decode(logits, batch))
        beat()
    return decoded.of_each_set(engine)


class DecodedRows:
    """What a head decodes of several sets, which ranks fill in by turns."""

    def __init__(self, head: Head, sets: Sequence[TokenisedSet]) -> None:
        self.widths, self.ends = [head.row_width(examples) for examples in sets], np.cumsum([*map(len, sets)])
        self.together = TokenisedSet.concatenate(sets)
        """All sets as one, so that batches are few and full, not several small ones a language."""
        self._rows = torch.zeros(len(self.together), max(self.widths), dtype=torch.float64)

    def put(self, places: np.ndarray, rows: Tensor) -> None:
        self._rows[torch.from_numpy(places), : rows.shape[1]] = rows.double().cpu()

    def of_each_set(self, engine: Engine) -> list[np.ndarray]:
        """[n, k] a set, whole on every rank."""
        parts = np.split(engine.sum_over_ranks(self._rows).numpy(), self.ends[:-1])
        return [rows[:, :width] for width, rows in zip(self.widths, parts, strict=True)]


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
    chance = family(labelled.task).chance(labelled)
    return Evaluated(scores_of(measure, labelled.task.name, labelled.language, metrics, len(frame), chance), frame)


def scores_of(
    measure: str, task: str, language: str, metrics: dict[str, float], examples: int, chance: float
) -> list[Score]:
    """One score for each metric."""
    return [Score(measure, task, language, metric, value, examples, chance) for metric, value in metrics.items()]
