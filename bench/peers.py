"""The peers: Hugging Face's Trainer on the same network, examples and recipe, as XTREME's scripts and plain users run it.

Each is the Trainer as it comes (its optimizer, its dataloader, its clipping); only the padding and the order differ.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import (
    Trainer,
    TrainerCallback,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from trainers.data.tokenise import TokenisedSet
from trainers.scales import Shape
from trainers.stage import Recipe

PAD = 1


@dataclass(frozen=True)
class Peer:
    """One way of padding and ordering."""

    name: str
    pad_to_longest_allowed: bool = False
    """Every sequence to the recipe's `max_length`; otherwise to the longest of its batch."""
    sampling: str = "random"
    """The Trainer's `train_sampling_strategy`; `group_by_length` changes which examples meet in a batch."""


PEERS = (
    Peer("(a) HF Trainer, padded to the maximum", pad_to_longest_allowed=True),
    Peer("(b) HF Trainer, dynamic padding"),
    Peer("(c) HF Trainer, group_by_length", sampling="group_by_length"),
)


@dataclass(frozen=True)
class Spent:
    """What one optimizer step took, data included."""

    tokens: int
    """Real ones."""
    processor_s: float
    """Of all threads of this process."""
    clock_s: float


def config_of(shape: Shape, labels: int) -> XLMRobertaConfig:
    """XLM-R's configuration at this size, its dropout included."""
    return XLMRobertaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.positions,
        type_vocab_size=1,
        pad_token_id=PAD,
        num_labels=labels,
        attn_implementation="sdpa",
    )


def train(
    peer: Peer, config: Any, examples: TokenisedSet, recipe: Recipe, steps: int, warmup_steps: int
) -> list[Spent]:
    """Train by the Trainer from random weights and time each step after the first `warmup_steps`."""
    torch.manual_seed(1)
    meter = _Meter()

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
            train_sampling_strategy=peer.sampling,
            length_column_name="length",
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            bf16=torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        model = XLMRobertaForSequenceClassification(config)
        Trainer(model, arguments, collate, Rows(examples), callbacks=[meter]).train()
    return meter.spent(warmup_steps)


class Rows(torch.utils.data.Dataset):
    """A `TokenisedSet` as the Trainer's map-style data set."""

    def __init__(self, examples: TokenisedSet) -> None:
        self.examples = examples
        self.column_names = ["input_ids", "label", "length"]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: Any) -> Any:
        if key == "length":  # the column that group_by_length reads
            return self.examples.sequence_lengths.tolist()
        sequence = self.examples.sequence(key)
        return {"input_ids": sequence, "label": int(self.examples.targets[key, 0]), "length": len(sequence)}


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
