"""What the sandbox's encoders know and learn: scores of baselines and intermediates alone, no retention."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from analysis.inference.statistics import Bootstrap
from analysis.records.examples import no_examples
from analysis.records.frame import primary
from analysis.records.gather import store_records
from analysis.study import XTREME_DEPTH, Study, analyse
from trainers.stage.languages import ENGLISH
from trainers.tasks.intermediates import NONE

Scores = dict[str, dict[str, float]]
"""Score → scale → its mean over seeds; scales from small to large.  Scales that have none are left out."""

GOALS = {
    "MNLI, English": (">=", 0.85),
    "SQuAD F1, English": (None, 0.0),
    "XNLI, mean of the other languages": (">=", 0.65),
    "XQuAD F1, English": (">=", 0.6),
    "PAN-X F1, English": ("<", 0.97),
    "Tatoeba at the compared layer": (">=", 0.6),
}
"""Score → what it is to be at the largest scale."""
COMPARES = {">=": operator.ge, "<": operator.lt}
DIVERGED, ALL = "diverged stages", "stages"
RESAMPLES = 3
"""Only means are shown: no interval is drawn."""


def shown_by(store: Path, retrieval_depth: float = XTREME_DEPTH) -> Scores:
    """The scores of a store that holds one sweep's stages.

    Args:
        retrieval_depth: share of the layers at which retrieval is compared, fixed by the sweep.
    """
    bootstrap = Bootstrap(np.random.default_rng(0), RESAMPLES)
    study = analyse(store_records(store), no_examples, bootstrap, retrieval_depth)
    found: Scores = {name: {} for name in (*GOALS, DIVERGED, ALL)}
    for name, scale, value in _scores(study):
        found[name][scale] = value
    for scale in study.scales:
        outcomes = study.stages.filter(scale=scale)["outcome"]
        found[DIVERGED][scale], found[ALL][scale] = (outcomes == "diverged").sum(), len(outcomes)
    return found


def _scores(study: Study) -> Iterator[tuple[str, str, float]]:
    """Score, scale and value; what diverged counts in none."""
    developed = primary(study.frame).filter(kind="intermediate", measure="development", outcome="completed")
    for name, task in (("MNLI, English", "mnli"), ("SQuAD F1, English", "squad")):
        for scale, value in developed.filter(trained=task).group_by("scale").agg(pl.col("value").mean()).iter_rows():
            yield name, scale, value
    for cell in study.cells:
        if cell.arm.intermediate == NONE and cell.target == "xnli":
            yield "XNLI, mean of the other languages", cell.arm.scale, cell.others.value
        for name, target in (("XQuAD F1, English", "xquad"), ("PAN-X F1, English", "panx")):
            if cell.arm.intermediate == NONE and cell.target == target:
                yield name, cell.arm.scale, cell.scores[ENGLISH].value
    for curve in study.layers:
        if curve.arm.intermediate == NONE and curve.task == "tatoeba":
            yield "Tatoeba at the compared layer", curve.arm.scale, curve.compared.value


def score_lines(scores: Scores) -> list[str]:
    """A Markdown table of the scores beside what is aimed at, and a sentence for each that misses it."""
    scales = list(scores[ALL])
    lines = [
        "Means over seeds: development scores of intermediates, zero-shot scores of baselines (no intermediate).",
        "",
        f"| | {' | '.join(scales)} | aimed at, {scales[-1]} |",
        "|---|" + "--:|" * (len(scales) + 1),
    ]
    for name, (sign, goal) in GOALS.items():
        values = [f"{scores[name][scale]:.3f}" if scale in scores[name] else "–" for scale in scales]
        lines.append(f"| {name} | {' | '.join(values)} | {f'{sign} {goal}'.replace('>=', '≥') if sign else ''} |")
    counts = [f"{scores[DIVERGED][scale]} of {scores[ALL][scale]}" for scale in scales]
    return [*lines, f"| {DIVERGED} | {' | '.join(counts)} | 0 but at {scales[0]} |", "", *_misses(scores, scales)]


def _misses(scores: Scores, scales: list[str]) -> Iterable[str]:
    found = []
    for name, (sign, goal) in GOALS.items():
        last = scores[name].get(scales[-1])
        if sign and (last is None or not COMPARES[sign](last, goal)):
            found.append(f"- Missed: {name} is {'not there' if last is None else f'{last:.3f}'} at {scales[-1]}.")
        for small, large in pairwise(scale for scale in scales if scale in scores[name]):
            if scores[name][small] >= scores[name][large]:
                found.append(f"- Missed: {name} is no higher at {large} than at {small}.")
    found += [
        f"- Missed: {scores[DIVERGED][scale]} diverged at {scale}." for scale in scales[1:] if scores[DIVERGED][scale]
    ]
    return found or ["All of it holds, and each score rises with scale."]
