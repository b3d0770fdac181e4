"""The refit head: a linear classifier on frozen features, the same instrument for encoders of every width.

A linear probe on all H features of a wide encoder has more parameters than a narrow one's, so that with a fixed number
of examples it overfits more, and its score tells the width.  Here every encoder is read through as many numbers:

1. Features are standardised and projected to their first d principal components, each scaled to variance 1.  The labels
   have no part in that.  d depends on the number of examples alone: ten examples a dimension at the least.
2. Softmax regression with a ridge penalty is fitted in these d dimensions.  The penalty is that of `RIDGES` with the
   smallest cross-entropy on held-out fifths of the examples.
3. It is fitted to all examples, which gives P, and without each fifth: the spread of these five scores tells what other
   refit examples would change (delete-a-group jackknife; `analysis.measures.curves`).

Sources: docs/science.md, "The refit head".
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.network.batch import Batch
from trainers.network.heads import ChoiceHead, Head, SpanHead, TaggingHead
from trainers.stage.scores import FOLDS

DIMENSIONS = 64
"""Numbers through which an encoder is read, at the most."""
EXAMPLES_PER_DIMENSION = 10
RIDGES = (0.5, 0.05, 0.005)
"""Penalties on the squared weights that are tried, beside the mean cross-entropy; the strongest first."""
ITERATIONS = 10
"""Of L-BFGS for each penalty; each begins where the one before ended."""
CHUNK = 256
"""Units that are projected at once: features of all tokens would fill a GPU."""
PRINCIPAL_ROWS = 4096
"""Rows (sequences, tokens) that principal components are computed from, at the most."""


class LBFGS(torch.optim.LBFGS):
    """Torch's, but for a decorator that imports the compiler (trainers.training.adamw)."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)


def dimensions(examples: int, width: int) -> int:
    """Principal components that are read, of `width` features: the same for all widths that have as many."""
    return max(1, min(DIMENSIONS, examples // EXAMPLES_PER_DIMENSION, width))


class Projection(NamedTuple):
    """From H features to d numbers: (features − mean) @ basis."""

    mean: Tensor
    """[H]"""
    basis: Tensor
    """[H, d]"""

    def __call__(self, features: Tensor) -> Tensor:
        """[..., H] → [..., d], of mean 0 and variance 1 over the rows that it was fitted to."""
        return (features - self.mean) @ self.basis


def principal(rows: Tensor, count: int) -> Projection:
    """The first `count` principal components of standardised features, scaled to variance 1.

    Args:
        rows: [n, H]
    """
    rows = rows.double()
    mean, deviation = rows.mean(0), rows.std(0, correction=0) + 1e-6
    standardised = (rows - mean) / deviation
    wide = standardised.shape[0] < standardised.shape[1]  # the smaller of the two products has the same eigenvalues
    product = standardised @ standardised.T if wide else standardised.T @ standardised
    values, vectors = torch.linalg.eigh(product / len(rows))
    values, vectors = values[-count:].clamp_min(1e-9), vectors[:, -count:]
    if wide:
        vectors = standardised.T @ vectors / (values * len(rows)).sqrt()
    return Projection(mean.float(), (vectors / values.sqrt() / deviation[:, None]).float())


@dataclass(frozen=True)
class Examples:
    """What is fitted: n choices among alternatives, each known by its features.

    Alternatives are classes, each with weights of its own, or what shares weights: the options of a question, and the
    tokens that may be an answer's first or last.
    """

    features: Tensor
    """[n, d], or [n, alternatives, d] where alternatives are told by their own features."""
    targets: Tensor
    """[n], or [n, outputs]: the right alternative."""
    fold: Tensor
    """[n] in 0 … FOLDS − 1; all choices from one row of the data are in one."""
    outputs: int
    """Rows of the weights: classes; for alternatives with features of their own, choices made of each example."""
    allowed: Tensor | None = None
    """[n, alternatives] which there are; None: all."""

    def losses(self, weight: Tensor, bias: Tensor) -> Tensor:
        """[G, n] cross-entropy of G heads: weight [G, outputs, d], bias [G, outputs]."""
        heads, count = len(weight), len(self.targets)
        logits = torch.einsum("...d,gkd->g...k", self.features, weight)
        if self.features.dim() == 2:
            logits = logits + bias[:, None]
            found = F.cross_entropy(logits.flatten(0, 1), self.targets.repeat(heads), reduction="none")
            return found.view(heads, count)
        if self.allowed is not None:
            logits = logits.masked_fill(~self.allowed[None, :, :, None], float("-inf"))
        targets = self.targets.view(count, self.outputs).repeat(heads, 1)
        return F.cross_entropy(logits.flatten(0, 1), targets, reduction="none").view(heads, count, -1).mean(2)


def folds(examples: np.ndarray) -> np.ndarray:
    """[n] the fold of each unit, from the row that it comes from: a fixed shuffle of the rows, dealt out in turn."""
    rows, number = np.unique(examples, return_inverse=True)
    return np.random.Generator(np.random.Philox(key=FOLDS)).permutation(len(rows))[number] % FOLDS


class Fitted(NamedTuple):
    """Heads in d dimensions: one without each fold, and that of all examples last."""

    weight: Tensor
    """[FOLDS + 1, outputs, d]"""
    bias: Tensor
    """[FOLDS + 1, outputs]"""
    ridge: float
    """The penalty that was chosen."""


def fit(examples: Examples) -> Fitted:
    """Ridge-penalised softmax regression, its penalty chosen by cross-validation; nothing is drawn at random."""
    heads, device = FOLDS + 1, examples.features.device
    weight = torch.zeros(heads, examples.outputs, examples.features.shape[-1], device=device, requires_grad=True)
    bias = torch.zeros(heads, examples.outputs, device=device, requires_grad=True)
    held_out = examples.fold == torch.arange(heads, device=device)[:, None]  # [heads, n]; of the last head none
    share = (~held_out).float() / (~held_out).sum(1, keepdim=True).clamp_min(1)
    best: tuple[float, Fitted] | None = None
    for ridge in RIDGES:
        optimizer = LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def closure(ridge: float = ridge) -> Tensor:
            weight.grad = bias.grad = None  # the optimizer's own zero_grad would import the compiler
            loss = (examples.losses(weight, bias) * share).sum() + ridge * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            error = float(examples.losses(weight, bias)[held_out].sum())
        if best is None or error < best[0]:
            best = error, Fitted(weight.detach().clone(), bias.detach().clone(), ridge)
    assert best is not None
    return best[1]


def examples_of(
    head: Head, features: Tensor, batch: Batch, fold: np.ndarray, count: int
) -> tuple[Projection, Examples]:
    """What a linear `head` is fitted to: features as `count` numbers, and the right answers.

    Where alternatives are compared with one another (the choices of a question, the tokens of a window), it is by what
    they differ in: their mean is subtracted, which changes no answer, and components are those of the differences.

    Args:
        features: [S, H], or [S, L, H] if the head reads tokens; changed in place.
        batch: the same examples, on the device.
        fold: [b] of each unit.
    """
    device = batch.mask.device
    folded = torch.from_numpy(fold)
    allowed = None
    outputs = head.projection.out_features
    if isinstance(head, TaggingHead):
        classes = batch.marks[:, :, 1]
        chosen = (classes >= 0).cpu()
        rows, folded, targets = features[chosen], folded[chosen.nonzero()[:, 0]], classes[classes >= 0]
        sample = rows
    elif isinstance(head, SpanHead):
        allowed, mask = batch.mask, batch.mask.cpu()
        features -= (features * mask[:, :, None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None]
        rows, targets, sample = features, batch.targets, features[mask]
    elif isinstance(head, ChoiceHead):
        rows = features.view(-1, head.group, features.shape[-1])
        rows = rows - rows.mean(1, keepdim=True)
        targets, sample = batch.targets[:, 0], rows.flatten(0, 1)
    else:
        rows, targets, sample = features, batch.targets[:, 0], features
    projection = principal(sample[:: -(-len(sample) // PRINCIPAL_ROWS)].to(device), count)
    numbers = torch.cat([projection(part.to(device)) for part in rows.split(CHUNK)])
    return projection, Examples(numbers, targets, folded.to(device), outputs, allowed)


def raw_head(head: Head, projection: Projection, weight: Tensor, bias: Tensor) -> Head:
    """`head` with weights that read raw features: weight [outputs, d] and bias [outputs] are those in d dimensions."""
    with torch.no_grad():
        head.projection.weight.copy_(weight @ projection.basis.T)
        head.projection.bias.copy_(bias - head.projection.weight.to(bias) @ projection.mean)
    return head
