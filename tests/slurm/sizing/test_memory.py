"""The memory model: monotone, near the published numbers, and equal to what autograd and DeepSpeed really hold."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sizing import PUBLISHED, gpu_check, gpu_peaks, paper_bytes
from launch.estimate.costs import model_size
from slurm.sizing.memory import ModelSize, Placement, activation_bytes_per_token, peak, saved_bytes_per_token
from trainers.stage.scales import KNOWN, Shape

models = st.builds(
    ModelSize,
    body_parameters=st.integers(10**5, 10**10),
    embedding_rows=st.integers(10, 300_000),
    layers=st.integers(1, 48),
    hidden=st.sampled_from([48, 256, 1024, 4096]),
    feed_forward=st.sampled_from([192, 4096, 16384]),
    heads=st.integers(1, 32),
    logits_per_token=st.floats(0, 40_000),
)
placements = st.builds(
    Placement,
    nodes=st.integers(2, 8),
    ranks_per_node=st.sampled_from([1, 4, 8]),
    zero_stage=st.integers(0, 3),
    activation_checkpointing=st.booleans(),
    micro_batch_tokens=st.integers(1, 16_384),
)
precisions = st.sampled_from(["bf16", "fp32"])


def with_(placement: Placement, **changes) -> Placement:
    return placement.model_copy(update=changes)


@pytest.mark.slow
@given(models, placements, precisions, st.integers(1, 10_000))
def test_more_tokens_never_take_less(model, placement, precision, more):
    larger = with_(placement, micro_batch_tokens=placement.micro_batch_tokens + more)
    assert peak(model, larger, precision).total >= peak(model, placement, precision).total


@pytest.mark.slow
@given(models, placements, precisions)
def test_more_ranks_never_hold_more_each(model, placement, precision):
    doubled = with_(placement, nodes=2 * placement.nodes)
    assert peak(model, doubled, precision).total <= peak(model, placement, precision).total * (1 + 1e-12)


@pytest.mark.slow
@given(models, placements, precisions)
def test_a_higher_zero_stage_never_holds_more_states_but_for_small_tensors(model, placement, precision):
    """ZeRO-3 leaves small tensors whole; in fp32, stage 1 is the first to keep master weights beside the weights."""
    stages = range(1, 4) if precision == "fp32" else range(4)
    held = [peak(model, with_(placement, zero_stage=stage), precision).states for stage in stages]
    kept = 4 * model.persistent_parameters
    assert all(later <= earlier + kept * (1 + 1e-12) for earlier, later in pairwise(held))


@given(models, precisions)
def test_recomputing_never_takes_more_but_for_a_single_layer(model, precision):
    recomputed = activation_bytes_per_token(model, precision, checkpointing=True)
    kept = activation_bytes_per_token(model, precision, checkpointing=False)
    layer_input = 4 * model.layers * model.hidden
    assert recomputed <= kept or (model.layers == 1 and recomputed <= kept + layer_input)


@given(models, placements, precisions)
def test_offload_moves_states_from_the_gpu_to_the_host(model, placement, precision):
    placement = with_(placement, zero_stage=3)
    here, away = (peak(model, with_(placement, offload=offload), precision) for offload in (False, True))
    assert away.states < here.states
    assert away.host >= here.host


@pytest.mark.slow
@given(models, placements, precisions)
def test_every_part_is_there_and_the_total_is_their_sum_or_less(model, placement, precision):
    parts = peak(model, placement, precision)
    values = vars(parts)
    assert all(value >= 0 for value in values.values())
    assert parts.total <= sum(value for name, value in values.items() if name != "host") * (1 + 1e-12)


@pytest.mark.parametrize("name", KNOWN)
def test_the_papers_formula_gives_the_published_states(name):
    parameters = KNOWN[name].shape.parameters / 1e9
    published = vars(PUBLISHED[name]).values()
    for stage, ranks, told in zip(range(4), (1, 8, 8, 8), published, strict=True):
        assert paper_bytes(stage, ranks) * parameters == pytest.approx(told, rel=0.01, abs=0.06)


@pytest.mark.parametrize(("stage", "ranks", "more"), [(0, 1, 2.0), (1, 8, 4.0), (2, 8, 0.25), (3, 8, 0.25)])
def test_the_engine_holds_the_papers_bytes_and_those_of_fp32_gradients(stage, ranks, more):
    """On one rank they replace the bf16 ones: 4 bytes for 2; under ZeRO-1 they stand beside: 4 more; sharded: 2 / 8."""
    model = model_size(KNOWN["xl"].shape)
    found = peak(model, Placement(ranks_per_node=ranks, zero_stage=stage)).states / model.parameters
    assert found == pytest.approx(paper_bytes(stage, ranks) + more, rel=0.002)


@pytest.mark.parametrize(("layer_norm", "dropouts"), [("post", 2), ("pre", 1)])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_autograd_saves_what_the_model_says(layer_norm, dropouts, precision):
    """Counted on a CPU without dropout, whose masks are wider there than on a GPU: they are counted apart."""
    import torch

    from bench.gpu.model import build_model

    tokens, dtype = (4, 64), torch.bfloat16 if precision == "bf16" else torch.float32
    shape = Shape(layers=2, hidden=128, heads=4, feed_forward=512, vocabulary=200, layer_norm=layer_norm)
    found = []
    for layers in (2, 4):
        network = build_model(replace(shape, layers=layers), torch.device("cpu"), activation_checkpointing=False)
        encoder = network.encoder.to(dtype)
        inside = encoder.encoder.layer[0].modules()
        masks = [module for module in inside if isinstance(module, torch.nn.Dropout) and module.p > 0]
        assert len(masks) - 1 == dropouts  # the other one is attention's, which the kernel draws again
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        found.append(_saved_bytes(encoder, torch.randint(4, 100, tokens)))
    per_token = (found[1] - found[0]) / 2 / (tokens[0] * tokens[1])
    size = model_size(shape)
    assert size.dropouts == dropouts
    assert saved_bytes_per_token(replace(size, dropouts=0), precision) == pytest.approx(per_token, rel=0.02)


def _saved_bytes(network, ids) -> int:
    """Of all tensors that autograd keeps beside weights, each storage once."""
    import torch

    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    saved = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(ids).last_hidden_state  # noqa: F841 (keeps the graph, and so the storages, alive)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@pytest.mark.slow
def test_states_of_the_real_engine_are_predicted_within_a_tenth(tmp_path):
    from bench.held import measure

    found = measure(tmp_path, world_sizes=(1, 2), scales=("sandbox-l",))
    assert len(found) == 2 * 2 * 5
    for one in found:
        assert abs(one.error) < 0.10, one


def test_gpu_peaks_are_read_from_the_benchmarks_results(tmp_path):
    assert "No result" in gpu_check(tmp_path)[-1]
    shape = KNOWN["base"].shape
    memory = {"peak_bytes": 6.6e9, "largest_micro_batch_tokens": 1_000}
    workload = {"memory": memory, "zero_stage": 1, "activation_checkpointing": False}
    unmeasured = {**workload, "memory": {**memory, "peak_bytes": None}}
    attempt = {"model": {**vars(shape), "parameters": shape.parameters}}
    results = {"scales": {"base": {"attempts": [attempt], "workloads": {"small": workload, "none": unmeasured}}}}
    ((scale, name, predicted, measured),) = gpu_peaks(results)
    assert (scale, name, measured) == ("base", "small", 6.6e9)
    assert predicted == peak(model_size(shape), Placement(zero_stage=1, micro_batch_tokens=1_000)).allocated
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert "| base | small |" in gpu_check(tmp_path)[-1]


def test_every_measured_gpu_peak_is_within_a_tenth():
    from bench.sizing import GPU_RESULTS

    for path in sorted(GPU_RESULTS.rglob("results.json")):
        for scale, workload, predicted, measured in gpu_peaks(json.loads(path.read_text(encoding="utf-8"))):
            assert predicted == pytest.approx(measured, rel=0.10), f"{path}: {scale}, {workload}"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"nodes": 0}, r"(?s)nodes.*greater than or equal to 1.*input_value=0"),
        ({"ranks_per_node": 0}, r"(?s)ranks_per_node.*greater than or equal to 1.*input_value=0"),
        ({"micro_batch_tokens": -5}, r"(?s)micro_batch_tokens.*greater than 0.*input_value=-5"),
        ({"zero_stage": 4}, r"(?s)zero_stage.*less than or equal to 3.*input_value=4"),
        ({"zero_stage": 2, "offload": True}, "offload needs ZeRO-3, not stage 2"),
    ],
)
def test_impossible_placements_are_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        Placement(**changes)


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="bf16 or fp32, not 'fp16'"):
        peak(model_size(KNOWN["base"].shape), Placement(), "fp16")


@pytest.mark.parametrize("field", ["body_parameters", "embedding_rows", "layers", "hidden", "feed_forward", "heads"])
@pytest.mark.parametrize("value", [0, -1])
def test_impossible_networks_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be above 0, but is {value}"):
        replace(model_size(KNOWN["base"].shape), **{field: value})


def test_a_language_model_head_keeps_the_vocabulary_and_its_logits():
    shape = KNOWN["base"].shape
    trimmed, whole = model_size(shape, 1_000), model_size(shape, 1_000, language_model=True)
    assert trimmed.embedding_rows == 1_000 + 515
    assert whole.embedding_rows == 250_002 + 515
    assert peak(whole, Placement()).logits == pytest.approx(16 * 0.15 * 250_002 * 4096)
    assert peak(trimmed, Placement()).logits == 0
