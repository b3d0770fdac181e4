"""Only XLM-R's architectures pass, told apart by what the files say; sizes are those of the papers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.trainers.stages import plan_stages, run_here
from trainers.network.encoder import load_encoder
from trainers.stage import Execution
from trainers.stage.scales import KNOWN, SANDBOX, Shape, locate

PUBLISHED = {  # millions: all parameters with Hugging Face's pooler, and those of the transformer body
    "base": (278.0, 85.1),
    "large": (559.9, 302.3),
    "xl": (3_482, 2_832),
    "xxl": (10_713, 9_666),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    shape = KNOWN[name].shape
    with_pooler, body = PUBLISHED[name]
    pooler = shape.hidden * (shape.hidden + 1)
    rounded = 1 if body < 1000 else 0  # the last digit that was published
    assert round((shape.parameters + pooler) / 1e6, rounded) == with_pooler
    assert round(shape.non_embedding_parameters / 1e6, rounded) == body
    assert shape.layer_norm == ("pre" if name in ("xl", "xxl") else "post")


@pytest.mark.parametrize("layer_norm", ["post", "pre"])
def test_counted_parameters_are_those_of_the_loaded_network(encoder_folder, layer_norm):
    folder = encoder_folder(layer_norm)
    shape = locate(str(folder)).shape
    encoder = load_encoder(folder, Execution())
    assert shape.parameters == sum(parameter.numel() for parameter in encoder.parameters())
    assert shape.embedding_parameters == sum(
        weight.numel()
        for name, weight in encoder.named_parameters()
        if "embeddings." in name and "norm" not in name.lower()
    )
    assert shape.layer_norm == layer_norm
    assert hasattr(encoder.encoder, "LayerNorm") == (layer_norm == "pre")


@pytest.mark.parametrize("name", SANDBOX)
def test_sandbox_encoders_are_in_the_package_and_load(name):
    scale = locate(name)
    encoder = load_encoder(scale.folder, Execution())
    assert scale.facts["parameters"] == sum(parameter.numel() for parameter in encoder.parameters())


# -- what does not pass -----------------------------------------------------------------------------------------


@pytest.fixture
def changed(encoder_folder, tmp_path):
    """`changed(layer_norm, model_type=…)`: a copy of an encoder with another configuration."""

    def make(layer_norm: str = "post", **fields) -> Path:
        folder = tmp_path / "encoder"
        shutil.copytree(encoder_folder(layer_norm), folder)
        config = json.loads((folder / "config.json").read_text()) | fields
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        return folder

    return make


@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlm", None])
def test_other_architecture_is_refused(changed, model_type):
    folder = changed(model_type=model_type)
    for attempt in (lambda: locate(str(folder)), lambda: load_encoder(folder, Execution())):
        with pytest.raises(ValueError, match=f"model_type is {model_type!r}, but only xlm-roberta and xlm-roberta-xl"):
            attempt()


def test_early_xxl_revision_that_would_build_a_post_ln_network_is_refused(changed):
    folder = changed("pre", model_type="xlm-roberta", architectures=["XLMRobertaXLForMaskedLM"])
    for attempt in (lambda: locate(str(folder)), lambda: load_encoder(folder, Execution())):
        with pytest.raises(ValueError, match="faulty early revision of the XL/XXL repositories"):
            attempt()


def test_pre_ln_weights_under_a_post_ln_name_are_refused(changed):
    """Even where `architectures` does not give it away: the weights' names do not fit."""
    with pytest.raises(ValueError, match=r"weights of the encoder are missing in its files"):
        load_encoder(changed("pre", model_type="xlm-roberta", architectures=None), Execution())


def test_missing_weights_are_refused(changed):
    folder = changed()
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"1 weights of the encoder are missing in its files, e.g. {name}"):
        load_encoder(folder, Execution())


def test_config_without_a_field_is_refused(changed):
    with pytest.raises(ValueError, match=r"config.json lacks the field 'num_hidden_layers'"):
        locate(str(changed(num_hidden_layers=None)))


def test_config_that_is_not_json_is_refused(changed):
    folder = changed()
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        locate(str(folder))


def test_unknown_name_is_told_with_the_places_that_were_looked_at(tmp_path):
    with pytest.raises(ValueError, match=r"no encoder 'no/such': it is not one of base, .*json in no/such, .*mirror"):
        locate("no/such", tmp_path / "mirror")


def test_encoder_is_found_in_the_mirror(encoder_folder, tmp_path):
    shutil.copytree(encoder_folder("pre"), tmp_path / "facebook" / "xlm-roberta-xl")
    scale = locate("xl", tmp_path)
    assert scale.name == "xl"
    assert scale.folder == tmp_path / "facebook" / "xlm-roberta-xl"
    assert scale.shape.hidden == 32


def test_fingerprint_follows_the_weights_and_not_the_place(encoder_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(encoder_folder("post"), copy)
    original = locate(str(encoder_folder("post"))).id.fingerprint
    assert locate(str(copy)).id.fingerprint == original
    weights = load_file(copy / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][0] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert locate(str(copy)).id.fingerprint != original


def test_shape_is_read_from_a_config():
    config = {
        "model_type": "xlm-roberta-xl",
        "num_hidden_layers": 36,
        "hidden_size": 2560,
        "num_attention_heads": 32,
        "intermediate_size": 10240,
        "vocab_size": 250_880,
        "max_position_embeddings": 514,
    }
    assert Shape.from_config(config) == KNOWN["xl"].shape


def test_stage_of_a_refused_encoder_ends_with_the_reason(changed, mirror, store):
    folder = changed()
    (stage, *_) = plan_stages(mirror, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ValueError, match="model_type is 'bert'"):
        run_here(stage, store, mirror)
    assert not store.entry(stage.key).done
    assert store.entry(stage.key).claimant() is None
