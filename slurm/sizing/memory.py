"""The memory of one training step, term by term: what DeepSpeed 0.19 really holds, not what ZeRO's paper counts.

The engine (trainers.training.step) adds gradients up in fp32 beside bf16 weights, so each rank holds, per parameter:

    precision  ZeRO  weights  gradients              master and Adam   where it is written
    bf16       0     2        4 (fp32)               12                training/one_device.py; of several ranks as 1
    bf16       1     2        2 (bf16) + 4 (fp32)    12 / ranks        runtime/bf16_optimizer.py
    bf16       2     2        4 / ranks              12 / ranks        runtime/zero/stage_1_and_2.py
    bf16       3     2/ranks  4 / ranks              12 / ranks        runtime/zero/stage3.py
    fp32       0     4        4                      8                 torch.optim.AdamW
    fp32       1, 2  4        4 / ranks, and more    12 / ranks        the weights stand twice
    fp32       3     4/ranks  4 / ranks              12 / ranks

Before ZeRO-3 shards the weights, each GPU is given all of them (runtime/engine.py, `_configure_distributed_model`).
With offload, gradients, master and Adam of ZeRO-3 are in the host's memory.

bench/sizing.py measures these on the real engine; docs/benchmarks/sizing.md compares them with the published formulas
(16 bytes a parameter: Rajbhandari et al. 2020, arXiv 1910.02054), with DeepSpeed's estimators and with Megatron's
6 + 12 / ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["bf16", "fp32"]

BUCKET_ELEMENTS = 500_000_000
"""Of one collective at the most (trainers.training.sharded.LARGEST_BUCKET)."""
LIVE_ELEMENTS = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered at the most (DeepSpeed's `stage3_max_live_parameters`)."""
PERSISTENT_ELEMENTS = 100_000
"""Tensors up to this size ZeRO-3 leaves whole on every rank (`stage3_param_persistence_threshold`)."""
LOGIT_BYTES = 16
"""Of each output logit: bf16 and fp32 copies, log-softmax, and the gradients of both copies."""
CONTEXT_BYTES = 1 << 30
"""CUDA context, kernels and cuBLAS workspaces of one process: an estimate, as CUDA does not count it."""
COLLECTIVES_BYTES = 1 << 29
"""NCCL's channels, where there is more than one rank: an estimate."""
FRAGMENTATION = 0.04
"""Share of the allocated bytes that PyTorch's allocator reserves beyond them: an estimate."""
GRAPH_FILLING = 17 / 16
"""Tokens of a micro-batch replayed as a CUDA graph (trainers.training.one_device) over its real ones, at the most."""
GRAPH_SHAPES = 16
"""Graphs that a stage records, each with hidden states and their gradient of its own: an estimate."""
GRAPH_WORKSPACE_BYTES = 1 << 28
"""cuBLAS's for the streams of recording, measured (docs/benchmarks/gpu-h200)."""
HOST_LOAD_BYTES = 4
"""Per parameter and rank: each reads the whole encoder in fp32 before it is sharded (trainers.network.encoder)."""


@dataclass(frozen=True)
class ModelSize:
    """The counts that decide a network's memory."""

    body_parameters: int
    """Of the transformer's layers and all else that is no embedding, heads included."""
    embedding_rows: int
    """Rows of all embedding tables, as far as the vocabulary is kept."""
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    """Attention heads."""
    dropouts: int = 2
    """Dropout masks a layer keeps: after attention and after the feed-forward (XLM-R-XL has none there: 1)."""
    logits_per_token: float = 0.0
    """Outputs per token that are kept through the loss: vocabulary × share of masked tokens; 0 for a few classes."""

    def __post_init__(self) -> None:
        for name in ("body_parameters", "embedding_rows", "layers", "hidden", "feed_forward", "heads"):
            if getattr(self, name) <= 0:
                raise ValueError(f"a model's {name} must be above 0, but is {getattr(self, name)}")
        if self.dropouts < 0 or self.logits_per_token < 0:
            raise ValueError(f"dropouts and logits_per_token cannot be below 0: {self}")

    @property
    def embedding_parameters(self) -> int:
        return self.embedding_rows * self.hidden

    @property
    def parameters(self) -> int:
        return self.body_parameters + self.embedding_parameters

    @property
    def persistent_parameters(self) -> int:
        """Those in tensors too small for ZeRO-3 to shard: biases, norms, and whole matrices of small networks."""
        square, wide = self.hidden**2, self.hidden * self.feed_forward
        matrices = [square] * (4 * self.layers) + [wide] * (2 * self.layers)
        small = sum(size for size in matrices if size <= PERSISTENT_ELEMENTS)
        return small + max(0, self.body_parameters - sum(matrices))


class Placement(BaseModel):
    """On how many GPUs one stage of a scale runs, and how it is sharded over them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    nodes: int = Field(default=1, ge=1)
    """Nodes that one stage spans."""
    ranks_per_node: int = Field(default=1, ge=1)
    """One rank a GPU; on a cluster without GPUs, one a group of `cpus_per_rank` cores."""
    zero_stage: int = Field(default=0, ge=0, le=3)
    """DeepSpeed ZeRO stage."""
    offload: bool = False
    """Adam runs on the host, from the host's memory (ZeRO-Offload, Ren et al. 2021); needs ZeRO-3."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them."""
    graphs: bool = True
    """On one GPU, replay short micro-batches as CUDA graphs; they need the memory of a micro-batch a second time."""
    micro_batch_tokens: int | None = Field(default=None, gt=0)
    """Padded tokens per micro-batch and rank; None is the sweep's own."""
    why: str = "set by hand"
    """What `retain plan` says about it."""

    @model_validator(mode="after")
    def _can_be_done(self) -> Placement:
        if self.offload and self.zero_stage != 3:
            raise ValueError(f"offload needs ZeRO-3, not stage {self.zero_stage}")
        return self

    @property
    def ranks(self) -> int:
        """World size."""
        return self.nodes * self.ranks_per_node

    def replays(self, precision: Precision) -> bool:
        """Whether micro-batches are replayed as CUDA graphs: on one rank, in bf16, with nothing recomputed."""
        plain = self.ranks == 1 and self.zero_stage == 0 and not self.activation_checkpointing
        return self.graphs and plain and precision == "bf16"

    @property
    def sharding(self) -> str:
        """E.g. `ZeRO-3, offload, activation checkpointing`."""
        extras = [", offload"] * self.offload + [", activation checkpointing"] * self.activation_checkpointing
        return f"ZeRO-{self.zero_stage}{''.join(extras)}"


@dataclass(frozen=True)
class MemoryParts:
    """Bytes of one rank at its peak.

    A step has two peaks, and the higher one counts: in the backward pass (activations, logits) and after it, when
    gradients are reduced and the optimizer steps (copies).  Before the first one the network is handed over.
    """

    weights: float
    gradients: float
    optimizer: float
    """fp32 master weights and Adam's two moments."""
    buffers: float
    """Of collectives, held through the backward pass: buckets, and the layers that ZeRO-3 has gathered."""
    graphs: float
    """What CUDA graphs hold beside their working memory."""
    activations: float
    logits: float
    copies: float
    """Of gradients, after the backward pass."""
    handed_over: float
    """The whole network's weights, before anything is sharded."""
    reserve: float
    """Beyond what PyTorch allocates: context, collectives, fragmentation, what graphs keep while one is recorded."""
    host: float
    """In the host's memory, for this rank."""

    @property
    def states(self) -> float:
        """Weights, gradients, optimizer: what every micro-batch and batch size pays."""
        return self.weights + self.gradients + self.optimizer

    @property
    def allocated(self) -> float:
        """What `torch.cuda.max_memory_allocated` should say."""
        return max(self.handed_over, self.states + self.graphs + self.working)

    @property
    def working(self) -> float:
        """At the higher of the two peaks."""
        return max(self.buffers + self.activations + self.logits, self.copies)

    @property
    def total(self) -> float:
        return self.allocated + self.reserve


def peak(
    model: ModelSize, placement: Placement, precision: Precision = "bf16", micro_batch_tokens: int = 4096
) -> MemoryParts:
    """Memory of a training step of `model`, per rank.

    Args:
        micro_batch_tokens: the sweep's, which holds where the placement says nothing of it.

    Raises:
        ValueError: the precision is unknown.
    """
    parameters, ranks, tokens = model.parameters, placement.ranks, placement.micro_batch_tokens or micro_batch_tokens
    width = value_bytes(precision)
    stage = placement.zero_stage
    mixed = precision == "bf16"
    if stage == 0 and ranks > 1 and mixed:
        stage = 1  # as trainers.training.sharded does
    bucket = min(parameters, BUCKET_ELEMENTS)
    largest_gradient = float((width + 4) * model.embedding_parameters)
    shard = parameters / ranks

    handed_over = weights = float(width * parameters)
    gradients, optimizer = 4 * shard, 12 * shard
    buffers, copies = float(width * bucket), max(4 * shard, largest_gradient)
    if stage == 3:
        kept = model.persistent_parameters if ranks > 1 else 0
        weights = width * (shard + kept)
        gathered = min(parameters, LIVE_ELEMENTS) if ranks > 1 else 0
        buffers += width * gathered
        copies = 4 * shard + width * bucket
    elif stage == 1 and mixed:
        gradients = (2 + 4.0) * parameters
        buffers, copies = 0.0, (4 + 2) * bucket  # flattened in fp32, sent in bf16
    elif stage == 0:
        gradients, optimizer = 4.0 * parameters, (12.0 if mixed else 8.0) * parameters
        buffers, copies = 0.0, 2.0 * parameters if mixed else 4.0 * bucket * (ranks > 1)
    elif not mixed:
        # The tensor that a rank's shard begins within is kept whole, and the embeddings come first of all.
        gradients = 4 * min(float(parameters), shard * (1 + model.embedding_parameters // shard))
        if stage == 1:
            buffers += 4 * parameters - gradients  # accumulated whole, reduced at the step's end

    host = float(HOST_LOAD_BYTES * parameters)
    if placement.offload:
        # Adam's states, and fp32 gradients twice: as they are accumulated, and as Adam is handed them.
        host = max(host, optimizer + 2 * gradients)
        gradients, optimizer = 0.0, 0.0
        copies = largest_gradient
    activations = tokens * activation_bytes_per_token(model, precision, placement.activation_checkpointing)
    logits = LOGIT_BYTES * model.logits_per_token * tokens
    graphs = 0.0
    replays = placement.replays(precision)
    if replays:
        activations *= GRAPH_FILLING
        graphs = GRAPH_WORKSPACE_BYTES + GRAPH_SHAPES * 2 * width * model.hidden * tokens
    parts = MemoryParts(
        weights, gradients, optimizer, buffers, graphs, activations, logits, copies, handed_over, reserve=0.0, host=host
    )
    reserve = CONTEXT_BYTES + COLLECTIVES_BYTES * (ranks > 1) + FRAGMENTATION * parts.allocated
    # The graphs' memory is their own: a pass that warms a recording up has as much beside it.
    return replace(parts, reserve=reserve + replays * parts.working)


def value_bytes(precision: Precision) -> int:
    """Bytes of one weight or activation."""
    if precision not in ("bf16", "fp32"):
        raise ValueError(f"the precision is bf16 or fp32, not {precision!r}")
    return 2 if precision == "bf16" else 4


def saved_bytes_per_token(model: ModelSize, precision: Precision) -> float:
    """What autograd keeps of one layer for the backward pass, per token.

    Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1) without attention scores, which the fused kernels do not
    keep: the input, queries, keys, values, attention's output and log-sum-exp; the input and output of the first
    LayerNorm, both sides of the activation function, the input of the second LayerNorm; a byte for each dropout mask;
    a mean and a deviation in fp32 for each LayerNorm.  34·d bytes in bf16 with a feed-forward of 4·d.
    """
    values = 8 * model.hidden + 2 * model.feed_forward
    return value_bytes(precision) * values + model.dropouts * model.hidden + 4 * model.heads + 2 * 2 * 4


def activation_bytes_per_token(model: ModelSize, precision: Precision, checkpointing: bool) -> float:
    """Activations of a micro-batch at the start of its backward pass, per token.

    With checkpointing each layer keeps its input, and one layer at a time is computed again.  On top come the
    embeddings' LayerNorm, the last hidden states, and the gradients around one feed-forward.
    """
    width = value_bytes(precision)
    layer = saved_bytes_per_token(model, precision)
    layers = model.layers * layer
    if checkpointing:
        layers = model.layers * width * model.hidden + layer
    outside = (2 * width + 1) * model.hidden
    working = width * (2 * model.feed_forward + 2 * model.hidden)
    return layers + outside + working
