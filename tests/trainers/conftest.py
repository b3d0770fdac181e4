"""Tiny encoders of both architectures with random weights, and the sandbox's data; each made once per session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.stages import STEPS, Work, plan_stages, run_on_ranks
from trainers.data.mirror import Mirror
from trainers.stage import Execution, Stage
from trainers.stage.scales import SANDBOX_ENCODERS, Shape, locate
from trainers.store import StageEntry, Store

STILL_EXECUTIONS = {
    "many batches": Execution(micro_batch_tokens=256),
    "one batch, ZeRO-3": Execution(micro_batch_tokens=8192, zero_stage=3),
}
"""How the still stages are evaluated on two ranks: in the second way a rank has nothing to do."""
SHARDINGS = {
    **{f"zero{stage}": Execution(zero_stage=stage, checkpoint_every_s=1e9) for stage in range(4)},
    "offload": Execution(zero_stage=3, offload=True, checkpoint_every_s=1e9),
}
"""Every way to share the states, by the name that stores have for it."""
BF16 = ("zero1", "zero3", "offload")
"""Those that two ranks train in bf16 as well."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="session")
def mirror(sandbox: Path) -> Mirror:
    return Mirror(sandbox)


@pytest.fixture(scope="session")
def encoder_folder(shared: Callable[..., Path]) -> Callable[..., Path]:
    """`encoder_folder("post" or "pre", dropout=…)`: 2 layers × 32 hidden, saved as a Hugging Face folder."""

    def make(layer_norm: str = "post", dropout: float = 0.1) -> Path:
        shape = sandbox_shape(layers=2, hidden=32, heads=2, feed_forward=64, layer_norm=layer_norm)
        name = f"tiny-{layer_norm}"
        return shared(f"{layer_norm}-{dropout}", lambda folder: save_encoder(folder / name, shape, dropout)) / name

    return make


def sandbox_shape(**changes: Any) -> Shape:
    """A shape with the vocabulary and positions of the sandbox, whose tokenizer `save_encoder` puts beside it."""
    return replace(locate("sandbox-s").shape, **changes)


def save_encoder(folder: Path, shape: Shape, dropout: float) -> Path:
    """A Hugging Face folder with random weights and the sandbox's tokenizer."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaXLConfig, XLMRobertaXLModel

    config_class, model_class = {
        "post": (XLMRobertaConfig, XLMRobertaModel),
        "pre": (XLMRobertaXLConfig, XLMRobertaXLModel),
    }[shape.layer_norm]
    config = config_class(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=(0.32 / shape.hidden) ** 0.5,  # sums over the width stay as large at any width
    )
    torch.manual_seed(len(shape.layer_norm))
    model_class(config, add_pooling_layer=False).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(SANDBOX_ENCODERS / "sandbox-s" / name, folder / name)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def arm(mirror: Mirror, encoder_folder: Callable[..., Path]) -> tuple[Stage, ...]:
    """MNLI, then PAWS-X from it with probes in two languages; with dropout, so that random states matter."""
    return plan_stages(mirror, encoder_folder("post"))


@pytest.fixture(scope="session")
def still_stages(mirror: Mirror, encoder_folder: Callable[..., Path]) -> tuple[Stage, ...]:
    """Stages that evaluate everything but in effect learn nothing (their learning rate is lost in rounding), so that
    what they measure can be compared exactly between numbers of ranks."""
    span = plan_stages(mirror, encoder_folder("pre"), "none", "xquad", learning_rate=1e-30, max_steps=2)
    retrieval = [plan_stages(mirror, encoder_folder("pre"), "none", target)[-1] for target in ("tatoeba", "bucc")]
    probed = plan_stages(mirror, encoder_folder("post"), "mnli+squad+ccg", "pawsx", learning_rate=1e-30, max_steps=2)
    return (*span, *retrieval, *probed)


@pytest.fixture(scope="session")
def two_ranks(
    shared: Callable[..., Path],
    mirror: Mirror,
    encoder_folder: Callable[..., Path],
    arm: tuple[Stage, ...],
    still_stages: tuple[Stage, ...],
) -> TwoRanks:
    """Everything that tests need to have been run on two ranks, in one start of two processes."""
    # The gradient of key biases is 0 but for rounding; RoBERTa's epsilon keeps Adam from making it large.
    settings = {"weight_decay": 0.1, "gradient_clipping": 0.5, "adam_epsilon": 1e-6}
    calm = {
        layer_norm: plan_stages(mirror, encoder_folder(layer_norm, dropout=0.0), **settings)[0]
        for layer_norm in ("post", "pre")
    }

    def run_all(root: Path) -> None:
        run_on_ranks(root / "ranks", 2, _works(root, mirror, arm, still_stages, calm))

    return TwoRanks(shared("two-ranks", run_all), calm)


def _works(
    root: Path, mirror: Mirror, arm: tuple[Stage, ...], still_stages: tuple[Stage, ...], calm: dict[str, Stage]
) -> list[Work]:
    works = [Work(stage, root / "undisturbed", mirror.root) for stage in arm]
    for name, execution in STILL_EXECUTIONS.items():
        works += [Work(stage, root / name, mirror.root, execution) for stage in still_stages]
    for name, sharding in SHARDINGS.items():
        execution = sharding.model_copy(update={"micro_batch_tokens": 256})
        for layer_norm, stage in calm.items():
            works.append(Work(stage, root / f"{name}-{layer_norm}", mirror.root, execution))
            stopped = root / f"stopped-{name}-{layer_norm}"
            works.append(Work(stage, stopped, mirror.root, execution, stop_at=STEPS // 2))
            if name in BF16:
                bf16 = execution.model_copy(update={"precision": "bf16"})
                works.append(Work(stage, root / f"bf16-{name}-{layer_norm}", mirror.root, bf16))
    return works


@dataclass
class TwoRanks:
    """The stores that two ranks filled together."""

    root: Path
    calm: dict[str, Stage]
    """The stage without dropout that was trained under every sharding, by LayerNorm placement."""

    def entry(self, store: str, stage: Stage) -> StageEntry:
        return Store(self.root / store).entry(stage.key)
