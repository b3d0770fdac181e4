"""What is measured does not depend on how many ranks measure it, and is what plain code measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.trainers.conftest import STILL_EXECUTIONS
from tests.trainers.stages import measurements, plan_stages, predictions, run_here
from trainers.assembly import assemble
from trainers.data.tokenise import load_tokenizer
from trainers.evaluate import evaluate
from trainers.ranks import Ranks, connect
from trainers.stage import Execution
from trainers.store import Store
from trainers.tasks import TASKS


@pytest.mark.slow
@pytest.mark.parametrize("name", STILL_EXECUTIONS)
def test_results_do_not_depend_on_the_number_of_ranks(mirror, still_stages, two_ranks, tmp_path, name):
    """Zero-shot scores, retrieval at every layer, stored and refit heads, and each example's row."""
    alone = Store(tmp_path)
    measures = set()
    for stage in still_stages:
        execution = STILL_EXECUTIONS[name].model_copy(update={"zero_stage": 0, "checkpoint_every_s": 1e9})
        run_here(stage, alone, mirror, execution=execution)
        ours, theirs = alone.entry(stage.key), two_ranks.entry(name, stage)
        assert measurements(ours) == measurements(theirs)
        assert predictions(ours) == predictions(theirs)
        measures |= {measure for _, measure, *_ in measurements(ours)}
    assert measures == {"development", "zero_shot", "retrieval", "retrieval_normed", "stored", "refit", "untouched"}


@pytest.mark.parametrize("layer_norm", ["post", "pre"])
def test_retrieval_at_every_layer_is_what_plain_code_finds(mirror, encoder_folder, store, layer_norm):
    """Each sentence alone through Hugging Face's model, mean over its tokens, cosine, nearest foreign sentence."""
    import torch
    from transformers import AutoModel

    folder = encoder_folder(layer_norm)
    (stage,) = plan_stages(mirror, folder, "none", "tatoeba", evaluation={"max_examples": 40})
    run_here(stage, store, mirror)
    entry = store.entry(stage.key)

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokenizer = load_tokenizer(folder)
    files = TASKS["tatoeba"].test
    table = mirror.table(files, "de", TASKS["tatoeba"].columns)
    chosen = pl.read_parquet(entry.predictions / "tatoeba-layer00-de.parquet")
    assert chosen.height == 40
    from trainers.data.tokenise import chosen_rows

    embedded = {}
    for side in table.column_names:
        texts = [table[side][int(row)].as_py().strip() for row in chosen_rows(table.num_rows, 40)]
        with torch.no_grad():
            states = [
                model(torch.tensor([tokenizer.encode(text).ids]), output_hidden_states=True).hidden_states
                for text in texts
            ]
        embedded[side] = np.stack([[layer[0].mean(0).numpy() for layer in each] for each in states], 1)
    for layer, (foreign, english) in enumerate(zip(*embedded.values(), strict=True)):
        foreign = foreign / np.linalg.norm(foreign, axis=1, keepdims=True)
        english = english / np.linalg.norm(english, axis=1, keepdims=True)
        found = (english @ foreign.T).argmax(1)
        frame = pl.read_parquet(entry.predictions / f"tatoeba-layer{layer:02d}-de.parquet")
        assert frame["prediction"].to_list() == [str(place) for place in found]
        accuracy = measurements(entry)[layer, "retrieval", "tatoeba", "de", "accuracy"]
        assert accuracy == pytest.approx((found == np.arange(40)).mean())
    assert layer == 2, "embeddings and two layers"


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
