"""Real tokens per processor-second of a training step, against Hugging Face's Trainer on the same work.

    python -m bench.step base --mirror MIRROR --tokenizer FOLDER > docs/benchmarks/step-base.md
    python -m bench.step sandbox-m > docs/benchmarks/step-sandbox-m.md

The scale's real configuration with random weights is trained on MNLI's training pairs, which are XNLI's: the mirror's,
or without one the sandbox's.  The ways take turns, each in a process of its own with one thread; its processor time
counts, as other work on the machine disturbs the clock more.  Ours keeps the embedding rows of MNLI's training texts
and XNLI's tests in every language, and of a mirror that holds only a part of them at least `--rows`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from bench.gpu.model import config_of, random_encoder
from bench.measured import measured
from bench.peers import PEERS, Spent, train
from bench.ways import OURS
from trainers.data.mirror import Mirror
from trainers.data.tokenise import load_tokenizer, rows
from trainers.families import family
from trainers.network.encoder import Vocabulary
from trainers.network.heads import build_head
from trainers.network.model import StageModel
from trainers.sandbox import write_mirror
from trainers.stage import Execution, Recipe
from trainers.stage.languages import ENGLISH
from trainers.stage.recipes import recipe_for
from trainers.stage.scales import KNOWN, SANDBOX, SANDBOX_ENCODERS, Shape, locate
from trainers.tasks import TASKS
from trainers.tokens.sets import Lengths, TokenisedSet
from trainers.training.batches import batch
from trainers.training.engine import make_engine, set_up_torch
from trainers.training.ranks import Ranks, connect

TASK, TESTED = "mnli", "xnli"
SEED = 1
WARMUP_STEPS = 1
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scale", choices=(*KNOWN, *SANDBOX))
    parser.add_argument("--mirror", type=Path, help="real data; the sandbox's without")
    parser.add_argument("--tokenizer", type=Path, help="folder with the scale's tokenizer.json")
    parser.add_argument("--rows", type=int, default=0, help="embedding rows that ours keeps at the least")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each way and round")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes below inherit it
    shape = KNOWN[asked.scale].shape if asked.scale in KNOWN else locate(asked.scale).shape
    recipe = recipe_for("xtreme" if asked.scale in KNOWN else "sandbox", "target", TASK)
    examples, used = texts(asked.mirror, asked.tokenizer or SANDBOX_ENCODERS / asked.scale, recipe)
    vocabulary = Vocabulary(at_least(used, asked.rows), shape.vocabulary)
    config = config_of(shape, len(TASKS[TASK].labels))
    spent: dict[str, list[list[Spent]]] = {name: [] for name in (*(peer.name for peer in PEERS), OURS)}
    for _ in range(asked.rounds):
        for peer in PEERS:
            spent[peer.name].append(alone(train, peer, config, examples, recipe, SEED, asked.steps, WARMUP_STEPS))
        spent[OURS].append(alone(ours, config, vocabulary, examples, recipe, asked.steps))
    print("\n".join(_page(asked.scale, shape, recipe, vocabulary, examples, spent)))


def alone(work: Callable[..., Result], *arguments: Any) -> Result:
    """Call it in a new process, which no other way has warmed up, filled or connected."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def texts(mirror: Path | None, tokenizer_folder: Path, recipe: Recipe) -> tuple[TokenisedSet, np.ndarray]:
    """MNLI's training pairs, and every token id that they and XNLI's tests hold."""
    with tempfile.TemporaryDirectory() as scratch:
        if mirror is None:
            mirror = Path(scratch)
            write_mirror(mirror)
        source, tokenizer = Mirror(mirror), load_tokenizer(tokenizer_folder)
        lengths = Lengths(recipe.max_length, recipe.doc_stride)

        def read(name: str, split: Any, language: str) -> TokenisedSet:
            task = TASKS[name]
            return family(task).encode(task, rows(source, task, split, language, None), tokenizer, lengths)

        trained = read(TASK, TASKS[TASK].train, ENGLISH)
        test = TASKS[TESTED].test
        tests = [read(TESTED, test, language) for language in TASKS[TESTED].languages if source.holds(test, language)]
    return trained, np.unique(np.concatenate([one.ids for one in (trained, *tests)]))


def at_least(used: np.ndarray, count: int) -> np.ndarray:
    """The ids, and the first others until there are `count`."""
    others = np.setdiff1d(np.arange(used.max() + count + 1), used)
    return np.union1d(used, others[: max(0, count - len(used))])


def ours(config: Any, vocabulary: Vocabulary, examples: TokenisedSet, recipe: Recipe, steps: int) -> list[Spent]:
    """The same training by the engine, on the recipe's own batches."""
    ranks = Ranks()
    connect(ranks)
    set_up_torch(Execution())
    encoder = random_encoder(config, torch.device("cpu"))
    head = build_head(TASKS[TASK], encoder.config, encoder.embeddings.word_embeddings)
    vocabulary.trim(encoder)
    engine = make_engine(StageModel(encoder, {TASK: head}), recipe, Execution(), ranks)
    found = []
    for step in (*range(WARMUP_STEPS), *range(steps)):
        processor, clock = time.process_time(), time.perf_counter()
        drawn = examples.take(batch(SEED, step, len(examples), recipe.batch_size))
        done = engine.step(drawn, TASK, (SEED, step), vocabulary, recipe.learning_rate)
        found.append(Spent(done.tokens, time.process_time() - processor, time.perf_counter() - clock))
    engine.close()
    return found[WARMUP_STEPS:]


def rate(steps: list[Spent]) -> float:
    """Real tokens per processor-second."""
    return sum(step.tokens for step in steps) / sum(step.processor_s for step in steps)


def _page(
    scale: str,
    shape: Shape,
    recipe: Recipe,
    vocabulary: Vocabulary,
    examples: TokenisedSet,
    spent: dict[str, list[list[Spent]]],
) -> list[str]:
    mean = {name: rate([step for steps in rounds for step in steps]) for name, rounds in spent.items()}
    lines = [
        f"# A training step of {scale}, on a CPU",
        "",
        f"{measured(f'python -m bench.step {scale}', 'torch', 'transformers')}; one thread.  ",
        f"{len(examples):,} pairs of {examples.lengths.mean():.1f} tokens (deviation {examples.lengths.std():.1f}, "
        f"longest {examples.lengths.max()}); batch {recipe.batch_size}, maximum {recipe.max_length}; "
        f"{len(vocabulary):,} of {shape.vocabulary:,} embedding rows kept by ours.",
        "",
        "| way | real tokens a processor-second | each round | processor-s a step | real tokens a step | ours, times |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, rounds in spent.items():
        steps = [step for one in rounds for step in one]
        lines.append(
            f"| {name} | {mean[name]:,.1f} | {', '.join(f'{rate(one):,.1f}' for one in rounds)} |"
            f" {np.mean([step.processor_s for step in steps]):.4f} | {np.mean([step.tokens for step in steps]):,.0f} |"
            f" {mean[OURS] / mean[name]:.2f} |"
        )
    return lines


if __name__ == "__main__":
    main()
