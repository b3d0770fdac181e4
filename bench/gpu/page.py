"""The GPU benchmark's results as a Markdown page."""

from __future__ import annotations

import statistics
from typing import Any

GIB = 1 << 30
STEPS, EAGER, CHECKS = "steps", "steps without CUDA graphs", "checks"
"""Parts of a job (`bench.gpu.measure`): our training steps, without one lever, and what must hold."""
RECIPE = "recipe batch"
TRIMMED = ", vocabulary trimmed"
"""Ends the name of a scale as a stage trains it: without the embedding rows that its data never touch."""


def markdown(results: dict[str, Any]) -> str:
    """The results as a page."""
    about = results["about"] or {}
    hardware = about.get("hardware", {})
    gpu = hardware.get("gpu")
    where = f"{gpu}, {hardware['gpu_memory_bytes'] / GIB:.0f} GiB" if gpu else f"no GPU; {hardware.get('cpu')}"
    packages = ", ".join(f"{name} {version}" for name, version in about.get("packages", {}).items() if version)
    dirty = " with uncommitted changes" if (about.get("code") or {}).get("dirty") else ""
    lines = [
        "# Training steps on one GPU",
        "",
        f"`{results['benchmark']}` on {results['date']}, commit {results['commit'] or 'unknown'}{dirty}.  ",
        f"Hardware: {where}.  ",
        f"Software: Python {about.get('python')}, {packages}.",
        "",
    ]
    if not gpu:
        lines += ["**No GPU was used: these numbers show that the code runs, and say nothing about a GPU.**", ""]
    lines += [
        "| scale | parameters | step | optimizer | step time, s: median (min–max) | real tokens/s | MFU |"
        " micro-batches | peak memory, GiB | predicted, GiB | measured / predicted |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in results["scales"].items():
        lines += [_steps(name, workload, one) for workload, one in found["workloads"].items()]
        eager = found["beside"].get(EAGER, {}).get("workloads", {})
        lines += [_steps(f"{name}, no CUDA graphs", workload, one) for workload, one in eager.items()]
    lines.append("")
    for name, found in results["scales"].items():
        for one in found["attempts"]:
            if one["error"]:
                message = one["error"]["message"].replace("\n", " ").replace("|", "/")
                how = "with" if one["activation_checkpointing"] else "without"
                lines.append(f"- {name}, {how} activation checkpointing: {one['error']['kind']}: {message}")
    lines += [*_against_peers(results), *_checks(results)]
    rates = [one["matmul"] for found in results["scales"].values() for one in found["attempts"] if one["matmul"]]
    if rates:
        tera = [rate["flops_per_s"]["median"] / 1e12 for rate in rates]
        lines += [
            "",
            f"MFU is against the bf16 matmul rate that each process measured before training ({rates[0]['size']}"
            f" × {rates[0]['size']}, {min(tera):,.3g} to {max(tera):,.3g} TFLOP/s).",
        ]
    lines += [
        "It counts body FLOPs of real tokens, 6·N + 12·L·d·T a token (N: parameters without embeddings, L layers of"
        " width d, T: tokens of its sequence), and not recomputation; padding is not computed.",
        "Predicted memory is slurm/sizing/memory.py's, of the largest micro-batch. Warm-up steps are left out; raw"
        " times are in results.json.",
    ]
    return "\n".join(lines) + "\n"


def rate(steps: list[dict[str, Any]], clock: str) -> float:
    """Real tokens per second of a typical step."""
    return statistics.mean(step["tokens"] for step in steps) / statistics.median(step[clock] for step in steps)


def _steps(name: str, workload: str, one: dict[str, Any]) -> str:
    """A row of the first table."""
    step, memory = one["step_seconds"], one["memory"]
    peak = memory["peak_bytes"]
    recomputing = ", activation checkpointing" if one["activation_checkpointing"] else ""
    cells = [
        name,
        f"{one['parameters'] / 1e6:,.1f}M",
        f"{workload}: {one['batch_size']} examples{recomputing}",
        f"{one['precision']}, ZeRO {one['zero_stage']}",
        f"{step['median']:.4f} ({step['min']:.4f}–{step['max']:.4f})",
        f"{one['tokens_per_s']['median']:,.0f}",
        f"{100 * one['mfu']['median']:.1f} %",
        f"{one['micro_batches_per_step']:.1f}",
        f"{peak / GIB:.3g}" if peak else "not measured",
        f"{memory['predicted_bytes'] / GIB:.3g}",
        f"{memory['measured_over_predicted']:.2f}" if peak else "–",
    ]
    return f"| {' | '.join(cells)} |"


def _against_peers(results: dict[str, Any]) -> list[str]:
    """Our recipe batch against the Trainer's, of which a step's data are the same."""
    lines = [
        "",
        "## Against Hugging Face's Trainer, batch of the recipe",
        "",
        "Mean tokens over the median time of a step, so that neither a step that records a graph nor a hiccup of the"
        " host counts; a step's tokens are the same for all but `group_by_length`, which sorts them.",
        "",
        "| scale | way | real tokens/s | ours, times | peak memory, GiB | ours, times |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name, found in results["scales"].items():
        own = found["workloads"].get(RECIPE)
        whole = results["scales"].get(name.removesuffix(TRIMMED), found)  # the Trainer trims nothing
        for part, report in whole["beside"].items():
            if part in (CHECKS, EAGER):
                continue
            if report["error"] or own is None:
                reason = (report["error"] or {"message": "ours was not measured"})["message"].replace("|", "/")
                lines.append(f"| {name} | {part} | {reason} | | | |")
                continue
            peer, memory = report["peer"], own["memory"]["peak_bytes"]
            speed, peak = rate(peer["steps"], "clock_s"), peer["peak_bytes"]
            lines.append(
                f"| {name} | {part} | {speed:,.0f} | {rate(own['steps'], 'seconds') / speed:.2f} |"
                + (f" {peak / GIB:.3g} | {memory / peak:.2f} |" if peak else " not measured | – |")
            )
    return lines


def _checks(results: dict[str, Any]) -> list[str]:
    """Whether packed is padded, and resumed is straight."""
    lines = [
        "",
        "## Correctness",
        "",
        "Relative distances from the padded fp32 network, of the hidden states and of all gradients; dropout off.",
        "",
        "| scale | precision | states | gradients | allowed | holds |",
        "|---|---|--:|--:|--:|---|",
    ]
    for name, found in results["scales"].items():
        report = found["beside"].get(CHECKS)
        if report is None:
            continue
        if report["error"]:
            lines.append(f"| {name} | {report['error']['message'].replace('|', '/')} | | | | **not checked** |")
            continue
        checks = report["checks"]
        for precision, one in checks["packed"].items():
            padded = one.get("padded")
            allowed = (
                f"twice padded {precision}'s {padded['states']:.2g}, {padded['gradients']:.2g}"
                if padded
                else f"{one['allowed']:.0e}"
            )
            lines.append(
                f"| {name} | {precision} | {one['states']:.2g} | {one['gradients']:.2g} | {allowed} | {_verdict(one)} |"
            )
        if "replayed" in checks:
            one = checks["replayed"]
            lines.append(
                f"| {name} | bf16, CUDA graphs against none (loss for states) | {one['states']:.2g} |"
                f" {one['gradients']:.2g} | {one['allowed']:.0e} | {_verdict(one)} |"
            )
        if "resumed" in checks:
            lines.append(
                f"| {name} | resumed after {checks['resumed']['steps']} steps | | | equal to the last bit |"
                f" {_verdict(checks['resumed'])} |"
            )
    return [*lines, ""]


def _verdict(check: dict[str, Any]) -> str:
    return "yes" if check["holds"] else "**no**"
