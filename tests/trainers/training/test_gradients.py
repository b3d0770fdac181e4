"""How a batch is cut and which embedding rows are kept changes speed and memory, never the gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel

from tests.trainers.stages import losses, measurements, plan_stages, run_here, weights
from trainers.data.stagedata import StageData
from trainers.network.encoder import Vocabulary, load_encoder
from trainers.network.heads import build_head
from trainers.network.model import StageModel
from trainers.stage import Execution, Recipe
from trainers.store import Store
from trainers.tasks import TASKS
from trainers.tokens.sets import TokenisedSet
from trainers.training.batches import batch, cut
from trainers.training.engine import make_engine as build_engine
from trainers.training.ranks import Ranks, connect
from trainers.training.step import Engine, learning_rate_at

SEED, BATCH = 5, 12
RECIPE = Recipe(batch_size=BATCH, epochs=1, learning_rate=1e-3, weight_decay=0.0, max_length=96, doc_stride=32)
SMALL_PIECES = Execution(micro_batch_tokens=100)
WORDS = "encoder.embeddings.word_embeddings.weight"

pair_and_span = pytest.mark.parametrize("task", ["mnli", "squad"])
both_norms = pytest.mark.parametrize("layer_norm", ["post", "pre"])


@pytest.fixture(scope="module")
def sets(mirror, encoder_folder, tmp_path_factory):
    """Training examples of a pair and a span task, and the token ids in them."""
    found = {}
    for task in ("mnli", "squad"):
        (stage, *_) = plan_stages(mirror, encoder_folder("post"), task)
        data = StageData.load(stage, mirror, tmp_path_factory.mktemp("cache"), Path(stage.scale.source))
        found[task] = data.train[task], data.token_ids
    return found


@pytest.fixture
def make_engine(sets, encoder_folder):
    """A new engine on the tiny encoder without dropout; and the vocabulary that translates for it."""
    engines = []

    def make(layer_norm: str, task: str, execution: Execution = SMALL_PIECES, recipe: Recipe = RECIPE):
        connect(Ranks())
        encoder = load_encoder(encoder_folder(layer_norm, dropout=0.0), execution)
        vocabulary = Vocabulary(sets[task][1] if execution.trim_vocabulary else None, encoder.config.vocab_size)
        vocabulary.trim(encoder)
        torch.manual_seed(SEED)
        model = StageModel(encoder, {task: build_head(TASKS[task], encoder.config, encoder.embeddings.word_embeddings)})
        engines.append(build_engine(model, recipe, execution, Ranks()))
        return engines[-1], vocabulary

    yield make
    for engine in engines:
        engine.close()


def drawn(examples: TokenisedSet, step: int) -> TokenisedSet:
    """The whole batch of one step."""
    return examples.take(batch(SEED, step, len(examples), BATCH))


def gradients_of_a_step(engine: Engine, vocabulary: Vocabulary, examples, task: str) -> dict[str, torch.Tensor]:
    """What `Engine.step` hands to the optimizer, clipped; embedding rows at their places in the whole table."""
    engine.optimizer.step = engine.optimizer.zero_grad = lambda: None
    engine.step(drawn(examples, 0), task, (SEED, 0), vocabulary, 1e-3)
    found = {name: parameter.grad.clone() for name, parameter in engine.model.named_parameters()}
    table = torch.zeros(engine.model.encoder.config.vocab_size, 32)
    table[vocabulary.kept] = found[WORDS]
    return found | {WORDS: table}


def gradients_of_padded_batch(
    folder: Path, head: torch.nn.Module, examples, task: str, largest_norm: float
) -> dict[str, torch.Tensor]:
    """The same by Hugging Face's model in float64 on one batch, padded to more than the longest sequence."""
    encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False).double()
    head = head.double()
    chosen = batch(SEED, 0, len(examples), BATCH)
    ids = torch.ones(BATCH, 110, dtype=torch.long)
    for row, place in enumerate(chosen):
        sequence = torch.from_numpy(np.array(examples.sequence(place), np.int64))
        ids[row, : len(sequence)] = sequence
    mask = ids != 1
    hidden = encoder(ids, attention_mask=mask.long()).last_hidden_state
    targets = torch.from_numpy(examples.targets[chosen].astype(np.int64))
    if task == "mnli":
        loss = F.cross_entropy(head.projection(torch.tanh(head.dense(hidden[:, 0]))), targets[:, 0])
    else:
        start, end = head.projection(hidden).masked_fill(~mask[:, :, None], -torch.inf).unbind(-1)
        loss = (F.cross_entropy(start, targets[:, 0]) + F.cross_entropy(end, targets[:, 1])) / 2
    loss.backward()
    torch.nn.utils.clip_grad_norm_([*encoder.parameters(), *head.parameters()], largest_norm)
    return {
        **{f"encoder.{name}": p.grad for name, p in encoder.named_parameters()},
        **{f"heads.{task}.{name}": p.grad for name, p in head.named_parameters()},
    }


@pair_and_span
@both_norms
def test_cut_and_trimmed_batch_has_the_gradient_of_the_padded_one(make_engine, sets, encoder_folder, task, layer_norm):
    examples, _ = sets[task]
    lengths = examples.lengths[batch(SEED, 0, len(examples), BATCH)]
    assert len(cut(lengths, 1, SMALL_PIECES.micro_batch_tokens)[0]) >= 3, "nothing would be tested"
    engine, vocabulary = make_engine(layer_norm, task)
    assert len(vocabulary) < engine.model.encoder.config.vocab_size
    found = gradients_of_a_step(engine, vocabulary, examples, task)
    torch.manual_seed(SEED)
    encoder = engine.model.encoder
    head = build_head(TASKS[task], encoder.config, encoder.embeddings.word_embeddings)
    folder, clipping = encoder_folder(layer_norm, dropout=0.0), engine.recipe.gradient_clipping
    expected = gradients_of_padded_batch(folder, head, examples, task, clipping)
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name].double(), gradient, rtol=1e-4, atol=1e-6 * largest, msg=name)


@both_norms
def test_recomputed_activations_change_no_gradient(make_engine, sets, layer_norm):
    examples, _ = sets["mnli"]
    kept, recomputed = (
        gradients_of_a_step(*make_engine(layer_norm, "mnli", execution), examples, "mnli")
        for execution in (SMALL_PIECES, SMALL_PIECES.model_copy(update={"activation_checkpointing": True}))
    )
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)


@pair_and_span
@both_norms
def test_trimmed_vocabulary_trains_the_kept_rows_alike(make_engine, sets, task, layer_norm):
    """Losses and every weight over several AdamW steps without decay; rows that are not kept do not move at all."""
    examples, _ = sets[task]
    trimmed, kept = make_engine(layer_norm, task)
    whole, all_rows = make_engine(layer_norm, task, SMALL_PIECES.model_copy(update={"trim_vocabulary": False}))
    before = whole.model.encoder.embeddings.word_embeddings.weight.detach().clone()
    for step in range(5):
        rate = learning_rate_at(RECIPE, step, 5)
        ours = trimmed.step(drawn(examples, step), task, (SEED, step), kept, rate)
        theirs = whole.step(drawn(examples, step), task, (SEED, step), all_rows, rate)
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)
    full = dict(whole.model.named_parameters())
    for name, weight in trimmed.model.named_parameters():
        expected = full[name][kept.kept] if name == WORDS else full[name]
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-7, msg=name)
    dropped = torch.ones(len(before), dtype=torch.bool)
    dropped[kept.kept] = False
    torch.testing.assert_close(full[WORDS][dropped], before[dropped], rtol=0, atol=0)


def test_with_weight_decay_only_rows_that_no_example_touches_differ(make_engine, sets):
    examples, _ = sets["mnli"]
    recipe = RECIPE.model_copy(update={"weight_decay": 0.1})
    trimmed, kept = make_engine("post", "mnli", recipe=recipe)
    whole, all_rows = make_engine("post", "mnli", Execution(micro_batch_tokens=150, trim_vocabulary=False), recipe)
    before = whole.model.encoder.embeddings.word_embeddings.weight.detach().clone()
    for step in range(3):
        trimmed.step(drawn(examples, step), "mnli", (SEED, step), kept, 1e-2)
        whole.step(drawn(examples, step), "mnli", (SEED, step), all_rows, 1e-2)
    after = whole.model.encoder.embeddings.word_embeddings.weight
    ours = trimmed.model.encoder.embeddings.word_embeddings.weight
    torch.testing.assert_close(ours, after[kept.kept], rtol=1e-3, atol=1e-4)
    dropped = torch.ones(len(before), dtype=torch.bool)
    dropped[kept.kept] = False
    torch.testing.assert_close(after[dropped], before[dropped] * (1 - 1e-2 * 0.1) ** 3)


def test_a_whole_arm_measures_the_same_with_a_trimmed_vocabulary(mirror, arm, tmp_path):
    """Two stages with dropout, probes and decay: losses, scores in every language, and the rows that were touched."""
    stores = {trim: Store(tmp_path / str(trim)) for trim in (True, False)}
    for stage in arm:
        outcomes = {
            run_here(stage, store, mirror, execution=Execution(trim_vocabulary=trim, checkpoint_every_s=1e9))
            for trim, store in stores.items()
        }
        assert len(outcomes) == 1
    for stage in arm:
        trimmed, whole = (stores[trim].entry(stage.key) for trim in (True, False))
        assert losses(trimmed) == pytest.approx(losses(whole), rel=1e-4)
        found, expected = measurements(trimmed), measurements(whole)
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, abs=0.02)  # an example on the edge may fall to either side
    ours, theirs = (weights(stores[trim].entry(arm[0].key)) for trim in (True, False))
    for name, weight in theirs.items():
        same = np.isclose(ours[name], weight, rtol=1e-3, atol=1e-5)
        # Rows that the stage does not read stay as they were in one, and decay in the other.
        assert same.all() or (name.endswith("word_embeddings.weight") and same.all(axis=1).mean() > 0.2), name


@pair_and_span
@both_norms
def test_padding_changes_no_logits(make_engine, sets, task, layer_norm):
    """Each sequence alone, without a mask, and all of them padded together."""
    from trainers.network.batch import Batch

    examples, _ = sets[task]
    engine, vocabulary = make_engine(layer_norm, task)
    places = np.argsort(examples.lengths)[[0, len(examples) // 2, -1]]
    together = engine.infer(Batch.collate(examples, places, vocabulary, engine.device), task)
    for row, place in enumerate(places):
        alone = engine.infer(Batch.collate(examples, np.array([place]), vocabulary, engine.device), task)[0]
        length = int(examples.lengths[place]) if task == "squad" else None
        torch.testing.assert_close(together[row][:length], alone, rtol=1e-4, atol=1e-5)


@both_norms
def test_exported_encoder_is_read_by_auto_model(mirror, encoder_folder, store, layer_norm):
    """AutoModel on `encoder/` computes what the trained engine's encoder computes, over the whole vocabulary."""
    (stage, *_) = plan_stages(mirror, encoder_folder(layer_norm))
    run_here(stage, store, mirror)
    entry = store.entry(stage.key)
    model = AutoModel.from_pretrained(entry.encoder, add_pooling_layer=False).eval()
    pretrained = AutoModel.from_pretrained(stage.scale.source, add_pooling_layer=False).eval()
    assert model.config.vocab_size == pretrained.config.vocab_size
    table = model.embeddings.word_embeddings.weight
    assert table.shape == pretrained.embeddings.word_embeddings.weight.shape

    data = StageData.load(stage, mirror, store.tokenised, Path(stage.scale.source))
    ids = torch.from_numpy(data.token_ids.astype(np.int64))
    untouched = torch.ones(len(table), dtype=torch.bool)
    untouched[ids] = untouched[:4] = False
    assert torch.equal(table[untouched], pretrained.embeddings.word_embeddings.weight[untouched])
    assert not torch.equal(table[ids], pretrained.embeddings.word_embeddings.weight[ids])

    example = data.development["mnli"].examples.sequence(0)
    sequence = torch.from_numpy(np.array(example, np.int64))[None]
    connect(Ranks())
    encoder = load_encoder(entry.encoder, Execution())
    vocabulary = Vocabulary(data.token_ids, encoder.config.vocab_size)
    vocabulary.trim(encoder)
    with torch.no_grad():
        found = encoder.eval()(vocabulary.translate(sequence)).last_hidden_state
        expected = model(sequence).last_hidden_state
        other = pretrained(sequence).last_hidden_state
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, other)
    assert {"heads.mnli.dense.weight", "heads.mnli.projection.bias"} <= weights(entry).keys()
    assert (entry.encoder / "tokenizer.json").read_bytes() == (encoder_folder("post") / "tokenizer.json").read_bytes()
