"""What a stage works with: its data, the encoder it starts from, its engine and its prober; and the way out again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainers.data.mirror import Mirror
from trainers.data.stagedata import StageData
from trainers.data.tokenise import mask_id
from trainers.families.mlm import MaskVocabulary
from trainers.measure.probes import Prober
from trainers.network.encoder import Vocabulary, export_encoder, load_encoder, load_language_model_head
from trainers.network.heads import Head, build_head
from trainers.network.model import StageModel
from trainers.network.xlmr import Encoder
from trainers.stage import Execution, Stage
from trainers.stage.random import seed_for
from trainers.store import StageEntry, Store
from trainers.store.files import StoreError, writing
from trainers.tasks import Task
from trainers.tasks.intermediates import MLM
from trainers.training.engine import make_engine
from trainers.training.mixing import StepBatches
from trainers.training.ranks import Ranks
from trainers.training.step import Engine

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class Assembly:
    """Everything in place to train or evaluate one stage."""

    data: StageData
    vocabulary: Vocabulary
    all_embeddings: Tensor
    """The untrimmed word embeddings, [full vocabulary, hidden]."""
    engine: Engine
    probers: tuple[Prober, ...]
    """One for each probed task."""
    batches: StepBatches
    source: Path
    """The encoder folder that the stage starts from."""

    def trained_head(self, name: str) -> Head:
        """A copy of a head as it is trained now: whole and in fp32, as `export` writes it.  All ranks must call it."""
        live = self.engine.model.head(name)
        head = new_head(self.data.tasks[name], self.engine.model.encoder)
        head.load_state_dict({key: self.engine.full_weight(p) for key, p in live.named_parameters()})
        return head

    def export(self, entry: StageEntry) -> None:
        """Write encoder (whole vocabulary, Hugging Face's format) and heads.  All ranks must call it."""
        weights: dict[str, Tensor] = {}
        for name, parameter in self.engine.named_parameters():
            whole = self.engine.full_weight(parameter)
            if self.engine.ranks.first:
                weights[name] = whole.cpu()  # all of XXL at once would take 43 GB of every GPU
        if not self.engine.ranks.first:
            return
        encoder = _below("encoder.", weights)
        encoder[WORD_EMBEDDINGS] = self.vocabulary.restore(self.all_embeddings, encoder[WORD_EMBEDDINGS])
        with writing(entry.heads):
            save_file(_below("heads.", weights), entry.heads)
        export_encoder(entry.encoder, encoder, self.source)


def assemble(stage: Stage, store: Store, mirror: Mirror, execution: Execution, ranks: Ranks) -> Assembly:
    """Load data and encoder and build the engine; all ranks must call it.

    Raises:
        StoreError: the parent has no result yet.
        DataError: the data are not what the stage was planned with.
        ValueError: the encoder is not XLM-R's or lacks weights.
    """
    parent = store.entry(stage.parent) if stage.parent else None
    if parent is not None and not (parent.done and parent.encoder.is_dir()):
        raise StoreError(f"stage {stage.key} starts from {stage.parent}, which has no encoder: run that first")
    source = parent.encoder if parent else Path(stage.scale.source)

    def load() -> StageData:
        return StageData.load(stage, mirror, store.tokenised, source)

    data = ranks.on_first(load) or load()  # rank 0 fills the cache, the others open it
    encoder = load_encoder(source, execution)
    # The language-model head predicts every token there is, so that nothing can be trimmed.
    trimmed = execution.trim_vocabulary and MLM not in stage.trained
    vocabulary = Vocabulary(data.token_ids if trimmed else None, encoder.config.vocab_size)
    all_embeddings = vocabulary.trim(encoder)
    heads = {name: new_head(data.tasks[name], encoder, seed_for(stage, name, "head")) for name in stage.trained}
    if MLM in heads:
        load_language_model_head(source, heads[MLM])
    engine = make_engine(StageModel(encoder, heads), stage.recipe, execution, ranks)
    probers = tuple(
        Prober(probe, _stored_head(parent, probe.task, encoder) if parent else None) for probe in data.probes
    )
    batches = StepBatches(stage, data.train, MaskVocabulary(mask_id(source), len(all_embeddings)))
    return Assembly(data, vocabulary, all_embeddings, engine, probers, batches, source)


def new_head(task: Task, encoder: Encoder, seed: int = 0) -> Head:
    """
    Args:
        seed: of the weights; any will do where they are then replaced.
    """
    torch.manual_seed(seed)
    return build_head(task, encoder.config, encoder.embeddings.word_embeddings)


def _stored_head(parent: StageEntry, task: Task, encoder: Encoder) -> Head:
    """The head that phase 2 trained, re-attached as it was."""
    head = new_head(task, encoder)
    head.load_state_dict(_below(f"{task.name}.", load_file(parent.heads)))
    return head


def _below(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights whose names start with `prefix`, without it."""
    return {
        name.removeprefix(prefix): weight.cpu().contiguous()
        for name, weight in weights.items()
        if name.startswith(prefix)
    }
