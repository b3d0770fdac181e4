"""The GPU benchmark's results as a Markdown page."""

from __future__ import annotations

from typing import Any


def markdown(results: dict[str, Any]) -> str:
    """The results as a page."""
    about = results["about"] or {}
    hardware = about.get("hardware", {})
    gpu = hardware.get("gpu")
    gib = 1 << 30
    where = f"{gpu}, {hardware['gpu_memory_bytes'] / gib:.0f} GiB" if gpu else f"no GPU; {hardware.get('cpu')}"
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
        for workload, one in found["workloads"].items():
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
                f"{peak / gib:.3g}" if peak else "not measured",
                f"{memory['predicted_bytes'] / gib:.3g}",
                f"{memory['measured_over_predicted']:.2f}" if peak else "–",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for name, found in results["scales"].items():
        for one in found["attempts"]:
            if one["error"]:
                message = one["error"]["message"].replace("\n", " ").replace("|", "/")
                how = "with" if one["activation_checkpointing"] else "without"
                lines.append(f"- {name}, {how} activation checkpointing: {one['error']['kind']}: {message}")
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
        "Predicted memory is slurm/memory.py's, of the largest micro-batch. Warm-up steps are left out; raw times are"
        " in results.json.",
    ]
    return "\n".join(lines) + "\n"
