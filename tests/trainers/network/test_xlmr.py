"""Our network is Hugging Face's, to the last bit: forwards, backwards, with dropout, and with layers computed again."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, XLMRobertaForMaskedLM, XLMRobertaXLForMaskedLM

from trainers.network.encoder import load_encoder
from trainers.stage import Execution

both_norms = pytest.mark.parametrize("layer_norm", ["post", "pre"])
IDS = torch.randint(4, 1400, (3, 17), generator=torch.Generator().manual_seed(1))
WEIGHING = torch.randn(3, 17, 32, generator=torch.Generator().manual_seed(2))


def theirs(folder):
    return AutoModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa")


def trained_once(encoder) -> dict[str, torch.Tensor]:
    """States and gradients of a pass in training, from one random state on."""
    torch.manual_seed(3)
    hidden = encoder.train()(input_ids=IDS).last_hidden_state
    (hidden * WEIGHING).sum().backward()
    return {"hidden": hidden.detach(), **{name: p.grad for name, p in encoder.named_parameters()}}


@both_norms
def test_states_of_all_layers_are_those_of_hugging_face(encoder_folder, layer_norm):
    folder = encoder_folder(layer_norm)
    with torch.no_grad():
        found, expected = (
            encoder.eval()(input_ids=IDS, output_hidden_states=True)
            for encoder in (load_encoder(folder, Execution()), theirs(folder))
        )
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
    assert len(found.hidden_states) == len(expected.hidden_states) == 3
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert torch.equal(one, other)


@both_norms
@pytest.mark.parametrize("recomputed", [False, True])
def test_gradients_with_dropout_are_those_of_hugging_face(encoder_folder, layer_norm, recomputed):
    folder = encoder_folder(layer_norm)
    ours = load_encoder(folder, Execution(activation_checkpointing=recomputed))
    found, expected = trained_once(ours), trained_once(theirs(folder))
    assert [*found] == [*expected], "the order in which norms of gradients are added up"
    for name, gradient in found.items():
        assert torch.equal(gradient, expected[name]), name
    assert not torch.equal(found["hidden"], ours.eval()(input_ids=IDS).last_hidden_state), "nothing was dropped"


def test_layers_that_are_computed_again_keep_no_activations(encoder_folder):
    def kept(recomputed: bool) -> int:
        elements = []
        encoder = load_encoder(encoder_folder("post"), Execution(activation_checkpointing=recomputed)).train()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one: (elements.append(one.numel()), one)[1], lambda one: one
        ):
            encoder(input_ids=IDS)
        return sum(elements)

    assert kept(True) < kept(False) / 4


@both_norms
def test_files_with_a_head_in_half_precision_and_in_pieces_are_read(encoder_folder, layer_norm, tmp_path):
    """As the hub holds XL and XXL: `roberta.` before each name, and several files."""
    model_class = {"post": XLMRobertaForMaskedLM, "pre": XLMRobertaXLForMaskedLM}[layer_norm]
    whole = model_class.from_pretrained(encoder_folder(layer_norm)).half()
    whole.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len([*tmp_path.glob("*.safetensors")]) >= 2
    found = load_encoder(tmp_path, Execution()).state_dict()
    expected = whole.roberta.float().state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())


def test_weights_of_another_size_are_refused(encoder_folder, tmp_path):
    folder = encoder_folder("post")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"] = torch.zeros(31)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"layer.0.output.dense.bias is \(31,\), but config.json says \(32,\)"):
        load_encoder(tmp_path, Execution())


def test_folder_without_weights_is_refused(encoder_folder, tmp_path):
    (tmp_path / "config.json").write_bytes((encoder_folder("post") / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="has no file named"):
        load_encoder(tmp_path, Execution())


@pytest.mark.parametrize(("field", "value"), [("hidden_act", "relu"), ("pad_token_id", 0), ("layer_norm_eps", None)])
def test_config_of_another_network_is_refused(encoder_folder, tmp_path, field, value):
    config = json.loads((encoder_folder("post") / "config.json").read_text()) | {field: value}
    (tmp_path / "config.json").write_text(json.dumps({name: one for name, one in config.items() if one is not None}))
    with pytest.raises(ValueError, match=field):
        load_encoder(tmp_path, Execution())
