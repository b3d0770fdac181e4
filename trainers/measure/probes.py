"""Probes: what is left of an intermediate task in the encoder, at chosen steps of target training.

The stored head is re-attached without training (A); a linear head is refitted to frozen features (P, and P without
each fifth of the examples: `trainers.measure.refit`).  One forward pass of the encoder serves all of them.
Definitions: DESIGN §6, analysis/measures/retention.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.data.stagedata import ProbeSets
from trainers.families import family
from trainers.measure.evaluate import DecodedRows, outputs, scores_of
from trainers.measure.refit import dimensions, examples_of, fit, folds, raw_head
from trainers.network.batch import Batch
from trainers.network.encoder import Vocabulary
from trainers.network.heads import Head, linear_head
from trainers.stage.scores import Score, without_fold
from trainers.training.step import Engine


def probe_steps(total_steps: int, per_doubling: int = 1) -> list[int]:
    """0, `per_doubling` steps from each power of two to the next (1, 2, 4, 8 …), and the last step T: most are early,
    where most is forgotten."""
    exponents = range(max(1, total_steps).bit_length() * per_doubling)
    between = (round(2 ** (exponent / per_doubling)) for exponent in exponents)
    return sorted({0, total_steps, *(step for step in between if step < total_steps)})


def all_language_steps(total_steps: int, per_doubling: int = 1) -> set[int]:
    """The steps at which all languages are probed: every other probed step, and the last.  Elsewhere English alone is.

    Languages are many, and their mean follows English's curve: half of its points show where they part.
    """
    return {*probe_steps(total_steps, per_doubling)[::2], total_steps}


@dataclass(frozen=True)
class Probing:
    """What one probing found."""

    scores: list[Score]
    examples: pl.DataFrame
    """One row per (measure, task, language, example): its score on the primary metric and weight, for the bootstrap."""


class Prober:
    """Measures A and P of one intermediate task with everything but the encoder held fixed."""

    def __init__(self, probe: ProbeSets, stored_head: Head | None) -> None:
        """
        Args:
            probe: the task, and what it is probed with.
            stored_head: the head trained in phase 2; None before there is one.
        """
        self.task, self.sets, self.refit = probe.task, probe.measured, probe.refit.examples
        self.stored_head = stored_head
        self.chances = [family(labelled.task).chance(labelled) for labelled in self.sets]

    def measure(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        stored_as: str | None = "stored",
        refit_as: str = "refit",
        all_languages: bool = True,
    ) -> Probing:
        """Score both heads on every set.  All ranks must call it, and all get the same scores.

        Args:
            stored_as, refit_as: the measures' names; no stored head is scored where `stored_as` is None.
            all_languages: whether to go beyond English.
        """
        refitted, without = self._fit(engine, vocabulary)
        heads = {refit_as: refitted}
        if stored_as is not None:
            assert self.stored_head is not None
            heads[stored_as] = self.stored_head.to(engine.device).eval()
        with_examples = {*heads}
        heads |= {without_fold(refit_as, fold): head for fold, head in enumerate(without)}
        probed = self.sets if all_languages else self.sets[:1]
        decoded = {name: DecodedRows(head, [labelled.examples for labelled in probed]) for name, head in heads.items()}
        with torch.no_grad():
            for places, batch, hidden in outputs(engine, decoded[refit_as].together, vocabulary):
                for name, head in heads.items():
                    logits = head(head.select(hidden, batch).float())
                    decoded[name].put(places, head.decode(logits, batch))
        rows = {name: of_head.of_each_set(engine) for name, of_head in decoded.items()}
        scores: list[Score] = []
        frames: list[pl.DataFrame] = []
        for number, labelled in enumerate(probed):
            for name in heads:
                metrics, frame = family(labelled.task).score(labelled, rows[name][number])
                where = (name, self.task.name, labelled.language)
                if name in with_examples:
                    frames.append(_for_bootstrap(frame, *where))
                else:
                    metrics = {self.task.metric: metrics[self.task.metric]}
                scores += scores_of(*where, metrics, labelled.table.num_rows, self.chances[number])
        return Probing(scores, pl.concat(frames))

    def _fit(self, engine: Engine, vocabulary: Vocabulary) -> tuple[Head, list[Head]]:
        """The refit head, and those fitted without each fold of the refit examples; all read raw features."""
        head = linear_head(self.task, engine.hidden_size)
        features, whole = self._features(engine, vocabulary, head)
        count = dimensions(len(np.unique(self.refit.example)), engine.hidden_size)
        projection, examples = examples_of(head, features, whole, folds(self.refit.example), count)
        heads = [
            raw_head(linear_head(self.task, engine.hidden_size), projection, weight, bias).to(engine.device).eval()
            for weight, bias in zip(*fit(examples)[:2], strict=True)
        ]
        return heads[-1], heads[:-1]

    def _features(self, engine: Engine, vocabulary: Vocabulary, head: Head) -> tuple[Tensor, Batch]:
        """The refit examples' features in the host's memory on every rank, [S, H] or [S, L, H], and all of them as one
        batch on the device."""
        whole = Batch.collate(self.refit, np.arange(len(self.refit)), vocabulary, engine.device)
        count, length = whole.mask.shape
        features = torch.zeros(
            (count, length, engine.hidden_size) if head.reads_tokens else (count, engine.hidden_size)
        )
        for units, batch, hidden in outputs(engine, self.refit, vocabulary):
            selected = head.select(hidden, batch).float().cpu()
            if head.reads_tokens:
                selected = F.pad(selected, (0, 0, 0, length - selected.shape[1]))
            features[torch.from_numpy(self.refit.sequences(units))] = selected
        return engine.sum_over_ranks(features), whole


def _for_bootstrap(frame: pl.DataFrame, measure: str, task: str, language: str) -> pl.DataFrame:
    """An example's score and weight, and what was measured on it."""
    return frame.select(
        measure=pl.lit(measure),
        task=pl.lit(task),
        language=pl.lit(language),
        example="example",
        score="score",
        weight="weight" if "weight" in frame.columns else pl.lit(1.0),
    )
