"""The scale axis: what each encoder is, and where it is read from.  Imports no torch.

A scale is one of the names below, or any folder or hub id of an encoder with XLM-R's or XLM-R-XL's architecture.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from trainers.stage import ScaleId

SANDBOX_ENCODERS = Path(__file__).parents[1] / "sandbox" / "encoders"
MODEL_TYPES = {"xlm-roberta": "post", "xlm-roberta-xl": "pre"}
"""Accepted `model_type`s and where their LayerNorm stands (before or after each sub-layer)."""


@dataclass(frozen=True)
class Shape:
    """What decides an encoder's size and cost."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int = 514
    layer_norm: str = "post"

    @property
    def non_embedding_parameters(self) -> int:
        """Weights of the transformer body, pooler and heads left out: the x-axis of every scale trend."""
        attention = 4 * self.hidden * (self.hidden + 1)
        feed_forward = 2 * self.hidden * self.feed_forward + self.feed_forward + self.hidden
        norms = 4 * self.hidden
        one_more_norm = 2 * self.hidden  # after the embeddings (post-LN) or after the last layer (pre-LN)
        return self.layers * (attention + feed_forward + norms) + one_more_norm

    @property
    def embedding_parameters(self) -> int:
        return (self.vocabulary + self.positions + 1) * self.hidden

    @property
    def parameters(self) -> int:
        return self.non_embedding_parameters + self.embedding_parameters

    @classmethod
    def from_config(cls, config: dict) -> Shape:
        """Read a Hugging Face `config.json`.

        Raises:
            ValueError: the architecture is not XLM-R's.
        """
        model_type = config.get("model_type")
        if model_type not in MODEL_TYPES:
            raise ValueError(
                f"model_type is {model_type!r}, but only {' and '.join(MODEL_TYPES)} encoders can be swept"
            )
        # An early revision of facebook/xlm-roberta-xxl said `xlm-roberta`: that builds a post-LN network
        # around pre-LN weights, without a word.
        architectures = config.get("architectures") or []
        if model_type == "xlm-roberta" and any(name.startswith("XLMRobertaXL") for name in architectures):
            raise ValueError(
                "config.json says model_type 'xlm-roberta' but its architectures are XLMRobertaXL*: this is the "
                "faulty early revision of the XL/XXL repositories; use a later one"
            )
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            feed_forward=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            layer_norm=MODEL_TYPES[model_type],
        )


@dataclass(frozen=True)
class KnownScale:
    """A published encoder."""

    hub_id: str
    shape: Shape


KNOWN = {
    "base": KnownScale("FacebookAI/xlm-roberta-base", Shape(12, 768, 12, 3072, 250_002)),
    "large": KnownScale("FacebookAI/xlm-roberta-large", Shape(24, 1024, 16, 4096, 250_002)),
    "xl": KnownScale("facebook/xlm-roberta-xl", Shape(36, 2560, 32, 10240, 250_880, layer_norm="pre")),
    "xxl": KnownScale("facebook/xlm-roberta-xxl", Shape(48, 4096, 32, 16384, 250_880, layer_norm="pre")),
}
SANDBOX = ("sandbox-s", "sandbox-m", "sandbox-l")


@dataclass(frozen=True)
class Scale:
    """One encoder of the sweep, located."""

    name: str
    shape: Shape
    folder: Path | None
    """Where its files lie; None while a known encoder has not been fetched."""
    hub_id: str | None = None
    revision: str = "main"

    @property
    def id(self) -> ScaleId:
        if self.folder is None:
            source = self.hub_id or self.name
            return ScaleId(fingerprint=f"hub:{source}@{self.revision}", name=self.name, source=source)
        return ScaleId(fingerprint=_fingerprint(self.folder), name=self.name, source=str(self.folder))

    @property
    def facts(self) -> dict[str, int | str]:
        """The columns that analysis needs of each scale."""
        return {
            "parameters": self.shape.parameters,
            "non_embedding_parameters": self.shape.non_embedding_parameters,
            "layers": self.shape.layers,
            "hidden": self.shape.hidden,
            "layer_norm": self.shape.layer_norm,
        }


def locate(name: str, mirror: Path | None = None) -> Scale:
    """Find a scale by its name, folder or hub id: in the package, on disk, then in the mirror.

    Raises:
        ValueError: nothing of this name, or an encoder of another architecture; the message says where it looked.
    """
    known = KNOWN.get(name)
    hub_id = known.hub_id if known else name
    places = [SANDBOX_ENCODERS / name] if name in SANDBOX else [] if known else [Path(name).expanduser()]
    if mirror is not None:
        places.append(mirror / hub_id)
    for folder in places:
        if (folder / "config.json").is_file():
            return Scale(folder.name if not known else name, _read_shape(folder), folder.resolve(), hub_id)
    if known:
        return Scale(name, known.shape, None, hub_id)
    looked = ", ".join(str(place) for place in places)
    names = ", ".join([*KNOWN, *SANDBOX])
    raise ValueError(f"there is no encoder {name!r}: it is not one of {names}, and there is no config.json in {looked}")


def _read_shape(folder: Path) -> Shape:
    path = folder / "config.json"
    try:
        return Shape.from_config(json.loads(path.read_text(encoding="utf-8")))
    except KeyError as missing:
        raise ValueError(f"{path} lacks the field {missing}: it is not a complete encoder configuration") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error


SAMPLE_BYTES = 1 << 20


def _fingerprint(folder: Path) -> str:
    """Hash of what decides the encoder's output: configuration, tokenizer and weights, wherever they lie.

    Of a weight file the size and three samples are hashed: two trainings differ in every tensor, and reading
    40 GB at each plan would be felt.
    """
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name in ("config.json", "tokenizer.json", "sentencepiece.bpe.model"):
            total.update(path.name.encode() + path.read_bytes())
        elif path.suffix == ".safetensors":
            size = path.stat().st_size
            total.update(f"{path.name}:{size}".encode())
            with path.open("rb") as file:
                for start in (0, max(0, size // 2), max(0, size - SAMPLE_BYTES)):
                    file.seek(start)
                    total.update(file.read(SAMPLE_BYTES))
    return total.hexdigest()[:32]


LANGUAGE_MODEL_HEAD = ("dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias")
"""Weights of XLM-R's language-model head beside the embeddings that it is tied to, under `lm_head.` in its files."""


def has_language_model_head(folder: Path) -> bool:
    """Whether the encoder's files hold the head that it was pretrained with."""
    from safetensors import safe_open

    names = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "numpy") as file:
            names |= set(file.keys())
    return {f"lm_head.{name}" for name in LANGUAGE_MODEL_HEAD} <= names
