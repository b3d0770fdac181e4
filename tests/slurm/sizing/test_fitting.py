"""The least sharding that fits, and the reasons why less does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.estimate.costs import model_size
from slurm.sizing.fitting import Fit, Misfit, least_sharding, world_sizes
from slurm.sizing.gpus import GPUS, Gpu
from slurm.sizing.memory import peak
from trainers.stage.scales import KNOWN

STEP = {"step_tokens": 4_096, "longest_sequence": 512}


def fit(scale: str, card: str, most: int = 16, **changes) -> Fit | Misfit:
    return least_sharding(model_size(KNOWN[scale].shape), GPUS[card], 8, most, **{**STEP, **changes})


@pytest.mark.parametrize(
    ("scale", "card", "world_size", "zero_stage"),
    [
        ("base", "V100-32", 1, 0),
        ("large", "A100-40", 1, 0),  # the reference notes: Large never needs ZeRO
        ("xl", "A100-80", 1, 0),  # fits one 80 GB GPU with small activations
        ("xl", "H200-141", 1, 0),
        ("xl", "A100-40", 4, 2),
        ("xxl", "A100-80", 4, 2),  # needs at least 4 × 80 GB
        ("xxl", "H200-141", 2, 2),  # or 2 × 141 GB
        ("xxl", "A100-40", 8, 3),
    ],
)
def test_the_published_scales_take_what_the_notes_say(scale, card, world_size, zero_stage):
    found = fit(scale, card)
    assert isinstance(found, Fit), found
    assert (found.placement.ranks, found.placement.zero_stage) == (world_size, zero_stage)
    assert found.placement.nodes == 1
    assert not found.placement.offload


def test_every_rejected_step_says_what_it_lacks():
    found = fit("xl", "A100-40")
    assert found.why[0] == "ZeRO-0 on 1×A100-40 needs 62.7 GB for weights, gradients and Adam, 42.3 GB are there"
    assert [one.split(" needs")[0] for one in found.why] == [
        "ZeRO-0 on 1×A100-40",
        "ZeRO-1 on 2×A100-40",
        "ZeRO-2 on 2×A100-40",
        "ZeRO-3 on 2×A100-40",
        "ZeRO-1 on 4×A100-40",
    ]
    assert "recomputed" in found.why[2]


def test_what_fits_nowhere_names_the_limit():
    found = fit("xxl", "A100-40", most=2)
    assert isinstance(found, Misfit)
    assert "nothing fits into up to 2×A100-40" in found.limit
    assert "ZeRO-3" in found.limit
    assert "42.3 GB are there" in found.limit
    assert "give the host memory for each rank" in found.limit
    assert len(found.why) == 1 + 3


def test_offload_comes_last_and_a_small_host_is_named():
    found = fit("xxl", "A100-80", most=1, host_bytes=250e9)
    assert isinstance(found, Fit)
    assert found.placement.offload
    assert (found.placement.ranks, found.placement.zero_stage) == (1, 3)
    assert "and 214.3 GB of the host for each rank" in str(found)
    assert found.parts.host == pytest.approx(20 * KNOWN["xxl"].shape.parameters, rel=0.01)
    without = fit("xxl", "A100-80", most=1, host_bytes=64e9)
    assert isinstance(without, Misfit)
    assert "the hosts are too small" in without.limit
    assert "64.0 GB are there" in without.limit
    assert fit("xxl", "A100-80", most=8, host_bytes=250e9).placement.offload is False


def test_nothing_is_offloaded_to_a_host_that_nobody_knows():
    assert isinstance(fit("xxl", "A100-80", most=1), Misfit)


def test_a_gpu_must_hold_the_whole_network_before_it_is_sharded():
    """In fp32, XXL's 43 GB are more than any V100 has, however many there are."""
    found = fit("xxl", "V100-32", most=32)
    assert isinstance(found, Misfit)
    assert any("42.9 GB for the whole network before it is sharded, 34.0 GB are there" in one for one in found.why)


def test_a_host_that_cannot_load_the_encoder_on_each_rank_keeps_ranks_away():
    found = fit("xxl", "A100-40", host_bytes=32e9)
    assert isinstance(found, Misfit)
    assert any("needs 42.9 GB of host memory per rank, 32.0 GB are there" in one for one in found.why)


def test_a_correction_by_measured_peaks_decides():
    assert fit("xl", "A100-80").placement.ranks == 1
    assert fit("xl", "A100-80", correction=1.2).placement.ranks == 2


def test_activations_shrink_before_anything_is_recomputed():
    found = fit("xl", "A100-80", step_tokens=65_536)
    assert found.placement.ranks == 1
    assert not found.placement.activation_checkpointing
    assert found.placement.micro_batch_tokens * found.accumulation >= 65_536
    smaller = found.placement.model_copy(update={"micro_batch_tokens": 8_192, "graphs": False})
    needed = peak(model_size(KNOWN["xl"].shape), smaller).total
    tight = replace(GPUS["A100-80"], memory_bytes=int(needed - 1e8))
    again = least_sharding(model_size(KNOWN["xl"].shape), tight, 8, 16, step_tokens=65_536, longest_sequence=8_192)
    assert again.placement.activation_checkpointing
    assert again.placement.ranks == 1


def test_graphs_are_left_out_where_their_memory_is_not_there():
    found = fit("xl", "A100-80")
    assert found.placement.replays("bf16")
    small = replace(GPUS["A100-80"], memory_bytes=int(found.parts.total - 2e9))
    again = least_sharding(model_size(KNOWN["xl"].shape), small, 8, 16, **STEP)
    assert again.placement.ranks == 1
    assert not again.placement.graphs
    assert not fit("xxl", "A100-80").placement.replays("bf16")  # on several ranks nothing is replayed


cards = st.builds(Gpu, st.just("card"), st.integers(10**9, 2 * 10**11), st.just(1e14), st.just(1e12), st.booleans())


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(KNOWN)), cards, st.sampled_from([1, 2, 4, 8]), st.integers(1, 32), st.integers(16, 70_000)
)
def test_a_fit_fits_covers_the_step_and_more_memory_never_takes_more_gpus(scale, card, per_node, most, step_tokens):
    model = model_size(KNOWN[scale].shape)
    found = least_sharding(model, card, per_node, most, step_tokens, 512)
    if isinstance(found, Misfit):
        assert found.why
        return
    placement = found.placement
    assert placement.ranks <= most
    assert peak(model, placement, "bf16" if card.bf16 else "fp32").total == found.parts.total <= card.memory_bytes
    assert placement.micro_batch_tokens >= 512
    assert placement.ranks * placement.micro_batch_tokens * found.accumulation >= step_tokens
    larger = replace(card, memory_bytes=2 * card.memory_bytes)
    more = least_sharding(model, larger, per_node, most, step_tokens, 512)
    assert isinstance(more, Fit)
    assert more.placement.offload <= placement.offload
    assert more.placement.ranks <= placement.ranks or placement.offload


def test_world_sizes_fill_a_node_before_the_next():
    assert world_sizes(8, 16) == [1, 2, 4, 8, 16]
    assert world_sizes(4, 20) == [1, 2, 4, 8, 16]
    assert world_sizes(6, 12) == [1, 2, 4, 6, 12]
    assert world_sizes(8, 3) == [1, 2]


@pytest.mark.parametrize("field", ["gpus_per_node", "max_gpus", "step_tokens", "longest_sequence"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(field, value):
    counts = {"gpus_per_node": 8, "max_gpus": 8, **STEP, field: value}
    with pytest.raises(ValueError, match=f"{field} must be at least 1, but is {value}"):
        least_sharding(model_size(KNOWN["base"].shape), GPUS["A100-40"], **counts)


@pytest.mark.parametrize("changes", [{"correction": 0.0}, {"host_bytes": -1.0}])
def test_bytes_below_zero_are_refused(changes):
    with pytest.raises(ValueError, match="must be above 0"):
        fit("base", "A100-40", **changes)


def test_a_gpu_without_memory_is_refused():
    with pytest.raises(ValueError, match="must have memory"):
        Gpu("broken", -1, 1e12, 1e12)
