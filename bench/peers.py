"""The peers: Hugging Face's Trainer on the same network, examples and recipe, as plain users run it.

Each is the Trainer as it comes (its optimizer, its dataloader, its clipping); only the padding and the order differ.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from bench.ways import PEER_NAMES
from trainers.stage import Recipe
from trainers.tokens.sets import TokenisedSet
from trainers.training.batches import batch

PAD = 1
MEGA_BATCHES = 50
"""Batches that `LengthGroupedSampler` sorts together at the most."""


@dataclass(frozen=True)
class Peer:
    """One way of padding and ordering."""

    name: str
    pad_to_longest_allowed: bool = False
    """Every sequence to the recipe's `max_length`; otherwise to the longest of its batch."""
    grouped: bool = False
    """The Trainer's `group_by_length`, which changes which examples meet in a batch."""
    zero_stage: int | None = None
    """Through DeepSpeed, with this much sharded."""

    def order(self, examples: TokenisedSet, seed: int, steps: int, batch_size: int) -> np.ndarray:
        """[steps × batch_size] examples in the order of training: the recipe's batches, the same as ours.

        Or grouped by length as the Trainer's sampler does it, in 50 batches at a time from the longest to the shortest:
        of the first 50 so many at equal distances, or a short run would see the long ones alone.
        """
        if not self.grouped:
            return np.concatenate([batch(seed, step, len(examples), batch_size) for step in range(steps)])
        generator = torch.Generator().manual_seed(seed)
        sampler = LengthGroupedSampler(batch_size, lengths=examples.lengths.tolist(), generator=generator)
        batches = np.fromiter(sampler, np.int64)[: MEGA_BATCHES * batch_size].reshape(-1, batch_size)
        return batches[(2 * np.arange(steps) + 1) * len(batches) // (2 * steps)].reshape(-1)


PEERS = (
    Peer(PEER_NAMES["a"], pad_to_longest_allowed=True),
    Peer(PEER_NAMES["b"]),
    Peer(PEER_NAMES["c"], grouped=True),
)
SHARDED = Peer(PEER_NAMES["d"], zero_stage=2)


@dataclass(frozen=True)
class Spent:
    """What one optimizer step took, data included."""

    tokens: int
    """Real ones."""
    processor_s: float
    """Of all threads of this process."""
    clock_s: float


def train(
    peer: Peer, config: Any, examples: TokenisedSet, recipe: Recipe, seed: int, steps: int, warmup_steps: int
) -> list[Spent]:
    """Train by the Trainer from random weights and time each step after the first `warmup_steps`."""
    torch.manual_seed(seed)
    meter = _Meter()
    order = peer.order(examples, seed, steps, recipe.batch_size)
    order = np.concatenate([order[: warmup_steps * recipe.batch_size], order])

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = recipe.max_length if peer.pad_to_longest_allowed else max(row["length"] for row in rows)
        meter.drawn.append(sum(row["length"] for row in rows))
        return padded([row["input_ids"] for row in rows], longest) | {
            "labels": torch.tensor([row["label"] for row in rows])
        }

    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.gradient_clipping,
            adam_beta1=recipe.adam_betas[0],
            adam_beta2=recipe.adam_betas[1],
            adam_epsilon=recipe.adam_epsilon,
            max_steps=steps + warmup_steps,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            bf16=torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            deepspeed=None if peer.zero_stage is None else _deepspeed_config(peer.zero_stage),
        )
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):  # on the CPU, XL's weights take minutes
            model = AutoModelForSequenceClassification.from_config(config)
        trainer = Trainer(model, arguments, collate, Rows(examples.take(order)), callbacks=[meter])
        with contextlib.redirect_stdout(sys.stderr):  # it prints a summary
            trainer.train()
    return meter.spent(warmup_steps)


def _deepspeed_config(zero_stage: int) -> dict[str, Any]:
    """As the Trainer's documentation gives it: the Trainer fills in what is `auto`."""
    return {
        "zero_optimization": {"stage": zero_stage},
        "bf16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
    }


class Rows(torch.utils.data.Dataset):
    """A `TokenisedSet` as the Trainer's map-style data set."""

    def __init__(self, examples: TokenisedSet) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> dict[str, Any]:
        sequence = self.examples.sequence(place)
        return {"input_ids": sequence, "label": int(self.examples.targets[place, 0]), "length": len(sequence)}


def padded(sequences: list[np.ndarray], length: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, [b, length]."""
    ids = torch.full((len(sequences), length), PAD)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(sequence.astype(np.int64))
        mask[row, : len(sequence)] = 1
    return {"input_ids": ids, "attention_mask": mask}


class _Meter(TrainerCallback):
    """Notes the clocks when a step ends; from one end to the next lies a whole step, its data included."""

    def __init__(self) -> None:
        self.drawn: list[int] = []
        """Real tokens of each batch, in the order in which they are trained on."""
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append((time.process_time(), time.perf_counter()))

    def spent(self, warmup_steps: int) -> list[Spent]:
        clocks = np.diff(np.array(self.ends), axis=0)[warmup_steps - 1 :]
        drawn = self.drawn[warmup_steps : len(self.ends)]
        return [Spent(tokens, *map(float, clock)) for tokens, clock in zip(drawn, clocks, strict=True)]
