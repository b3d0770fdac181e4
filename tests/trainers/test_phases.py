"""The phases of an arm draw their random numbers apart from one another, and arms of one target alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.trainers.stages import plan_stages, run_here
from trainers.assembly import Assembly, assemble, new_head
from trainers.measure.evaluate import evaluate
from trainers.network.model import StageModel
from trainers.stage import Execution, Stage
from trainers.stage.random import seed_for
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.store import Store
from trainers.training.ranks import Ranks, connect

LANGUAGES = ("en", "de", "ru", "sw", "zh")


@contextmanager
def assembled(stage: Stage, store: Store, mirror) -> Iterator[Assembly]:
    ranks = Ranks()
    connect(ranks)
    parts = assemble(stage, store, mirror, Execution(), ranks)
    yield parts
    parts.engine.close()


@pytest.mark.parametrize(
    ("intermediate", "target", "learning_rate"),
    [("mnli", "xnli", 1.5e-3), ("qqp", "pawsx", 1.5e-3), ("squad", "xquad", 2e-3)],
)
def test_the_untrained_head_of_a_target_scores_at_chance(mirror, store, intermediate, target, learning_rate):
    """Also where the intermediate's task is the target's: nothing of the head that was trained is in the new one.

    One head at random may be lucky, as the trained encoder's states already lie apart by class: chance is what heads of
    other seeds score, and of these the mean is that of answering at random.
    """
    settings = {"max_steps": 160, "max_examples": None, "batch_size": 16, "learning_rate": learning_rate}
    trained, ending = (
        stage.model_copy(update={"probes": ()})
        for stage in plan_stages(mirror, SANDBOX_ENCODERS / "sandbox-m", intermediate, target, LANGUAGES, **settings)
    )
    ending = ending.model_copy(update={"parent": trained.key})
    run_here(trained, store, mirror)
    (task,) = ending.trained
    with assembled(ending, store, mirror) as parts:
        head = parts.engine.model.head(task)
        learnt = {name: weight for name, weight in load_file(store.entry(trained.key).heads).items()}
        for name, weight in head.named_parameters():
            if weight.dim() > 1:
                assert abs(cosine(weight.detach(), learnt[f"{intermediate}.{name}"])) < 4 / weight.numel() ** 0.5, name
        own = scored(parts, task)
        others = []
        for seed in range(100, 140):
            other = ending.model_copy(update={"seed": seed})
            head.load_state_dict(
                new_head(parts.data.tasks[task], parts.engine.model.encoder, seed_for(other, task, "head")).state_dict()
            )
            others.append(scored(parts, task))
    mean, deviation = np.mean(others), np.std(others, ddof=1)
    assert own < mean + 3 * deviation
    if classes := len(parts.data.tasks[task].labels):
        assert abs(mean - 1 / classes) < 3 * deviation / len(others) ** 0.5 + 0.01


def scored(parts: Assembly, task: str) -> float:
    """Score of the head as it is, the mean over the evaluated languages."""
    sets = [("zero_shot", labelled) for labelled in parts.data.evaluations]
    scores = [one.scores[0] for one in evaluate(parts.engine, parts.vocabulary, task, sets)]
    return float(np.mean([score.value for score in scores]))


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def drawn_order(parts: Assembly, steps: int = 16) -> np.ndarray:
    return np.concatenate([parts.batches.draw(step).examples.example for step in range(steps)])


def test_orders_of_two_phases_are_uncorrelated_and_those_of_paired_arms_are_equal(mirror, encoder_folder, store):
    """MNLI as an intermediate, and as XNLI's training set after it, after QQP and after nothing."""
    folder, settings = encoder_folder("post"), {"max_examples": None, "epochs": 1, "max_steps": 16}
    arms = {name: plan_stages(mirror, folder, name, "xnli", **settings) for name in ("mnli", "qqp", "none")}
    orders, heads = {}, {}
    for name, stages in arms.items():
        for stage in stages:
            with assembled(stage, store, mirror) as parts:
                orders[name, stage.kind] = drawn_order(parts)
                heads[name, stage.kind] = parts.engine.model.head(stage.trained[0]).state_dict()
            if stage.kind == "intermediate":
                run_here(stage, store, mirror)
    mnli, after_mnli = orders["mnli", "intermediate"], orders["mnli", "target"]
    assert len(np.unique(mnli)) == len(mnli) > 100  # an epoch is not over
    assert abs(np.corrcoef(mnli, after_mnli)[0, 1]) < 4 / len(mnli) ** 0.5
    for name in ("qqp", "none"):
        assert (orders[name, "target"] == after_mnli).all()
        for weight, value in heads["mnli", "target"].items():
            assert torch.equal(value, heads[name, "target"][weight]), weight


def test_dropout_of_two_phases_is_uncorrelated_and_that_of_paired_arms_is_equal(
    mirror, encoder_folder, store, monkeypatch
):
    """What torch draws first in each micro-batch, as each stage trains."""
    draws: dict[tuple[str, str], list[Tensor]] = {}
    forward = StageModel.forward

    def watched(self, *given, **named):
        if self.training:
            state = torch.get_rng_state()
            draws.setdefault(running, []).append(torch.rand(64))
            torch.set_rng_state(state)
        return forward(self, *given, **named)

    monkeypatch.setattr(StageModel, "forward", watched)
    for name in ("mnli", "none"):
        for stage in plan_stages(mirror, encoder_folder("post"), name, "xnli"):
            running = (name, stage.kind)
            run_here(stage, store, mirror)
    first, second, paired = (
        torch.stack(draws[which]) for which in (("mnli", "intermediate"), ("mnli", "target"), ("none", "target"))
    )
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 4 / first.numel() ** 0.5
    assert torch.equal(second, paired)
