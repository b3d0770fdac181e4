"""How cost grows: a step with sequence length, batch and scale, evaluation with languages, planning with stages.

    python -m bench.growth docs/figures > docs/benchmarks/growth.md      # the numbers, and growth.png and growth.svg

On one thread of a CPU, random weights and tokens, and a small vocabulary as if the rest were trimmed; base has all
of its layers.  Processor-seconds, the least of the repetitions.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.report.figures.drawing import Drawing
from analysis.report.figures.vegalite import OKABE_ITO, SHAPES, field, named
from analysis.report.figures.views import View
from bench.gpu.model import config_of, random_encoder
from bench.measured import measured
from bench.submit import study
from launch.study.plan import make_plan
from trainers.measure.evaluate import predict
from trainers.network.encoder import Vocabulary
from trainers.network.heads import build_head
from trainers.network.model import StageModel
from trainers.stage import Execution
from trainers.stage.recipes import recipe_for
from trainers.stage.scales import KNOWN, SANDBOX, Shape, locate
from trainers.tasks import TASKS
from trainers.tokens.sets import TokenisedSet
from trainers.training.engine import make_engine, set_up_torch
from trainers.training.ranks import Ranks, connect

TASK = "mnli"
SCALE = "sandbox-m"
SCALES = (*SANDBOX, "base")
VOCABULARY = 2000
LENGTHS, LENGTH = (16, 32, 64, 128, 256, 512), 32
BATCHES, BATCH = (4, 16, 64, 256), 16
LANGUAGES, SENTENCES = (1, 5, 15, 40), 200
SEEDS = (1, 10, 100)
REPETITIONS = 3
FORWARD_AND_BACKWARD = 3
"""Times the operations of a forward pass."""

MEASURED, PROPORTION = "measured", "in proportion to the operations, or to the count"


@dataclass(frozen=True)
class Growth:
    """One cost over one quantity."""

    over: str
    of: str
    points: list[tuple[float, float]]
    reference: tuple[float, ...]
    """What the cost would be in proportion to at each point: operations, or the quantity itself."""


def main(folder: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    connect(Ranks())
    set_up_torch(Execution(threads=1))
    with Bench(shape_of(SCALE)) as bench:
        found = [
            growth_of_a_step("tokens a sequence", bench, [(BATCH, length) for length in LENGTHS], LENGTHS),
            growth_of_a_step("sequences a batch", bench, [(batch, LENGTH) for batch in BATCHES], BATCHES),
            growth_with_scale(),
            growth_with_languages(bench),
        ]
    found.append(growth_with_stages())
    draw(found, folder)
    print("\n".join(_page(found)))


def shape_of(scale: str) -> Shape:
    return KNOWN[scale].shape if scale in KNOWN else locate(scale).shape


class Bench:
    """An engine with random weights and a vocabulary of `VOCABULARY`."""

    def __init__(self, shape: Shape) -> None:
        self.shape = replace(shape, vocabulary=VOCABULARY, positions=max(*LENGTHS, LENGTH) + 2)
        encoder = random_encoder(config_of(self.shape, len(TASKS[TASK].labels)), torch.device("cpu"))
        head = build_head(TASKS[TASK], encoder.config, encoder.embeddings.word_embeddings)
        self.vocabulary = Vocabulary(None, VOCABULARY)
        self.recipe = recipe_for("xtreme", "target", TASK)
        execution = Execution(micro_batch_tokens=max(BATCHES) * LENGTH)
        self.engine = make_engine(StageModel(encoder, {TASK: head}), self.recipe, execution, Ranks())

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: Any) -> None:
        self.engine.close()

    def step(self, sequences: int, length: int) -> float:
        """Processor-seconds of a training step."""
        examples = random_examples(sequences, length)
        return least(lambda: self.engine.step(examples, TASK, (1, 0), self.vocabulary, self.recipe.learning_rate))

    def flops(self, sequences: int, length: int) -> float:
        """Of the layers, forward and backward: products with weights, and of queries, keys and values."""
        shape = self.shape
        a_token = 2 * shape.non_embedding_parameters + 4 * shape.layers * shape.hidden * length
        return float(FORWARD_AND_BACKWARD * sequences * length * a_token)


def random_examples(sequences: int, length: int) -> TokenisedSet:
    """Sequences of random tokens, all equally long, with random labels."""
    random = np.random.default_rng(1)
    ids = random.integers(4, VOCABULARY, (sequences, length)).tolist()
    labels = [(int(label),) for label in random.integers(0, len(TASKS[TASK].labels), sequences)]
    return TokenisedSet.from_lists(ids, labels, list(range(sequences)))


def least(work: Callable[[], Any]) -> float:
    """Processor-seconds of the fastest of a few, after one that does not count."""
    spent = []
    for _ in range(1 + REPETITIONS):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return min(spent[1:])


def growth_of_a_step(over: str, bench: Bench, sizes: Iterable[tuple[int, int]], at: tuple[int, ...]) -> Growth:
    taken = [(bench.step(*size), bench.flops(*size)) for size in sizes]
    points = [(float(x), seconds) for x, (seconds, _) in zip(at, taken, strict=True)]
    return Growth(over, f"a step of {SCALE}", points, tuple(flops for _, flops in taken))


def growth_with_scale() -> Growth:
    points, operations = [], []
    for scale in SCALES:
        with Bench(shape_of(scale)) as bench:
            points.append((float(bench.shape.non_embedding_parameters), bench.step(BATCH, LENGTH)))
            operations.append(bench.flops(BATCH, LENGTH))
    return Growth("parameters in layers", "a step of each scale", points, tuple(operations))


def growth_with_languages(bench: Bench) -> Growth:
    points = []
    for count in LANGUAGES:
        sets = [random_examples(SENTENCES, LENGTH) for _ in range(count)]
        points.append((float(count), least(partial(predict, bench.engine, TASK, sets, bench.vocabulary))))
    return Growth("languages", f"evaluating {SENTENCES} a language", points, LANGUAGES)


def growth_with_stages() -> Growth:
    points = []
    for seeds in SEEDS:
        with tempfile.TemporaryDirectory() as scratch:
            sweep = study(Path(scratch), seeds)
            points.append((float(len(make_plan(sweep).stages)), least(partial(make_plan, sweep))))
    return Growth("stages", "planning", points, tuple(stages for stages, _ in points))


def draw(found: list[Growth], folder: Path) -> None:
    """One panel each, both axes logarithmic."""
    rows = [
        {"k": f"{growth.of}, over {growth.over}", "x": x, "v": value, "what": what}
        for growth in found
        for (x, seconds), reference in zip(growth.points, growth.reference, strict=True)
        for what, value in (
            (MEASURED, seconds),
            (PROPORTION, reference * growth.points[-1][1] / growth.reference[-1]),
        )
    ]
    logarithmic = {"type": "log", "nice": False}
    what = [MEASURED, PROPORTION]
    channels = {
        "x": field("x", "", scale=logarithmic, axis={"format": "~s", "tickCount": 4}),
        "y": field("v", "processor-seconds", scale=logarithmic, axis={"format": "~g", "tickCount": 4}),
        "color": named("what", "", what, OKABE_ITO),
    }
    layers = [
        {"mark": "line", "encoding": {**channels, "strokeDash": named("what", "", what, ([1, 0], [4, 3]))}},
        {
            "transform": [{"filter": f"datum.what === '{MEASURED}'"}],
            "mark": {"type": "point", "filled": True, "size": 40, "shape": SHAPES[0]},
            "encoding": channels,
        },
    ]
    panels = list(dict.fromkeys(row["k"] for row in rows))
    independent = {"x": "independent", "y": "independent"}
    view = View(
        "growth",
        "cost over its causes, on one processor thread",
        "",
        rows,
        layers,
        panels,
        columns=3,
        independent=independent,
    )
    for name, spec in view.sheets("retain", ""):
        Drawing(name, view.caption, spec).save(folder)


def _page(found: list[Growth]) -> list[str]:
    lines = [
        "# How cost grows, on a CPU",
        "",
        f"{measured('python -m bench.growth docs/figures', 'torch')}; one thread.  ",
        f"{SCALE}, {BATCH} sequences of {LENGTH} tokens, unless that grows; the scales are {', '.join(SCALES)}. "
        "The power is that of the last two points.",
    ]
    for growth in found:
        lines += [
            "",
            f"## {growth.of}, over {growth.over}",
            "",
            f"| {growth.over} | processor-s | times in proportion |",
        ]
        lines.append("|--:|--:|--:|")
        last = growth.points[-1][1] / growth.reference[-1]
        lines += [
            f"| {x:,.0f} | {seconds:.4f} | {seconds / (last * reference):.2f} |"
            for (x, seconds), reference in zip(growth.points, growth.reference, strict=True)
        ]
        (x0, y0), (x1, y1) = growth.points[-2:]
        lines += ["", f"Power {np.log(y1 / y0) / np.log(x1 / x0):.2f}."]
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
