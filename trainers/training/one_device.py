"""The engine of one process without ZeRO: AdamW on a GPU or a CPU, without DeepSpeed.

**fp32 master weights.** A bf16 model is trained through fp32 copies of its weights.  DeepSpeed's optimizer for bf16
makes a copy and a call for each parameter, for which a GPU waits when the batch is short.  Here all parameters share a
few calls.

**CUDA graphs of the encoder.** With a short batch a GPU also waits for Python to launch each operation.  A graph
replays them all at once.  One graph is recorded for each shape of micro-batch, and a micro-batch is filled up to its
shape with tokens that no sequence attends to and whose gradient is 0.  Whether a micro-batch is replayed depends on its
shape alone, and recording restores the random state, so a resumed run equals an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers.network.attention import FIRST_POSITION, PAD_ID, SHORT_TOKENS, Packing
from trainers.network.model import StageModel
from trainers.stage import Execution, Recipe
from trainers.training.adamw import AdamW
from trainers.training.ranks import Ranks
from trainers.training.step import Engine

GRAIN_TOKENS = 256
"""A micro-batch is filled up to a multiple of so many tokens, or of a sixteenth of its own …"""
GRAIN_SEQUENCES = 64
"""… and its bounds to a multiple of so many sequences."""
FILLER_TOKENS = 64
"""Tokens of a filler sequence at the most: attention's kernels take as long as the longest sequence."""
LARGEST_LAYER_TOKENS = 3e11
"""Weights of a layer × tokens of a micro-batch, above which computing takes longer than launching, and a graph gains
nothing.  Base is below it even with micro-batches of 16,384 tokens (docs/performance.md)."""
WARM_UPS = 2
"""Passes before a recording: in the first, libraries initialise themselves."""


class OneDevice(Engine):
    """A model and AdamW on one device, without DeepSpeed."""

    masters: Masters | None = None
    """The fp32 weights of a bf16 model, which AdamW steps; None for an fp32 model, whose own weights it steps."""

    def __init__(self, model: StageModel, recipe: Recipe | None, execution: Execution, ranks: Ranks) -> None:
        super().__init__(model, recipe, execution, ranks)
        model.to(self.device, torch.bfloat16 if self.bf16 else torch.float32)
        if recipe is not None:
            if self.bf16:
                self.masters = Masters([*model.parameters()])
                if self.device.type == "cuda" and execution.graphs and not execution.activation_checkpointing:
                    model.graphs = Graphs(model.encoder, self.masters)
            self.optimizer = self.adam = AdamW(self._decay_groups(recipe), recipe)
        self.module = model.eval()  # all of it: an encoder is as it was loaded, what is built around it is not

    def stepped(self, parameter: nn.Parameter) -> nn.Parameter:
        return self.masters.of(parameter) if self.masters else parameter

    def _backward(self, loss: Tensor, last: bool) -> None:
        loss.backward()
        if self.masters:
            self.masters.accumulate()

    def _update(self) -> None:
        self._clip()
        self.optimizer.step()
        if self.masters:
            self.masters.copy_to_model()
        else:
            self.optimizer.zero_grad()

    def close(self) -> None:
        self.masters = self.model.graphs = None
        if self.optimizer is not None:
            vars(self.optimizer).clear()


class Masters:
    """fp32 copies of a bf16 network's weights, which the optimizer steps, and their fp32 gradients."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        """Of bf16 parameters, on their device."""
        self.parameters = list(parameters)
        self.masters = [nn.Parameter(parameter.detach().float()) for parameter in self.parameters]
        for master in self.masters:
            master.grad = torch.zeros_like(master)
        self._of = dict(zip(map(id, self.parameters), self.masters, strict=True))
        self._awaited = set(self._of)
        """Ids of the parameters without a gradient of this step yet; their masters still hold the last step's."""

    def of(self, parameter: nn.Parameter) -> nn.Parameter:
        """The fp32 weight of a parameter; its gradient is the same tensor in all steps, as a graph writes to it."""
        return self._of[id(parameter)]

    def accumulate(self) -> None:
        """Move the network's gradients of one backward pass to the masters."""
        with_gradient = [parameter for parameter in self.parameters if parameter.grad is not None]
        for first in (True, False):
            alike = [parameter for parameter in with_gradient if (id(parameter) in self._awaited) == first]
            self.add(alike, [parameter.grad for parameter in alike if parameter.grad is not None], first)
        self.mark_accumulated(identities(with_gradient))
        for parameter in with_gradient:
            parameter.grad = None

    def first_micro_batch(self, parameters: frozenset[int]) -> bool:
        """Whether none of these parameters has a gradient of this step yet."""
        return parameters <= self._awaited

    def mark_accumulated(self, parameters: frozenset[int]) -> None:
        """Note that gradients of these parameters were added in this step."""
        self._awaited -= parameters

    @torch.no_grad()
    def add(self, parameters: Sequence[nn.Parameter], gradients: list[Tensor], first: bool) -> None:
        """Add gradients to the masters'; in the step's first micro-batch, replace the last step's by them."""
        add: Any = torch._foreach_copy_ if first else torch._foreach_add_
        if gradients:
            add([self.of(parameter).grad for parameter in parameters], gradients)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Round the masters to the network's weights, after the optimizer's step."""
        torch._foreach_copy_([*self.parameters], [*self.masters])
        self._awaited = set(self._of)


def identities(parameters: Iterable[nn.Parameter]) -> frozenset[int]:
    """The keys by which `Masters` finds parameters."""
    return frozenset(map(id, parameters))


@dataclass(frozen=True)
class Recording:
    """A graph each way, and the tensors between which they work."""

    ids: Tensor
    """[1, N]"""
    packing: Packing
    hidden: Tensor
    """[1, N, H]"""
    gradient: Tensor
    """Of `hidden`."""
    forward: torch.cuda.CUDAGraph
    backward: torch.cuda.CUDAGraph

    def fill(self, ids: Tensor, packing: Packing) -> None:
        """Put in the real tokens of ids [S, L]."""
        tokens, sequences = len(packing.places), len(packing.lengths)
        self.ids.fill_(PAD_ID)
        self.ids[0, :tokens].copy_(ids.flatten()[packing.places])
        self.packing.positions.fill_(FIRST_POSITION)
        self.packing.positions[:, :tokens].copy_(packing.positions)
        bounds = self.packing.bounds
        after = torch.arange(-sequences, len(bounds) - sequences, dtype=torch.int32, device=bounds.device)
        bounds.copy_((tokens + after.clamp(min=0) * FILLER_TOKENS).clamp(max=self.ids.numel()))
        bounds[: sequences + 1].copy_(packing.bounds)


class Graphs:
    """An encoder's graphs, recorded as shapes come."""

    def __init__(self, encoder: Any, masters: Masters) -> None:
        self.encoder, self.masters = encoder, masters
        self.parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
        self.identities = identities(self.parameters)
        config = encoder.config
        self.longest = config.max_position_embeddings - FIRST_POSITION
        layer = config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
        self.largest_tokens = int(LARGEST_LAYER_TOKENS // layer)
        self._recordings: dict[tuple[int, int, int, bool], Recording] = {}
        self._memory: Any = None
        """Of all graphs: what one has in it is done with before the next is replayed."""
        self._anchor = torch.zeros((), device="cuda", requires_grad=True)

    @property
    def recorded(self) -> int:
        """How many shapes so far."""
        return len(self._recordings)

    def eligible(self, packing: Packing) -> bool:
        """Whether a micro-batch of this packing is replayed."""
        return len(packing.places) <= self.largest_tokens

    def __call__(self, ids: Tensor, packing: Packing) -> Tensor:
        """Hidden states [1, N, H] of the N real tokens of ids [S, L]."""
        tokens, sequences = len(packing.places), len(packing.lengths)
        grain = max(GRAIN_TOKENS, 2 ** (tokens.bit_length() - 5))
        filling = _whole(tokens, grain), _whole(sequences + -(-grain // FILLER_TOKENS), GRAIN_SEQUENCES)
        longest = SHORT_TOKENS if packing.shape[1] <= SHORT_TOKENS else self.longest
        shape = (*filling, longest, self.masters.first_micro_batch(self.identities))
        if shape not in self._recordings:
            self._recordings[shape] = self._record(*shape)
        self._recordings[shape].fill(ids, packing)
        return _Replay.apply(self._anchor, self, self._recordings[shape])[:, :tokens]

    def _record(self, tokens: int, sequences: int, longest: int, first: bool) -> Recording:
        ids = torch.full((1, tokens), PAD_ID, device="cuda")
        # Equal sequences that cover every token: the hidden state of any other would be uninitialised memory.
        bounds = torch.arange(sequences + 1, device="cuda") * tokens // sequences
        positions = torch.full_like(ids, FIRST_POSITION)
        packing = Packing((sequences, longest), ids[0], positions, bounds.int(), np.zeros(0, np.int64))
        gradient = torch.zeros(1, tokens, self.encoder.config.hidden_size, dtype=torch.bfloat16, device="cuda")

        def forward() -> Tensor:
            return self.encoder(input_ids=ids, position_ids=packing.positions, packing=packing).last_hidden_state

        def backward(hidden: Tensor) -> None:
            self.masters.add(self.parameters, list(torch.autograd.grad(hidden, self.parameters, gradient)), first)

        state = torch.cuda.get_rng_state()
        warm_up = torch.cuda.Stream()
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):
            for _ in range(WARM_UPS):  # the gradient is 0, so that nothing is added
                backward(forward())
        torch.cuda.current_stream().wait_stream(warm_up)
        graphs = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        # Other threads go on: one writes a checkpoint, NCCL's watches.
        with torch.cuda.graph(graphs[0], pool=self._memory, capture_error_mode="thread_local"):
            hidden = forward()
        self._memory = graphs[0].pool()
        with torch.cuda.graph(graphs[1], pool=self._memory, capture_error_mode="thread_local"):
            backward(hidden)
        torch.cuda.set_rng_state(state)
        return Recording(ids, packing, hidden.detach(), gradient, *graphs)


class _Replay(torch.autograd.Function):
    """Replays one graph, and the other when the gradient of the states is known."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, graphs: Graphs, recording: Recording) -> Tensor:
        """`anchor` requires a gradient, so that there is a backward pass."""
        ctx.graphs, ctx.recording = graphs, recording
        recording.forward.replay()
        return recording.hidden.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:  # type: ignore[override]
        ctx.recording.gradient.copy_(gradient)
        ctx.recording.backward.replay()
        ctx.graphs.masters.mark_accumulated(ctx.graphs.identities)
        return None, None, None


def _whole(number: int, grain: int) -> int:
    return -(-number // grain) * grain
