"""The GPU benchmark with tiny configurations: the code that a GPU will run."""

from __future__ import annotations

import json
import os
import re
import stat
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.gpu import measure
from bench.gpu.page import TRIMMED
from launch.local import ADAM_BYTES
from trainers.stage.scales import Shape

RUN = Path(measure.__file__).with_name("run.sh")


def run(out: Path, *arguments: str, python: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": python or sys.executable}
    return subprocess.run(
        [RUN, "--tiny", "--out", out, *arguments], env=environment, capture_output=True, text=True, timeout=580
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """results.json and results.md of one tiny run of all scales."""
    out = tmp_path_factory.mktemp("bench")
    done = run(out)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / "results.json").read_text()), (out / "results.md").read_text()


@pytest.mark.slow
def test_every_scale_trains_both_batches_through_the_engine(results):
    found, page = results
    assert list(found["scales"]) == ["base", "large", "xl"]
    for name, scale in found["scales"].items():
        assert scale["error"] is None
        assert set(scale["workloads"]) == {measure.RECIPE.name, measure.FULL.name}
        for workload, one in scale["workloads"].items():
            assert f"| {name} | " in page
            assert workload in page
            assert one["memory"]["predicted_bytes"] > ADAM_BYTES * one["parameters"]
    assert found["scales"]["xl"]["attempts"][0]["model"]["layer_norm"] == "pre"
    assert found["scales"]["xl"]["workloads"][measure.RECIPE.name]["activation_checkpointing"]


@pytest.mark.slow
def test_every_scale_is_checked_and_its_peers_train_the_same_steps(results):
    found, page = results
    for job in measure.tiny_jobs():
        beside = dict(found["scales"][job.scale]["beside"])
        assert list(beside) == list(job.beside)
        checks = beside.pop(measure.CHECKS)["checks"]
        assert {precision: one["holds"] for precision, one in checks["packed"].items()} == {"fp32": True, "bf16": True}
        assert checks["packed"]["bf16"]["gradients"] > checks["packed"]["fp32"]["gradients"] > 0
        assert checks["resumed"]["holds"]
        own = found["scales"][job.scale]["workloads"][measure.RECIPE.name]
        if measure.EAGER in beside:
            assert set(beside.pop(measure.EAGER)["workloads"]) == {measure.RECIPE.name, measure.FULL.name}
            assert f"| {job.scale}, no CUDA graphs | " in page
        for name, report in beside.items():
            assert report["error"] is None
            assert len(report["peer"]["steps"]) == job.steps
            speed, seconds = np.mean([one["tokens"] for one in own["steps"]]), [one["seconds"] for one in own["steps"]]
            peers = report["peer"]["steps"]
            peer = np.mean([one["tokens"] for one in peers]) / np.median([one["clock_s"] for one in peers])
            assert f"| {job.scale} | {name} | {peer:,.0f} | {speed / np.median(seconds) / peer:.2f} |" in page
    assert page.count("| yes |") == 9


@pytest.mark.slow
def test_a_trimmed_scale_stands_beside_the_peers_of_the_whole_one(results):
    found = json.loads(json.dumps(results[0]))
    found["scales"][f"base{TRIMMED}"] = found["scales"]["base"] | {"beside": {}}
    page = measure.markdown(found)
    for name in found["scales"]["base"]["beside"]:
        if name not in (measure.CHECKS, measure.EAGER):
            assert f"| base | {name} | " in page
            assert f"| base{TRIMMED} | {name} | " in page


@pytest.mark.slow
def test_a_check_that_fails_is_told(results):
    found = json.loads(json.dumps(results[0]))
    found["scales"]["base"]["beside"][measure.CHECKS]["checks"]["packed"]["bf16"]["holds"] = False
    found["scales"]["xl"]["beside"][measure.CHECKS] = {"error": {"kind": "timeout", "message": "stopped"}}
    page = measure.markdown(found)
    assert page.count("| **no** |") == 1
    assert "| xl | stopped | | | | **not checked** |" in page


@pytest.mark.slow
def test_every_number_follows_from_the_raw_steps(results):
    for job in measure.tiny_jobs():
        scale = results[0]["scales"][job.scale]
        shape, rate = Shape(**job.shape), scale["attempts"][0]["matmul"]["flops_per_s"]["median"]
        for one in scale["workloads"].values():
            steps = one["steps"]
            seconds = [step["seconds"] for step in steps]
            assert len(steps) == job.steps  # warm-up left out
            assert one["step_seconds"] == {
                "median": statistics.median(seconds),
                "min": min(seconds),
                "max": max(seconds),
            }
            speeds = [step["tokens"] / step["seconds"] for step in steps]
            assert one["tokens_per_s"]["median"] == statistics.median(speeds)
            body = [
                6 * shape.non_embedding_parameters * step["tokens"]
                + 12 * shape.layers * shape.hidden * step["squared_lengths"]
                for step in steps
            ]
            use = [flops / step["seconds"] / rate for flops, step in zip(body, steps, strict=True)]
            assert one["mfu"]["median"] == pytest.approx(statistics.median(use))


@pytest.mark.slow
def test_without_a_gpu_the_page_says_so_and_no_gpu_memory_is_reported(results):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    found, page = results
    assert found["about"]["hardware"]["gpu"] is None
    assert "**No GPU was used" in page
    peaks = [one["memory"]["peak_bytes"] for scale in found["scales"].values() for one in scale["workloads"].values()]
    assert peaks == [None] * 6


@pytest.mark.slow
def test_full_size_without_a_gpu_is_refused_before_anything_is_built(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([RUN, "--out", tmp_path], env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 2
    assert "no GPU" in done.stderr
    assert "--tiny" in done.stderr


def test_missing_packages_are_named(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # -S: without site-packages
    bare.chmod(bare.stat().st_mode | stat.S_IXUSR)
    done = run(tmp_path / "out", python=str(bare))
    assert done.returncode == 2
    assert "lacks" in done.stderr
    assert "deepspeed" in done.stderr


@pytest.mark.slow
def test_a_scale_that_crashes_is_reported_and_loses_nothing_else(tmp_path):
    whole = measure.tiny_jobs()[0]
    whole = replace(whole, beside=())
    broken = replace(whole, scale="broken", shape={**whole.shape, "heads": 5})  # 32 does not divide by 5
    found = measure.measure([broken, whole], measure.run_attempt, tmp_path, time.monotonic() + 580)
    assert found["scales"]["broken"]["error"]["kind"] == "crash"
    assert "heads" in found["scales"]["broken"]["error"]["message"]
    assert found["scales"]["base"]["error"] is None
    assert json.loads((tmp_path / "results.json").read_text()) == found


def out_of_memory_unless(fits) -> measure.Attempt:
    """An attempt that measures workloads in turn, as bench.gpu.attempt does, until one does not fit."""

    def attempt(job: measure.Job, seconds_left: float) -> measure.Report:
        report: measure.Report = {"workloads": {}, "error": None}
        for workload in job.workloads:
            if not fits(job, workload):
                report["error"] = {"kind": "out_of_memory", "message": "CUDA out of memory."}
                break
            report["workloads"][workload.name] = {"activation_checkpointing": job.activation_checkpointing}
        return report

    return attempt


def test_out_of_memory_tries_checkpointing_only_for_what_did_not_fit():
    job = replace(measure.tiny_jobs()[0], workloads=(measure.RECIPE, measure.FULL))
    attempt = out_of_memory_unless(lambda job, workload: job.activation_checkpointing or workload == measure.RECIPE)
    found = measure.climb(job, attempt, time.monotonic() + 60)
    assert found["error"] is None
    assert found["workloads"] == {
        measure.RECIPE.name: {"activation_checkpointing": False},
        measure.FULL.name: {"activation_checkpointing": True},
    }
    assert [[workload["name"] for workload in one["workloads"]] for one in found["attempts"]] == [
        [measure.RECIPE.name, measure.FULL.name],
        [measure.FULL.name],
    ]


def test_what_never_fits_ends_with_its_error_and_the_next_scale_is_measured(tmp_path):
    first, second, _ = (replace(job, beside=()) for job in measure.tiny_jobs())
    attempt = out_of_memory_unless(lambda job, workload: job.scale != first.scale)

    def with_page(job: measure.Job, seconds_left: float) -> measure.Report:
        return {**attempt(job, seconds_left), "workloads": {}}  # the page of whole results is tested above

    found = measure.measure([first, second], with_page, tmp_path, time.monotonic() + 60)
    assert found["scales"][first.scale]["error"]["kind"] == "out_of_memory"
    assert len(found["scales"][first.scale]["attempts"]) == 3
    assert found["scales"][second.scale]["error"] is None
    assert "out_of_memory: CUDA out of memory." in (tmp_path / "results.md").read_text()


def test_no_time_left_is_said_and_starts_nothing():
    report = measure.run_attempt(measure.tiny_jobs()[0], 0.0)
    assert report == {"error": {"kind": "no_time", "message": "no time was left to measure this scale"}}


def test_full_size_models_have_the_published_sizes():
    import torch

    from bench.gpu.model import build_model

    shapes = {job.scale: Shape(**job.shape) for job in measure.full_size_jobs() if not job.scale.endswith(TRIMMED)}
    for shape in shapes.values():
        model = build_model(shape, torch.device("meta"), activation_checkpointing=True)
        assert sum(parameter.numel() for parameter in model.encoder.parameters()) == shape.parameters
    assert {name: round(shape.parameters / 1e6) for name, shape in shapes.items()} == {
        "base": 277,
        "large": 559,
        "xl": 3476,
    }


@pytest.mark.slow
def test_the_kernels_of_a_step_are_told():
    from bench.gpu.kernels import kernels

    shape = Shape(layers=1, hidden=32, heads=2, feed_forward=64, vocabulary=300, layer_norm="post")
    page = kernels(shape, measure.Workload("recipe batch", 32, 512), graphs=True)
    assert "## Recipe batch, with CUDA graphs" in page
    assert re.search(r"^\| `aten::addmm` \| \d+\.\d\d \| \d+ \|$", page, re.MULTILINE)
