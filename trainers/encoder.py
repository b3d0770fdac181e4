"""The encoder of a stage: loaded, its vocabulary trimmed to what the stage reads, and exported whole again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers.attention import PACKED
from trainers.files import writing
from trainers.scales import LANGUAGE_MODEL_HEAD, Shape, has_language_model_head
from trainers.stage import Execution

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPECIAL_IDS = np.arange(4)
"""<s> <pad> </s> <unk>: they keep their ids, so that padding and positions stay XLM-R's."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model")


def load_encoder(folder: Path, execution: Execution) -> PreTrainedModel:
    """An XLM-R or XLM-R-XL encoder in fp32, without pooler.

    Raises:
        ValueError: the folder holds another architecture, or its weights do not fit its configuration.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    Shape.from_config(config)
    loaded: Any = _class_of(config).from_pretrained(
        folder,
        add_pooling_layer=False,
        dtype=torch.float32,
        attn_implementation=PACKED,
        local_files_only=True,
        output_loading_info=True,
    )
    encoder, report = loaded
    missing = sorted(name for name in report["missing_keys"] if "position_ids" not in name)
    if missing:
        raise ValueError(f"{folder}: {len(missing)} weights of the encoder are not in its files, e.g. {missing[0]}")
    if execution.activation_checkpointing:
        encoder.gradient_checkpointing_enable()
    return encoder


def load_language_model_head(folder: Path, head: nn.Module) -> None:
    """Fill `head` with the weights that the encoder was pretrained with.

    Raises:
        ValueError: the files hold no such head.
    """
    from safetensors import safe_open

    if not has_language_model_head(folder):
        raise ValueError(f"{folder} holds no language-model head (lm_head.*), which +mlm trains further")
    state: dict[str, Tensor] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            held = {name for name in LANGUAGE_MODEL_HEAD if f"lm_head.{name}" in file.keys()}  # noqa: SIM118 (no dict)
            state |= {name: file.get_tensor(f"lm_head.{name}") for name in held}
    head.load_state_dict({name: weight.float() for name, weight in state.items()})


def _class_of(config: dict) -> type[PreTrainedModel]:
    if config["model_type"] == "xlm-roberta-xl":
        from transformers import XLMRobertaXLModel

        return XLMRobertaXLModel
    from transformers import XLMRobertaModel

    return XLMRobertaModel


class Vocabulary:
    """The embedding rows that a stage keeps, and the way back to all of them.

    Rows that no example of the stage touches get no gradient; dropping them leaves logits, losses and the kept
    rows' updates as they were (only weight decay on the dropped rows is left out) and shrinks optimizer states,
    all-reduce and checkpoints.
    """

    def __init__(self, used: np.ndarray | None, size: int) -> None:
        kept = np.arange(size) if used is None else np.union1d(SPECIAL_IDS, used)
        self.kept = torch.from_numpy(kept.astype(np.int64))
        self._new_id = torch.full((size,), -1, dtype=torch.long)
        self._new_id[self.kept] = torch.arange(len(kept))

    def __len__(self) -> int:
        return len(self.kept)

    def translate(self, ids: Tensor) -> Tensor:
        """Tokenizer ids → rows of the trimmed embedding."""
        return self._new_id[ids]

    def trim(self, encoder: PreTrainedModel) -> Tensor:
        """Replace the encoder's word embeddings by the kept rows; returns the full table, for `restore`."""
        embeddings: Any = encoder.embeddings
        full: nn.Embedding = embeddings.word_embeddings
        trimmed = nn.Embedding(len(self), full.embedding_dim, padding_idx=full.padding_idx)
        with torch.no_grad():
            trimmed.weight.copy_(full.weight[self.kept])
        embeddings.word_embeddings = trimmed
        return full.weight.detach()

    def restore(self, full: Tensor, trained: Tensor) -> Tensor:
        """The full table with the trained rows put back."""
        table = full.clone()
        table[self.kept] = trained.to(table.dtype)
        return table


def export_encoder(folder: Path, config: Any, weights: dict[str, Tensor], tokenizer_from: Path) -> None:
    """Write a Hugging Face folder that `AutoModel.from_pretrained` reads; whole or not at all."""
    from safetensors.torch import save_file

    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    with writing(folder):
        building.mkdir(parents=True)
        save_file(contiguous, building / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(building)
        for name in TOKENIZER_FILES:
            if (tokenizer_from / name).is_file():
                shutil.copyfile(tokenizer_from / name, building / name)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(building, folder)
