"""Zero-shot evaluation in all languages, against Hugging Face's Trainer, which takes one language after another.

    python -m bench.evaluation > docs/benchmarks/evaluation.md                 # the sandbox, with sandbox-m
    python -m bench.evaluation --encoder FOLDER --mirror MIRROR

XNLI's test pairs in every language that the mirror holds, tokenised beforehand; one encoder and one classification
head for all ways.  The ways take turns, each in a process of its own with one thread; its processor time counts.  The
logits of all ways are compared.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.measured import measured
from bench.peers import Rows, padded
from bench.step import SEED, alone
from bench.ways import OURS, PEER_NAMES
from trainers.data.mirror import Mirror
from trainers.data.tokenise import load_tokenizer, rows
from trainers.families import family
from trainers.measure.evaluate import predict
from trainers.network.encoder import Vocabulary, load_encoder
from trainers.network.heads import build_head
from trainers.network.model import StageModel
from trainers.sandbox import write_mirror
from trainers.stage import Execution
from trainers.stage.recipes import recipe_for
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS
from trainers.tokens.sets import Lengths, TokenisedSet
from trainers.training.engine import make_engine, set_up_torch
from trainers.training.ranks import Ranks, connect

TASK = "xnli"
PADDED, DYNAMIC = PEER_NAMES["a"], PEER_NAMES["b"]
BATCH = 32
"""Examples that the Trainer evaluates at once; XTREME's scripts take 8."""


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation of all languages took."""

    processor_s: float
    logits: np.ndarray
    """[n, labels], language after language."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, default=SANDBOX_ENCODERS / "sandbox-m")
    parser.add_argument("--mirror", type=Path, help="real data; the sandbox's without")
    parser.add_argument("--examples", type=int, help="of each language; all without")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes below inherit it
    length = recipe_for("xtreme", "target", TASK).max_length
    sets = texts(asked.mirror, asked.encoder, asked.examples, length)
    found: dict[str, list[Evaluated]] = {PADDED: [], DYNAMIC: [], OURS: []}
    for _ in range(asked.rounds):
        found[PADDED].append(alone(by_trainer, asked.encoder, list(sets.values()), length))
        found[DYNAMIC].append(alone(by_trainer, asked.encoder, list(sets.values()), None))
        found[OURS].append(alone(ours, asked.encoder, list(sets.values())))
    print("\n".join(_page(asked, sets, length, found)))


def texts(mirror: Path | None, encoder: Path, examples: int | None, length: int) -> dict[str, TokenisedSet]:
    """The test pairs of each language."""
    task = TASKS[TASK]
    with tempfile.TemporaryDirectory() as scratch:
        if mirror is None:
            mirror = Path(scratch)
            write_mirror(mirror)
        source, tokenizer = Mirror(mirror), load_tokenizer(encoder)
        return {
            language: family(task).encode(
                task, rows(source, task, task.test, language, examples), tokenizer, Lengths(length, 0)
            )
            for language in task.languages
            if source.holds(task.test, language)
        }


class Classifier(nn.Module):
    """A padded encoder and our head, as the Trainer calls a model."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head_of(encoder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return {"logits": self.head(hidden[:, 0])}


def head_of(encoder: Any) -> Any:
    """The same random weights for every way."""
    torch.manual_seed(SEED)
    return build_head(TASKS[TASK], encoder.config, encoder.embeddings.word_embeddings)


def by_trainer(folder: Path, sets: list[TokenisedSet], length: int | None) -> Evaluated:
    """Each set by `Trainer.predict`, padded to `length` or, without one, to the longest of each batch."""
    from transformers import Trainer, TrainingArguments, XLMRobertaModel

    def collate(drawn: list[dict[str, Any]]) -> dict[str, Tensor]:
        return padded([row["input_ids"] for row in drawn], length or max(row["length"] for row in drawn))

    model = Classifier(XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa"))
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            per_device_eval_batch_size=BATCH,
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, collate)
        begun = time.process_time()
        logits = [trainer.predict(Rows(examples)).predictions for examples in sets]
        return Evaluated(time.process_time() - begun, np.concatenate(logits))


def ours(folder: Path, sets: list[TokenisedSet]) -> Evaluated:
    """All sets by the engine, as a stage evaluates."""
    ranks, execution = Ranks(), Execution()
    connect(ranks)
    set_up_torch(execution)
    encoder: Any = load_encoder(folder, execution)
    vocabulary = Vocabulary(np.unique(np.concatenate([one.ids for one in sets])), encoder.config.vocab_size)
    head = head_of(encoder)
    vocabulary.trim(encoder)
    engine = make_engine(StageModel(encoder, {TASK: head}), None, execution, ranks)
    begun = time.process_time()
    logits = predict(engine, TASK, sets, vocabulary)
    spent = time.process_time() - begun
    engine.close()
    return Evaluated(spent, np.concatenate(logits))


def _page(
    asked: argparse.Namespace, sets: dict[str, TokenisedSet], length: int, found: dict[str, list[Evaluated]]
) -> list[str]:
    lengths = np.concatenate([one.lengths for one in sets.values()])
    seconds = {way: np.array([one.processor_s for one in rounds]) for way, rounds in found.items()}
    reference = found[PADDED][0].logits
    command = "python -m bench.evaluation" + (" --encoder FOLDER --mirror MIRROR" if asked.mirror else "")
    lines = [
        f"# Zero-shot evaluation of {asked.encoder.name} on XNLI in {len(sets)} languages, on a CPU",
        "",
        f"{measured(command, 'torch', 'transformers')}; one thread.  ",
        f"{len(lengths):,} pairs of {lengths.mean():.1f} real tokens (longest {lengths.max()}): padded to {length} "
        f"they are {length / lengths.mean():.2f} times as many. The Trainer takes {BATCH} pairs at once.",
        "",
        "| way | real tokens a processor-s | processor-s, each round | logits differ by at most | ours, times |",
        "|---|--:|--:|--:|--:|",
    ]
    for way, rounds in found.items():
        difference = max(float(np.abs(one.logits - reference).max()) for one in rounds)
        each = ", ".join(f"{one:.1f}" for one in seconds[way])
        lines.append(
            f"| {way} | {lengths.sum() / seconds[way].mean():,.0f} | {each} | {difference:.1g} |"
            f" {seconds[way].mean() / seconds[OURS].mean():.2f} |"
        )
    return lines


if __name__ == "__main__":
    main()
