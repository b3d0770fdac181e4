"""The encoder of a stage: loaded, its vocabulary trimmed to what the stage reads, and exported whole again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainers.network.xlmr import Embedding, Encoder, EncoderConfig
from trainers.stage import Execution
from trainers.stage.scales import LANGUAGE_MODEL_HEAD, has_language_model_head
from trainers.store.files import writing

SPECIAL_IDS = np.arange(4)
"""<s> <pad> </s> <unk>: they keep their ids, so that padding and positions stay XLM-R's."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model")
MODEL_PREFIX = "roberta."
"""Before the names of an encoder's weights in files that hold a head, too."""
ARCHITECTURES = {"xlm-roberta": "XLMRobertaModel", "xlm-roberta-xl": "XLMRobertaXLModel"}
"""What transformers calls an encoder without head, by `model_type`."""


def load_encoder(folder: Path, execution: Execution) -> Encoder:
    """An XLM-R or XLM-R XL encoder in fp32, without pooler.

    Raises:
        ValueError: the folder holds another architecture, or its weights do not fit its configuration.
        FileNotFoundError: it has no weights.
    """
    with torch.device("meta"):  # all of it is loaded: no random numbers are drawn
        encoder = Encoder(EncoderConfig.read(folder))
    shapes = {name: parameter.shape for name, parameter in encoder.named_parameters()}
    weights = {}
    for name, path, file in _held(folder):
        inner = name.removeprefix(MODEL_PREFIX)
        if inner in shapes:
            weights[inner] = file.get_tensor(name).to(torch.float32, copy=True)  # what was mapped changes with its file
            if weights[inner].shape != shapes[inner]:
                stored, expected = tuple(weights[inner].shape), tuple(shapes[inner])
                raise ValueError(f"{path}: {name} is {stored}, but config.json says {expected}")
    if missing := sorted(shapes.keys() - weights.keys()):
        raise ValueError(f"{folder}: {len(missing)} weights of the encoder are missing in its files, e.g. {missing[0]}")
    encoder.load_state_dict(weights, assign=True)
    if execution.activation_checkpointing:
        encoder.checkpoint_activations()
    return encoder


def _held(folder: Path) -> Iterator[tuple[str, Path, Any]]:
    """Each weight's name, and the file that holds it."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise FileNotFoundError(f"{folder} has no file named *.safetensors: pickled weights are never read")
    for path in paths:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (no dict)
                yield name, path, file


def load_language_model_head(folder: Path, head: nn.Module) -> None:
    """Fill `head` with the weights that the encoder was pretrained with.

    Raises:
        ValueError: the files hold no such head.
    """
    if not has_language_model_head(folder):
        raise ValueError(f"{folder} has no language-model head (lm_head.*), which +mlm needs")
    named = {f"lm_head.{name}": name for name in LANGUAGE_MODEL_HEAD}
    state = {named[name]: file.get_tensor(name) for name, _, file in _held(folder) if name in named}
    head.load_state_dict({name: weight.float() for name, weight in state.items()})


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

    def trim(self, encoder: Encoder) -> Tensor:
        """Replace the encoder's word embeddings by the kept rows; returns the full table, for `restore`."""
        full = encoder.embeddings.word_embeddings
        trimmed = Embedding(len(self), full.embedding_dim, padding_idx=full.padding_idx)
        with torch.no_grad():
            trimmed.weight.copy_(full.weight[self.kept])
        encoder.embeddings.word_embeddings = trimmed
        return full.weight.detach()

    def restore(self, full: Tensor, trained: Tensor) -> Tensor:
        """The full table with the trained rows put back."""
        table = full.clone()
        table[self.kept] = trained.to(table.dtype)
        return table


def export_encoder(folder: Path, weights: dict[str, Tensor], source: Path) -> None:
    """Write a Hugging Face folder that `AutoModel.from_pretrained` reads; whole or not at all.

    Args:
        source: the folder that the encoder came from; its configuration and tokenizer are the new one's.
    """
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config |= {"architectures": [ARCHITECTURES[config["model_type"]]], "dtype": "float32"}
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    with writing(folder):
        building.mkdir(parents=True)
        save_file(contiguous, building / "model.safetensors", metadata={"format": "pt"})
        (building / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, building / name)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(building, folder)
