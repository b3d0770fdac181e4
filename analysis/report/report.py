"""One self-contained HTML page and its figures: the question, the answer, what it rests on.

    page = write_report(read_study(store, keys, "sandbox"), out)
    # and out/tables/*.{md,tex,csv}, out/figures/*.{png,svg}

The page needs no network, prints, and never trusts a text that it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from analysis.benchmark import xtreme
from analysis.benchmark.claims import judged
from analysis.reading import Reading
from analysis.records.frame import Record
from analysis.report import page, retention_tables, tables
from analysis.report.answer import answer
from analysis.report.figures.catalogue import FIGURES, every_drawing
from analysis.report.figures.search import scores_by_point
from analysis.report.findings import FEW_INTERMEDIATES, by_intermediate, findings, origin, seeds_note
from analysis.report.formats import write_tables
from analysis.report.xtreme_tables import beside_published, leaderboard
from analysis.study import Study
from trainers.store.files import write_atomically

LARGE = 100
"""Arms: the figures of more take minutes to draw, which is asked for."""


def write_report(reading: Reading, out: Path, figures: bool | None = None) -> Path:
    """Write `out/report.html`, `out/tables/` and `out/figures/`, and into the store what they rest on.

    Works at any time: an unfinished or empty store gives a page that says what is missing.

    Args:
        figures: also draw them as files, for papers; None draws those of a study of at most LARGE arms.

    Returns:
        The page's path.

    Raises:
        StoreError: `out` or the store cannot be written.
    """
    study, basis, sweep_name = reading.study, reading.basis, reading.basis.sweep
    wanted = len(basis.results)

    if figures if figures is not None else len(study.arms) <= LARGE:
        for drawing in every_drawing(study, sweep_name):
            drawing.save(out / "figures")
    xtreme_scores = xtreme.scores(study.compared, study.frame, basis.retrieval_depth)
    claims = judged(study, reading.bootstrap)
    written = {
        "leaderboard": leaderboard(xtreme_scores),
        "cells": tables.cell_table(study),
        "transfer": tables.transfer_table(study),
        "replication": tables.replication_table(study),
        "claims": tables.claim_table(claims),
        "retention": retention_tables.retention_table(study),
        "shapes": retention_tables.shape_table(study),
        "trends": retention_tables.trend_table(study),
        "cost": tables.cost_table(study),
    }
    write_tables(written, out / "tables")
    sentences, each = findings(study), by_intermediate(study)
    if len({mean.intermediate for mean in study.mean_gains}) <= FEW_INTERMEDIATES:
        sentences, each = [*sentences, *each], []
    figures_on_page = [(figure, figure.draw(study)) for figure in FIGURES]
    text = page.render(
        sweep=sweep_name,
        source="the store" if basis.source == "store" else basis.source,
        seeds=seeds_note(study),
        resamples=f"{basis.resamples:,}",
        fingerprint=basis.fingerprint,
        mark=f"{sweep_name} · {origin(study)}",
        answer=answer(study, reading.bootstrap),
        findings=sentences,
        by_intermediate=each,
        counts=_counts(study, wanted),
        claims_left_out=tables.claims_left_out(claims),
        figures=figures_on_page,
        search=tables.search_table(study) if study.points else None,
        search_figures=scores_by_point(study),
        tables=written,
        published=beside_published(xtreme_scores),
        trouble=tables.trouble_table(study),
        unnamed=wanted - study.stages.height,
        wanted=wanted,
        provenance=_provenance(reading.records),
        script=page.script() if any(view for _, view in figures_on_page) else "",
    )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "report.html", text)
    basis.keep(reading.store)
    return out / "report.html"


def _counts(study: Study, wanted: int) -> dict[str, str]:
    outcomes = study.stages["outcome"].to_list()
    begun = len(outcomes) - outcomes.count("missing")
    finished = study.stages.filter(pl.col("seconds").is_not_null())
    return {
        "stages completed": f"{outcomes.count('completed')} of {wanted}",
        "diverged": str(outcomes.count("diverged")),
        "unfinished": str(outcomes.count("running")),
        "not begun": str(wanted - begun),
        "of training and evaluation": tables.duration(float(finished["seconds"].sum())),
    }


def _provenance(records: Sequence[Record]) -> dict[str, dict[str, None]]:
    """Each fact's distinct values over all finished stages."""
    facts: dict[str, dict[str, None]] = {}

    def add(name: str, value: object) -> None:
        facts.setdefault(name, {})[str(value)] = None

    for record in records:
        provenance = record.provenance
        if code := provenance.get("code"):
            add("commit", f"{code['commit']}{' with uncommitted changes' if code['dirty'] else ''}")
        for name in ("python", "host"):
            if name in provenance:
                add(name, provenance[name])
        for device in provenance.get("devices", ()):
            add("devices", device)
        for package, version in provenance.get("packages", {}).items():
            add(package, version)
    return facts
