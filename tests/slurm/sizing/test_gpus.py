"""GPUs by the names that clusters give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.sizing.gpus import GPUS, named


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("a100-80", ["A100-80"]),
        ("A100_80GB", ["A100-80"]),
        ("a10080gb", ["A100-80"]),
        ("a100_40g", ["A100-40"]),
        ("nvidia_a100-sxm4-80gb", ["A100-80"]),
        ("NVIDIA H100 80GB HBM3", ["H100-80"]),
        ("tesla_v100-sxm2-32gb", ["V100-32"]),
        ("h100", ["H100-80"]),
        ("H200", ["H200-141"]),
        ("a100", ["A100-40", "A100-80"]),
        ("a100_pcie", ["A100-40", "A100-80"]),
        ("a100-sxm-64gb", []),
        ("v100-16gb", []),
        ("gh200", []),
        ("rtx_a1000", []),
        ("l40s", []),
        ("a100_3g.40gb", []),
        ("1g.10gb", []),
        ("", []),
    ],
)
def test_a_clusters_name_is_understood_or_not_at_all(name, known):
    assert [gpu.name for gpu in named(name)] == known


@given(
    name=st.sampled_from(sorted(GPUS)), separator=st.sampled_from(["-", "_", " ", ".", ":", ""]), upper=st.booleans()
)
def test_case_and_separators_do_not_count(name, separator, upper):
    written = name.replace("-", separator)
    assert [gpu.name for gpu in named(written.upper() if upper else written.lower())] == [name]


@given(st.text())
def test_any_text_may_be_asked_for(name):
    assert all(gpu in GPUS.values() for gpu in named(name))
