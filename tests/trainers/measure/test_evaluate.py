"""What is measured does not depend on how many ranks measure it, and is what plain code measures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.conftest import STILL_EXECUTIONS
from tests.trainers.stages import measurements, plan_stages, predictions, run_here
from trainers.assembly import assemble
from trainers.data.tokenise import chosen_rows, load_tokenizer
from trainers.measure.evaluate import evaluate, outputs
from trainers.network.batch import Batch
from trainers.network.encoder import Vocabulary
from trainers.run import not_above_chance
from trainers.stage import Execution
from trainers.stage.scores import FOLDS, Score, without_fold
from trainers.store import Store
from trainers.tasks import TASKS
from trainers.tokens.sets import TokenisedSet
from trainers.training.ranks import Ranks, connect


@pytest.mark.slow
@pytest.mark.parametrize("name", STILL_EXECUTIONS)
def test_results_do_not_depend_on_the_number_of_ranks(mirror, still_stages, two_ranks, tmp_path, name):
    """Zero-shot scores, retrieval at every layer, stored and refit heads, and each example's row."""
    alone = Store(tmp_path)
    measures, retrieved = set(), set()
    for stage in still_stages:
        execution = STILL_EXECUTIONS[name].model_copy(update={"zero_stage": 0, "checkpoint_every_s": 1e9})
        run_here(stage, alone, mirror, execution=execution)
        ours, theirs = alone.entry(stage.key), two_ranks.entry(name, stage)
        assert measurements(ours) == measurements(theirs)
        assert predictions(ours) == predictions(theirs)
        measures |= {measure for _, measure, *_ in measurements(ours)}
        retrieved |= {found[:3] for found in measurements(ours) if "retrieval" in found[1]}
    without = {without_fold(measure, fold) for measure in ("refit", "untouched") for fold in range(FOLDS)}
    probed = {"stored", "refit", "untouched"} | without
    assert measures == {"development", "zero_shot", "retrieval", "retrieval_normed"} | probed
    assert retrieved == {
        (layer, measure, task)
        for layer in range(3)
        for measure in ("retrieval", "retrieval_normed")
        for task in ("tatoeba", "bucc")
    }


@pytest.mark.parametrize("layer_norm", ["post", "pre"])
def test_retrieval_at_every_layer_is_what_plain_code_finds(mirror, encoder_folder, store, layer_norm):
    """Each sentence alone through Hugging Face's model, mean over its tokens, cosine, nearest foreign sentence.

    With a pre-LN encoder also after the final LayerNorm, which of its hidden states only the last have passed.
    """
    import torch
    from transformers import AutoModel

    folder = encoder_folder(layer_norm)
    (stage,) = plan_stages(mirror, folder, "none", "tatoeba", evaluation={"max_examples": 40})
    run_here(stage, store, mirror)
    entry = store.entry(stage.key)

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokenizer = load_tokenizer(folder)
    table = mirror.table(TASKS["tatoeba"].test, "de", TASKS["tatoeba"].columns)
    rows = chosen_rows(table.num_rows, 40)
    states = {}
    with torch.no_grad():
        for side in table.column_names:
            ids = [torch.tensor([tokenizer.encode(table[side][int(row)].as_py().strip()).ids]) for row in rows]
            states[side] = [model(one, output_hidden_states=True).hidden_states for one in ids]

    def embedded(side, layer, norm):
        last = layer == model.config.num_hidden_layers
        kept = [each[layer][0] if last else norm(each[layer][0]) for each in states[side]]
        means = torch.stack([tokens.mean(0) for tokens in kept]).detach().numpy()
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    measures = {"tatoeba": ("retrieval", torch.nn.Identity())}
    if layer_norm == "pre":
        measures["tatoeba-normed"] = ("retrieval_normed", model.encoder.LayerNorm)
    found = {}
    for name, (measure, norm) in measures.items():
        for layer in range(3):  # the embeddings and two layers
            foreign, english = (embedded(side, layer, norm) for side in table.column_names)
            found[name, layer] = (english @ foreign.T).argmax(1)
            frame = pl.read_parquet(entry.predictions / f"{name}-layer{layer:02d}-de.parquet")
            assert frame["prediction"].to_list() == [str(place) for place in found[name, layer]]
            accuracy = measurements(entry)[layer, measure, "tatoeba", "de", "accuracy"]
            assert accuracy == pytest.approx((found[name, layer] == np.arange(40)).mean())
    assert {path.stem for path in entry.predictions.iterdir()} == {
        f"{name}-layer{layer:02d}-de" for name, layer in found
    }
    if layer_norm == "pre":
        unlike = [any(found["tatoeba", layer] != found["tatoeba-normed", layer]) for layer in range(3)]
        assert unlike == [True, True, False], "nothing would be tested"


def test_zero_shot_score_is_the_mean_of_the_stored_examples(mirror, arm, store):
    for stage in arm:
        run_here(stage, store, mirror)
    entry = store.entry(arm[1].key)
    found = measurements(entry)
    for language in ("en", "de"):
        frame = pl.read_parquet(entry.predictions / f"pawsx-{language}.parquet")
        assert frame.height == 24
        scores = [
            value
            for (_, measure, _, spoken, metric), value in found.items()
            if (measure, spoken, metric) == ("zero_shot", language, "accuracy")
        ]
        assert scores == [pytest.approx(frame["score"].mean())]
        assert ((frame["prediction"] == frame["gold"]) == (frame["score"] == 1)).all()


def test_inference_cut_does_not_change_predictions(mirror, still_stages, tmp_path):
    stage = next(stage for stage in still_stages if stage.trained == ("squad",))
    found = []
    for tokens in (200, 8192):
        store = Store(Path(tmp_path) / str(tokens))
        run_here(stage, store, mirror, execution=Execution(micro_batch_tokens=tokens, checkpoint_every_s=1e9))
        found.append(predictions(store.entry(stage.key)))
    assert found[0].keys() == found[1].keys()
    for name, rows in found[0].items():
        if name.startswith("xquad"):
            assert [row["prediction"] for row in rows] == [row["prediction"] for row in found[1][name]]


@pytest.mark.parametrize(("intermediate", "target"), [("none", "xquad"), ("none", "udpos"), ("none", "pawsx")])
def test_languages_scored_together_are_scored_as_each_alone(mirror, encoder_folder, store, intermediate, target):
    """Whatever the company, and however wide the rows of the longest language."""
    stage = plan_stages(mirror, encoder_folder("post"), intermediate, target, max_steps=1)[-1]
    ranks = Ranks()
    connect(ranks)
    parts = assemble(stage, store, mirror, Execution(micro_batch_tokens=300), ranks)
    (head,) = stage.trained
    sets = [("zero_shot", labelled) for labelled in parts.data.evaluations]
    assert len(sets) == 2
    together = evaluate(parts.engine, parts.vocabulary, head, sets)
    for one, found in zip(sets, together, strict=True):
        (alone,) = evaluate(parts.engine, parts.vocabulary, head, [one])
        assert found.scores == alone.scores
        assert found.examples.drop("score").equals(alone.examples.drop("score"))
    parts.engine.close()


@given(st.lists(st.integers(3, 90), min_size=1, max_size=40), st.integers(1, 6))
def test_ranks_share_the_batches_and_all_go_through_equally_many_forward_passes(lengths, world_size):
    """Under ZeRO-3 a forward pass needs every rank; what is summed over ranks must be there once."""
    examples = TokenisedSet.from_lists(
        [[5] * length for length in lengths], [(0,)] * len(lengths), [*range(len(lengths))]
    )
    vocabulary = Vocabulary(None, 6)
    found, passes = [], []
    for rank in range(world_size):
        inferred: list[Batch] = []
        engine = SimpleNamespace(
            ranks=Ranks(rank, world_size),
            execution=Execution(micro_batch_tokens=64),
            device=torch.device("cpu"),
            infer=lambda batch, task, layers, inferred=inferred: inferred.append(batch),
        )
        found += [place for places, *_ in outputs(engine, examples, vocabulary) for place in places.tolist()]
        passes.append(len(inferred))
    assert sorted(found) == [*range(len(lengths))]
    assert len(set(passes)) == 1


def development(task, metric, value, chance, examples=500, measure="development"):
    return Score(measure, task, "en", metric, value, examples, chance)


def test_a_training_has_diverged_where_one_of_its_tasks_may_have_learnt_nothing():
    at_chance, learnt = development("mnli", "accuracy", 0.354, 0.354), development("qqp", "accuracy", 0.7, 0.63)
    told = not_above_chance([at_chance, learnt])
    assert told == (
        "mnli: development accuracy 0.354 on 500 examples is not clearly above that of a constant answer, 0.354"
    )
    assert "; " in not_above_chance([at_chance, development("panx", "f1", 0.0, 0.2)]), "each task is told"
    # Neither another metric nor another set makes up for it.
    others = development("panx", "accuracy", 0.9, 0.2), development("mnli", "accuracy", 0.9, 0.4, measure="zero_shot")
    assert not_above_chance([at_chance, *others]) == told
    assert not_above_chance([learnt]) is None
    assert not_above_chance([]) is None, "language modelling is not scored"


@pytest.mark.parametrize(
    ("right", "of", "chance", "diverged"),
    [(178, 500, 0.354, True), (197, 500, 0.354, False), (14, 24, 0.4, True), (15, 24, 0.4, False), (0, 24, 0.0, True)],
)
def test_one_example_above_chance_may_be_luck(right, of, chance, diverged):
    """As scipy.stats.binomtest(right, of, chance, "greater") has it, at 5 %."""
    from scipy.stats import binomtest

    assert bool(not_above_chance([development("mnli", "accuracy", right / of, chance, of)])) == diverged
    assert (binomtest(right, of, chance, "greater").pvalue > 0.05) == diverged
