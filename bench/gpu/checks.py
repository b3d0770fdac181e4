"""What must hold before a GPU's speed means anything: packed equals padded, and what is resumed equals what was not."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.gpu.measure import Job
from bench.gpu.model import SEED, TASK, build_model, config_of, random_examples
from trainers.network.batch import Batch
from trainers.network.encoder import Vocabulary
from trainers.network.model import StageModel
from trainers.stage import Execution
from trainers.stage.recipes import recipe_for
from trainers.stage.scales import Shape
from trainers.tasks import TASKS
from trainers.training import checkpoint
from trainers.training.batches import batch
from trainers.training.checkpoint import Saver
from trainers.training.engine import make_engine
from trainers.training.one_device import Graphs, OneDevice
from trainers.training.ranks import Ranks

SEQUENCES = 16
STEPS = 2
"""Before the checkpoint, and after it."""
FP32_TOLERANCE = 1e-4
"""Relative: rounding of sums in another order."""
BF16_TOLERANCE = 2e-2
"""Relative, of gradients that are rounded to 8 bits on the way."""
BF16_FACTOR = 2.0
"""Packed bf16 may be this many times as far from padded fp32 as padded bf16 is: both round."""


def check(job: Job, device: torch.device) -> dict[str, Any]:
    """Every check of one scale, with its numbers and whether it holds."""
    shape = Shape(**job.shape)
    # Kernels choose their precision; what is compared is packing.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = {"packed": packed_against_padded(shape, device)}
    torch.cuda.empty_cache()
    if device.type == "cuda":
        found["replayed"] = replayed_against_eager(shape, device)
        torch.cuda.empty_cache()
    if job.resumes:
        found["resumed"] = resumed(shape, device)
    return found


def packed_against_padded(shape: Shape, device: torch.device) -> dict[str, Any]:
    """How far states and gradients of a packed batch are from the padded ones, without dropout, in fp32 and bf16."""
    model = build_model(shape, device, activation_checkpointing=False).eval()
    examples = random_examples(shape.vocabulary).take(np.arange(SEQUENCES))
    vocabulary = Vocabulary(None, shape.vocabulary)
    one = Batch.collate(examples, np.arange(SEQUENCES), vocabulary, device)
    padded = hugging_face(model, shape)
    exact = states_and_gradients(padded, model, one)
    fp32 = distances(states_and_gradients(model.encoder, model, one), exact)
    model, padded = model.to(torch.bfloat16), padded.to(torch.bfloat16)
    allowed = distances(states_and_gradients(padded, model, one), exact)
    bf16 = distances(states_and_gradients(model.encoder, model, one), exact)
    return {
        "fp32": {**fp32, "allowed": FP32_TOLERANCE, "holds": max(fp32.values()) <= FP32_TOLERANCE},
        "bf16": {
            **bf16,
            "padded": allowed,
            "holds": all(bf16[name] <= BF16_FACTOR * allowed[name] for name in bf16),
        },
    }


def hugging_face(model: StageModel, shape: Shape) -> Any:
    """Transformers' encoder with the same weights."""
    from transformers import AutoModel

    device = next(model.parameters()).device
    with torch.device(device):
        padded = AutoModel.from_config(config_of(shape, len(TASKS[TASK].labels)), add_pooling_layer=False)
    padded.load_state_dict(model.encoder.state_dict())
    return padded.eval()


def states_and_gradients(encoder: Any, model: StageModel, one: Batch) -> tuple[Tensor, list[Tensor]]:
    """Last hidden states of the real tokens [N, H], and the gradient of the mean loss, in the order of parameters.

    Args:
        encoder: the model's, which gets the batch packed, or transformers', which gets it padded.
    """
    if encoder is model.encoder:
        assert one.packing is not None
        hidden = one.packing.restored(encoder(**one.packing.inputs(one.ids)).last_hidden_state)
    else:
        hidden = encoder(input_ids=one.ids, attention_mask=one.mask.long()).last_hidden_state
    head = model.head(TASK)
    head.losses(head(head.select(hidden, one)), one).mean().backward()
    parameters = [*encoder.parameters(), *head.parameters()]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for parameter in parameters:
        parameter.grad = None
    return hidden[one.mask].detach(), gradients


def replayed_against_eager(shape: Shape, device: torch.device) -> dict[str, Any]:
    """How far losses and gradients of an engine's first step with CUDA graphs are from those without, without dropout:
    products of other sizes round otherwise."""
    eager, replayed = (one_step(shape, device, graphs) for graphs in (False, True))
    found = distances(replayed, eager)
    return {**found, "allowed": BF16_TOLERANCE, "holds": max(found.values()) <= BF16_TOLERANCE}


def one_step(shape: Shape, device: torch.device, graphs: bool) -> tuple[Tensor, list[Tensor]]:
    """The loss of a step of two micro-batches of different shapes, and the clipped gradients that its optimizer got."""
    model = build_model(shape, device, False)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    recipe = recipe_for("xtreme", "target", TASK)
    execution = Execution(precision="bf16", micro_batch_tokens=512, graphs=graphs)
    engine = make_engine(model, recipe, execution, Ranks())
    examples, vocabulary = random_examples(shape.vocabulary), Vocabulary(None, shape.vocabulary)
    drawn = examples.take(batch(SEED, 0, len(examples), recipe.batch_size))
    report = engine.step(drawn, TASK, (SEED, 0), vocabulary, recipe.learning_rate)
    assert isinstance(engine, OneDevice)
    assert engine.masters is not None
    assert not graphs or (isinstance(engine.model.graphs, Graphs) and engine.model.graphs.recorded > 1)
    gradients = [master.grad.clone() for master in engine.masters.masters if master.grad is not None]
    engine.close()
    return torch.tensor([report.loss]), gradients


def distances(found: tuple[Tensor, list[Tensor]], exact: tuple[Tensor, list[Tensor]]) -> dict[str, float]:
    """Relative distances (of Euclidean norms) of states and of gradients."""
    return {
        "states": relative([found[0]], [exact[0]]),
        "gradients": relative(found[1], exact[1]),
    }


def relative(found: list[Tensor], exact: list[Tensor]) -> float:
    apart = sum(float((one.float() - other.float()).square().sum()) for one, other in zip(found, exact, strict=True))
    return (apart / sum(float(other.float().square().sum()) for other in exact)) ** 0.5


def resumed(shape: Shape, device: torch.device) -> dict[str, Any]:
    """Whether a run that is stopped, saved and loaded again ends with the same weights and states to the last bit."""
    with tempfile.TemporaryDirectory() as scratch:
        straight = trained(shape, device, range(STEPS), save_to=Path(scratch))
        (saved,) = checkpoint.complete(Path(scratch))
        again = trained(shape, device, range(STEPS, 2 * STEPS), load_from=saved)
    return {"steps": STEPS, "holds": straight == again}


def trained(
    shape: Shape, device: torch.device, steps: range, save_to: Path | None = None, load_from: Path | None = None
) -> str:
    """The digest of weights and states after `2 × STEPS` steps; a checkpoint is written on the way, or read first."""
    recipe, execution = recipe_for("xtreme", "target", TASK), Execution(precision="bf16")
    engine = make_engine(build_model(shape, device, False), recipe, execution, Ranks())
    examples, vocabulary = random_examples(shape.vocabulary), Vocabulary(None, shape.vocabulary)

    def train(numbers: Any) -> None:
        for step in numbers:
            drawn = examples.take(batch(SEED, step, len(examples), recipe.batch_size))
            engine.step(drawn, TASK, (SEED, step), vocabulary, recipe.learning_rate)

    if load_from is not None:
        assert checkpoint.load(engine, load_from) == steps.start
    train(steps)
    if save_to is not None:
        saver = Saver(engine, save_to, lambda: None, lambda _path: None)
        saver.begin(steps.stop)
        train(itertools.islice(itertools.count(steps.stop), STEPS))  # while it is written
        saver.wait()
        saver.close()
    digest = hashlib.sha256()
    for name, tensor in sorted(checkpoint.share_of(engine).items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    engine.close()
    return digest.hexdigest()
