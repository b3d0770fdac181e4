"""One rank that builds real engines and says what they hold.

RANK=… WORLD_SIZE=… python -m bench.engine_memory JOBS OUT        # bench/held.py does this

JOBS is a JSON list of {shape, execution}; OUT gets a list of bytes, from rank 0.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from bench.gpu.model import SEED, TASK, build_model, random_examples
from trainers.network.encoder import Vocabulary
from trainers.stage import Execution
from trainers.stage.recipes import recipe_for
from trainers.stage.scales import Shape
from trainers.training.batches import batch
from trainers.training.engine import make_engine
from trainers.training.ranks import Ranks, connect, disconnect

EXAMPLES_A_STEP = 4


def main(jobs: Path, out: Path) -> None:
    torch.set_num_threads(1)
    ranks = Ranks.from_environment()
    connect(ranks)
    found = [held(Shape(**job["shape"]), Execution(**job["execution"]), ranks) for job in json.loads(jobs.read_text())]
    if ranks.first:
        out.write_text(json.dumps(found))
    disconnect()
    sys.stdout.flush()
    os._exit(0)  # a gloo thread that still lives now and then aborts the process (tests/trainers/worker.py)


def held(shape: Shape, execution: Execution, ranks: Ranks) -> int:
    """Bytes of weights, gradients and Adam states of the rank that holds the most, after two steps."""
    recipe = recipe_for("xtreme", "target", TASK).model_copy(update={"batch_size": EXAMPLES_A_STEP})
    model = build_model(shape, torch.device("cpu"), activation_checkpointing=False)
    engine = make_engine(model, recipe, execution, ranks)
    examples, vocabulary = random_examples(shape.vocabulary), Vocabulary(None, shape.vocabulary)
    for step in range(2):
        drawn = examples.take(batch(SEED, step, len(examples), EXAMPLES_A_STEP))
        engine.step(drawn, TASK, (SEED, step), vocabulary, recipe.learning_rate)
    found = engine.peak_memory_bytes()
    engine.close()
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
