"""Pre-train the sandbox's three encoders, the way the shipped folders beside this file were made.

    OMP_NUM_THREADS=1 python -m bench.pretraining OUT_DIR             # about 70 minutes on one core
    OMP_NUM_THREADS=1 python -m bench.pretraining OUT_DIR --steps 150 # a quick, weak set

One tokeniser, then three encoders of XLM-R's architecture, trained by masked language modelling on the same batches
for the same number of steps: what differs between the scales is the scale alone.

Given the tokeniser, a run repeats itself on the same machine.  The tokeniser's own trainer does not (it sums in the
order of a hash map), so a second run gives slightly different pieces; the shipped folders are one such run.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from bench.pretraining_text import MAX_TOKENS, SPECIAL_TOKENS, documents, train_tokeniser

SEED = 20261122
STEPS = 18_000
BATCH_TOKENS = 1024
MASKED_SHARE = 0.2
MATRIX_LEARNING_RATE = 5e-3  # of the layers' matrices, by Muon
LEARNING_RATE = 4e-3  # of all else, by AdamW
WARM_UP_SHARE = 0.02
WEIGHT_DECAY = 0.01
DROPOUT = 0.0  # of the saved configuration: neither here nor in trainings of a few dozen steps is text seen often


@dataclass(frozen=True)
class Shape:
    """One scale's architecture; the feed-forward layer is four times the hidden size, as in XLM-R."""

    layers: int
    hidden: int
    heads: int


SHAPES = {"sandbox-s": Shape(2, 32, 4), "sandbox-m": Shape(2, 48, 4), "sandbox-l": Shape(3, 80, 4)}

# --- batches ---------------------------------------------------------------------------------------------------------


def make_batches(tokeniser: PreTrainedTokenizerFast, steps: int, seed: int = SEED) -> list[torch.Tensor]:
    """`steps` batches of about BATCH_TOKENS real tokens and no padding: each holds sequences of one length only.

    Returns int64 tensors (sequences, length), in a seeded order; no document comes twice.
    """
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    batches: list[torch.Tensor] = []
    source = documents(seed)
    while len(batches) < steps:
        chunk = [next(source) for _ in range(1000)]
        encoded = tokeniser.backend_tokenizer.encode_batch([text if len(text) == 2 else text[0] for text in chunk])
        for ids in (encoding.ids for encoding in encoded):
            if len(ids) > MAX_TOKENS:
                continue
            waiting = by_length[len(ids)]
            waiting.append(ids)
            if (len(waiting) + 1) * len(ids) > BATCH_TOKENS:
                batches.append(torch.tensor(waiting))
                by_length[len(ids)] = []
    batches = batches[:steps]
    Random(f"{seed}/batches").shuffle(batches)
    return batches


def masked(batch: torch.Tensor, mask_id: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's masking: of the chosen tokens 80 % become <mask>, 10 % a random piece, 10 % stay.

    Returns the corrupted ids and the boolean choice, both of the batch's shape.
    """
    draw = torch.rand(batch.shape, generator=generator)
    chosen = (draw < MASKED_SHARE) & (batch >= len(SPECIAL_TOKENS))
    noise = torch.randint(len(SPECIAL_TOKENS), mask_id, batch.shape, generator=generator)
    corrupted = torch.where(chosen & (draw < 0.8 * MASKED_SHARE), mask_id, batch)
    return torch.where(chosen & (draw >= 0.9 * MASKED_SHARE), noise, corrupted), chosen


# --- training --------------------------------------------------------------------------------------------------------


def build(shape: Shape, vocabulary: int) -> XLMRobertaForMaskedLM:
    config = XLMRobertaConfig(
        vocab_size=vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=4 * shape.hidden, max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1, layer_norm_eps=1e-5, hidden_dropout_prob=DROPOUT, attention_probs_dropout_prob=DROPOUT,
        bos_token_id=0, pad_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return XLMRobertaForMaskedLM(config)


def make_optimizers(model: XLMRobertaForMaskedLM) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan et al. 2024) for the layers' matrices, which here reaches AdamW's loss in half the steps; AdamW for
    embeddings, biases, norms and the language-model head."""
    matrices = [parameter for parameter in model.roberta.encoder.parameters() if parameter.ndim == 2]
    held = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in held]
    return (
        torch.optim.Muon(matrices, lr=MATRIX_LEARNING_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True),
    )


def mlm_loss(
    model: XLMRobertaForMaskedLM, batch: torch.Tensor, mask_id: int, generator: torch.Generator
) -> torch.Tensor:
    """Mean cross-entropy (nats) over the chosen tokens; the head sees only those, which saves most of its cost."""
    corrupted, chosen = masked(batch, mask_id, generator)
    hidden = model.roberta(corrupted).last_hidden_state
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]), batch[chosen])


def pretrain(
    name: str, batches: list[torch.Tensor], held_out: list[torch.Tensor], mask_id: int
) -> tuple[XLMRobertaForMaskedLM, dict[str, Any]]:
    """Train one scale on the batches; returns the model and what `training.json` says of it."""
    torch.manual_seed(SEED)
    model = build(SHAPES[name], mask_id + 1)
    optimizers = make_optimizers(model)
    warm_up = math.ceil(WARM_UP_SHARE * len(batches))
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm_up, (len(batches) - step) / (len(batches) - warm_up))
        )
        for optimizer in optimizers
    ]
    generator = torch.Generator().manual_seed(SEED)
    recent: deque[float] = deque(maxlen=100)
    started = time.monotonic()
    for step, batch in enumerate(batches, start=1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = mlm_loss(model, batch, mask_id, generator)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        recent.append(loss.item())
        if step % 100 == 0:
            pace = (time.monotonic() - started) / step
            print(f"{name} step {step} loss {sum(recent) / len(recent):.3f} {pace:.3f} s/step", flush=True)
    model.eval()
    generator.manual_seed(SEED + 1)
    with torch.no_grad():
        validation = [mlm_loss(model, batch, mask_id, generator).item() for batch in held_out]
    record = {
        "seed": SEED,
        "quick": len(batches) < STEPS,
        "steps": len(batches),
        "tokens": sum(batch.numel() for batch in batches),
        "seconds": round(time.monotonic() - started),
        "learning_rates": [MATRIX_LEARNING_RATE, LEARNING_RATE],
        "batch_tokens": BATCH_TOKENS,
        "masked_share": MASKED_SHARE,
        "mlm_loss_train_last_100_steps": round(sum(recent) / len(recent), 4),
        "mlm_loss_held_out": round(sum(validation) / len(validation), 4),
        "parameters": _count(model),
        "parameters_embeddings": _count(model.roberta.embeddings),
        "parameters_without_embeddings_and_lm_head": _count(model.roberta.encoder),
    }
    return model, record


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def save(
    model: XLMRobertaForMaskedLM, tokeniser: PreTrainedTokenizerFast, record: dict[str, Any], folder: Path
) -> None:
    """Write an ordinary Hugging Face folder with half-precision weights that load as float32 by default."""
    model.half().save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text()) | {"dtype": "float32"}
    config_file.write_text(json.dumps(config, indent=2) + "\n")
    (folder / "model.safetensors").chmod(0o644)  # written as 0600, which another user could not read
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="where the folders sandbox-s, sandbox-m and sandbox-l are written")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps, the same for every scale")
    parser.add_argument("--scales", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--tokeniser", type=Path, help="the folder of an encoder whose tokeniser is taken")
    arguments = parser.parse_args()
    known = arguments.tokeniser
    tokeniser = PreTrainedTokenizerFast.from_pretrained(known) if known else train_tokeniser(SEED)
    mask_id = tokeniser.mask_token_id
    batches = make_batches(tokeniser, arguments.steps)
    held_out = make_batches(tokeniser, 20, seed=SEED + 1)
    print(f"{mask_id + 1} pieces, {sum(batch.numel() for batch in batches)} tokens", flush=True)
    for name in arguments.scales:
        model, record = pretrain(name, batches, held_out, mask_id)
        print(json.dumps({name: record}), flush=True)
        save(model, tokeniser, record, arguments.out / name)


if __name__ == "__main__":
    main()
