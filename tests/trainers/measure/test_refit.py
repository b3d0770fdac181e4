"""The refit head measures the features' signal, not their width; on simulated features, where the signal is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.measure.refit import (
    DIMENSIONS,
    RIDGES,
    Examples,
    dimensions,
    fit,
    folds,
    principal,
    raw_head,
)
from trainers.network.heads import PairHead
from trainers.stage.scores import FOLDS

WIDTHS = (768, 1024, 2560, 4096)
"""Of XLM-R base, Large, XL and XXL."""


class World:
    """Three classes told by 20 hidden numbers, which are seen through features of any width: as many times as wide, as
    much of everything, so that the best classifier is as good at every width."""

    def __init__(self, seed: int, examples: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.hidden = torch.randn(examples, 20, generator=self.random)
        told = self.hidden @ torch.randn(20, 3, generator=self.random)
        self.classes = (told + 0.5 * torch.randn(examples, 3, generator=self.random)).argmax(1)

    def features(self, width: int) -> Tensor:
        loadings = torch.randn(20, width, generator=self.random) / 20**0.5
        noise = (width / 768) ** 0.5 * torch.randn(len(self.hidden), width, generator=self.random)
        return self.hidden @ loadings + noise


def scores(features: Tensor, classes: Tensor, refit: int) -> Tensor:
    """[FOLDS + 1] accuracy on the examples from `refit` on, of heads fitted to those before."""
    projection = principal(features[:refit], dimensions(refit, features.shape[1]))
    numbers, fold = projection(features), torch.from_numpy(folds(np.arange(refit)))
    fitted = fit(Examples(numbers[:refit], classes[:refit], fold, 3))
    logits = torch.einsum("nd,gkd->gnk", numbers[refit:], fitted.weight) + fitted.bias[:, None]
    return (logits.argmax(2) == classes[refit:]).double().mean(1)


def test_p_is_the_same_at_every_width_where_the_signal_is():
    """What was there before, ridge on all features, lost 0.02 here from base to XXL."""
    found = np.zeros(len(WIDTHS))
    for seed in range(2):
        world = World(seed, 3500)
        found += [float(scores(world.features(width), world.classes, 500)[-1]) / 2 for width in WIDTHS]
    assert found.min() > 0.85
    assert np.ptp(found) < 0.01


def test_control_labels_that_no_rule_tells_are_learnt_at_no_width():
    """The control task of Hewitt & Liang 2019: what a probe makes of it is its own capacity, not the features'."""
    for width in WIDTHS[::3]:
        world = World(5, 2500)
        classes = world.classes.clone()
        classes[:500] = classes[torch.randperm(500, generator=world.random)]
        largest = torch.bincount(classes[500:]).max() / 2000
        assert float(scores(world.features(width), classes, 500)[-1]) < largest + 3 * (0.25 / 2000) ** 0.5


def test_heads_without_a_fold_tell_what_other_refit_examples_would_change():
    """The jackknife's standard error, against the spread of P over 24 refit sets of the same world."""
    world = World(7, 24 * 200 + 2000)
    features, classes = world.features(96), world.classes
    test = slice(24 * 200, None)
    found = []
    for number in range(24):
        part = slice(200 * number, 200 * (number + 1))
        found.append(
            scores(torch.cat([features[part], features[test]]), torch.cat([classes[part], classes[test]]), 200)
        )
    spread = torch.stack([one[-1] for one in found]).std()
    jackknife = torch.stack([(FOLDS - 1) / FOLDS * (one[:-1] - one[:-1].mean()).square().sum() for one in found])
    assert 0.5 < float(jackknife.mean().sqrt() / spread) < 2


def test_the_penalty_is_the_one_that_foretells_best():
    """Strong where labels have no rule, weak where one tells all of them."""
    random = torch.Generator().manual_seed(2)
    numbers, fold = torch.randn(300, 30, generator=random), torch.from_numpy(folds(np.arange(300)))
    told = numbers[:, :3].argmax(1)
    assert fit(Examples(numbers, told, fold, 3)).ridge == RIDGES[-1]
    assert fit(Examples(numbers, told[torch.randperm(300, generator=random)], fold, 3)).ridge == RIDGES[0]


def test_it_is_the_logistic_regression_that_scikit_learn_fits():
    from sklearn.linear_model import LogisticRegression

    world = World(1, 1500)
    projection = principal(world.features(100)[:500], 50)
    assert projection.basis.shape == (100, 50)
    world = World(1, 1500)
    numbers = projection(world.features(100))
    fold = torch.from_numpy(folds(np.arange(500)))
    fitted = fit(Examples(numbers[:500], world.classes[:500], fold, 3))
    peer = LogisticRegression(C=1 / (2 * fitted.ridge * 500), max_iter=1000).fit(numbers[:500], world.classes[:500])
    ours = (numbers @ fitted.weight[-1].T + fitted.bias[-1]).argmax(1).numpy()
    assert (ours == peer.predict(numbers)).mean() > 0.99


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_principal_components_are_uncorrelated_and_as_large_as_one_another(shape):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * torch.arange(1, shape[1] + 1)
    numbers = principal(rows, 4)(rows)
    assert torch.allclose(numbers.T @ numbers / len(rows), torch.eye(4), atol=1e-4)


def test_the_head_of_raw_features_answers_as_that_of_their_components():
    features = torch.randn(30, 9, generator=torch.Generator().manual_seed(0))
    projection, weight, bias = principal(features, 4), torch.randn(3, 4), torch.randn(3)
    expected = projection(features) @ weight.T + bias
    assert torch.allclose(
        raw_head(PairHead(9, 3, dropout=0.0, linear=True), projection, weight, bias)(features), expected, atol=1e-4
    )


def test_dimensions_follow_from_the_number_of_examples_alone():
    assert [dimensions(examples, 768) for examples in (1, 24, 300, 500, 10_000)] == [1, 2, 30, 50, DIMENSIONS]
    assert {dimensions(500, width) for width in WIDTHS} == {50}
    assert dimensions(500, 32) == 32


def test_windows_of_one_document_are_in_one_fold():
    example = np.repeat(np.arange(40), 3)
    found = folds(example)
    assert (found.reshape(40, 3) == found[::3, None]).all()
    assert np.bincount(found[::3]).tolist() == [8] * FOLDS
