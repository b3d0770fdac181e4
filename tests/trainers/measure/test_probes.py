"""Probes measure the encoder and disturb nothing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.stages import STEPS, losses, measurements, plan_stages, run_here, weights
from trainers.data.stagedata import ProbeSets, StageData
from trainers.measure.probes import Prober, all_language_steps, probe_steps
from trainers.network.encoder import Vocabulary, load_encoder
from trainers.network.model import StageModel
from trainers.stage import Execution
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.stage.scores import FOLDS, without_fold
from trainers.store import Store
from trainers.tokens.sets import LabelledSet
from trainers.training.engine import make_engine
from trainers.training.ranks import Ranks, connect

WITHOUT = [without_fold("refit", fold) for fold in range(FOLDS)]


@given(st.integers(1, 100_000))
def test_probes_are_made_at_0_powers_of_two_and_the_end(total):
    steps = probe_steps(total)
    assert steps[0] == 0
    assert steps[-1] == total
    assert steps == sorted(set(steps))
    assert set(steps) == {0, total} | {2**k for k in range(total.bit_length()) if 2**k < total}
    assert {0, total} <= all_language_steps(total) <= set(steps)
    assert len(steps) <= math.log2(total) + 3


@given(total=st.integers(1, 100_000), per_doubling=st.integers(1, 16))
def test_more_probes_a_doubling_are_made_between_the_others(total, per_doubling):
    steps = probe_steps(total, per_doubling)
    assert set(probe_steps(total)) <= set(steps)
    assert steps == sorted(set(steps))
    assert steps[-1] == total
    assert len(steps) <= per_doubling * (math.log2(total) + 1) + 2
    for one, other in itertools.pairwise(steps):  # as near as asked, to rounding of both
        assert other <= one * 2 ** (1 / per_doubling) + 1.5
    assert {0, total} <= all_language_steps(total, per_doubling) <= set(steps)


def test_probe_steps_of_an_example():
    assert probe_steps(20, per_doubling=3) == [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20]
    assert probe_steps(10) == [0, 1, 2, 4, 8, 10]
    assert probe_steps(8) == [0, 1, 2, 4, 8]
    assert probe_steps(1) == [0, 1]


@pytest.mark.parametrize(("layer_norm", "precision"), [("post", "fp32"), ("pre", "fp32"), ("pre", "bf16")])
@pytest.mark.parametrize(("intermediate", "metrics"), [("mnli", {"accuracy"}), ("squad", {"f1", "exact_match"})])
def test_retention_starts_where_the_intermediate_ended(
    mirror, encoder_folder, store, layer_norm, intermediate, metrics, precision
):
    """A(0) and P(0), measured by the target before its first step, are the intermediate's last, to the last bit."""
    trained, target = plan_stages(mirror, encoder_folder(layer_norm), intermediate, "pawsx")
    for stage in (trained, target):
        run_here(stage, store, mirror, execution=Execution(precision=precision, checkpoint_every_s=1e9))
    ended = measurements(store.entry(trained.key))
    started = measurements(store.entry(target.key))
    compared = {tuple(name): (value, ended[STEPS, *name]) for (at, *name), value in started.items() if at == 0}
    assert {(measure, language) for measure, _, language, _ in compared} == {
        (measure, language) for measure in ("stored", "refit", *WITHOUT) for language in ("en", "de")
    }
    for measure in ("stored", "refit"):
        assert {metric for name, *_, metric in compared if name == measure} == metrics
    for name, (at_start, at_end) in compared.items():
        assert at_start == at_end, name
    assert {at for at, measure, *_ in ended if measure == "untouched"} == {0}


def test_each_of_several_tasks_is_probed_with_the_head_that_was_trained_on_it(mirror, encoder_folder, store):
    """A(0) and P(0) of a target are the last ones of its intermediate, task by task; P_base is there for each."""
    trained, target = plan_stages(mirror, encoder_folder("post"), "mnli+squad+ccg", "pawsx")
    for stage in (trained, target):
        run_here(stage, store, mirror)
    assert [probe.examples for probe in target.probes] == [24, 24, 24]
    ended, started = (measurements(store.entry(stage.key)) for stage in (trained, target))
    last = max(at for at, *_ in ended)
    at_end = {tuple(name): value for (at, *name), value in ended.items() if at == last and name[0] != "development"}
    at_start = {tuple(name): value for (at, *name), value in started.items() if at == 0}
    assert at_start == at_end
    spoken = {(task, language) for _, task, language, _ in at_start}
    assert spoken == {(task, language) for task in ("mnli", "squad") for language in ("en", "de")} | {("ccg", "en")}
    untouched = {(task, language) for at, measure, task, language, _ in ended if (at, measure) == (0, "untouched")}
    assert untouched == spoken
    for name in spoken:
        heads = {measure for measure, *what, _ in at_start if tuple(what) == name}
        assert heads == {"stored", "refit", *WITHOUT}


def test_the_weighted_mean_of_probed_examples_is_what_was_measured(mirror, encoder_folder, store):
    """Also of CCG, whose accuracy is over words: an example is a sentence."""
    stage, *_ = plan_stages(mirror, encoder_folder("post"), "mnli+ccg", "pawsx")
    run_here(stage, store, mirror)
    entry = store.entry(stage.key)
    for at in {at for at, measure, *_ in measurements(entry) if measure == "refit"}:
        frame = pl.read_parquet(entry.predictions / f"probe-step-{at:09d}.parquet")
        assert set(frame["task"]) == {"mnli", "ccg"}
        for (measure, task, language), rows in frame.group_by("measure", "task", "language"):
            mean = np.average(rows["score"], weights=rows["weight"])
            assert measurements(entry)[at, measure, task, language, "accuracy"] == pytest.approx(mean)


def test_english_is_probed_at_every_probe_step_and_other_languages_at_every_other(mirror, arm, store):
    for stage in arm:
        run_here(stage, store, mirror)
    found = measurements(store.entry(arm[1].key))
    for measure in ("stored", "refit"):
        at = {
            language: {at for at, name, _, spoken, _ in found if name == measure and spoken == language}
            for language in ("en", "de")
        }
        assert at == {"en": set(probe_steps(STEPS)), "de": all_language_steps(STEPS)}


@pytest.mark.parametrize("place", [0, 1], ids=["intermediate", "target"])
def test_probing_does_not_change_training(mirror, arm, tmp_path, place):
    """Losses with and without probes are identical; the vocabulary is left whole, as probes add rows to it."""
    stage = arm[place]
    execution = Execution(trim_vocabulary=False, checkpoint_every_s=1e9)
    silent = stage.model_copy(update={"probes": ()})
    stores = []
    for variant in (stage, silent):
        store = Store(tmp_path / variant.key)
        for parent in arm[:place]:
            run_here(parent, store, mirror)
        run_here(variant, store, mirror, execution=execution)
        stores.append(store.entry(variant.key))
    probed, unprobed = stores
    assert len(measurements(probed)) > len(measurements(unprobed))
    assert losses(probed) == losses(unprobed)
    if stage.kind == "intermediate":
        ours, theirs = weights(probed), weights(unprobed)
        for name in theirs:
            assert (ours[name] == theirs[name]).all(), name


def test_with_a_trimmed_vocabulary_probing_changes_no_loss_beyond_rounding(mirror, arm, tmp_path):
    found = []
    for variant in (arm[0], arm[0].model_copy(update={"probes": ()})):
        store = Store(tmp_path / variant.key)
        run_here(variant, store, mirror)
        found.append(losses(store.entry(variant.key)))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


# -- the refit head ---------------------------------------------------------------------------------------------


@pytest.fixture
def probing(mirror, encoder_folder, tmp_path):
    """`probing(intermediate, labels)`: the refit head's scores on the very examples that it is fitted to."""
    engines = []

    def measure(intermediate: str, examples: int, relabel=None, folder: Path | None = None) -> dict[str, float]:
        connect(Ranks())
        folder = folder or encoder_folder("post")
        (stage, *_) = plan_stages(mirror, folder, intermediate, probe={"refit_examples": examples})
        data = StageData.load(stage, mirror, tmp_path, Path(stage.scale.source))
        (probe,) = data.probes
        refit = relabel(probe.refit) if relabel else probe.refit
        encoder = load_encoder(folder, Execution())
        vocabulary = Vocabulary(data.token_ids, encoder.config.vocab_size)
        vocabulary.trim(encoder)
        engines.append(make_engine(StageModel(encoder, {}), None, Execution(), Ranks()))
        prober = Prober(ProbeSets(probe.task, (refit,), refit), None)
        return {score.metric: score.value for score in prober.measure(engines[-1], vocabulary, stored_as=None).scores}

    yield measure
    for engine in engines:
        engine.close()


def test_refit_head_finds_a_class_that_the_features_tell(probing):
    """Classes by the sequence's length, which positions tell every encoder: three hundred examples, 32 features."""
    import pyarrow as pa

    def by_length(refit: LabelledSet) -> LabelledSet:
        lengths = refit.examples.lengths
        classes = np.digitize(lengths, np.quantile(lengths, [1 / 3, 2 / 3])).astype(np.int32)
        place = refit.table.column_names.index("label")
        table = refit.table.set_column(place, "label", pa.array(classes.astype(np.int64)))
        examples = type(refit.examples)(
            refit.examples.ids, refit.examples.starts, classes[:, None], refit.examples.example, refit.examples.marks
        )
        return LabelledSet(refit.task, refit.language, table, examples)

    assert probing("mnli", 300, by_length)["accuracy"] > 0.8


def test_refit_head_of_spans_reads_a_pretrained_encoder(probing):
    assert probing("squad", 300, folder=SANDBOX_ENCODERS / "sandbox-l")["f1"] > 0.2


def test_refitting_draws_nothing_at_random(probing):
    first = probing("mnli", 40)
    torch.manual_seed(12345)
    assert probing("mnli", 40) == first
