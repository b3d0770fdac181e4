"""One self-contained HTML page and its figures: the question, the answer, what it rests on.

    page = write_report(read_study(store, keys, "sandbox"), out)
    # and out/tables/*.{md,tex,csv}, out/figures/*.{png,svg}

The page needs no network, prints, and never trusts a text that it was given.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from string import Template

import polars as pl

from analysis.benchmark import xtreme
from analysis.benchmark.claims import judged
from analysis.reading import Reading
from analysis.records.frame import Record
from analysis.report import page as parts
from analysis.report import retention_tables, tables
from analysis.report.answer import answer
from analysis.report.figures.catalogue import FIGURES, every_drawing
from analysis.report.figures.search import scores_by_point
from analysis.report.findings import FEW_INTERMEDIATES, by_intermediate, findings, origin, seeds_note
from analysis.report.formats import write_tables
from analysis.report.xtreme_tables import beside_published, leaderboard
from analysis.study import Study
from trainers.store.files import write_atomically

TEMPLATE = Path(__file__).with_name("report.html.template")
PUBLISHED_HEADING = """<h2>Beside published numbers</h2>
<p class="note">In points, aggregated as in XTREME: the unweighted mean over languages, English included; of question
answering F1 / exact match. Published numbers come from other recipes, and few tell their seeds; those marked
“recalled” were not read in their source. The “best” intermediate is picked by these very scores. Diverged trainings are
not averaged in.</p>
"""
SEARCH_HEADING = """<h2>The search, point by point</h2>
<p class="note">Means over seeds that did not diverge, with 95 % intervals. “Best” has the highest English development
score of what is trained, on most seeds; test scores choose nothing. Zero-shot: mean over languages, English included.
Everything else on this page compares each scale, intermediate and target at its own best point; retrieval is compared
at that of its intermediate.</p>
"""
MISSING = {
    "leaderboard": "No target is known yet.",
    "cells": "No target training is known yet.",
    "transfer": "No target has been scored.",
    "replication": "No gain can be told yet.",
    "claims": "No scale is known yet.",
    "retention": "No retention has been measured.",
    "shapes": "No retention curve is defined.",
    "trends": "No slope: it takes a defined R(T) at two scales or more.",
    "cost": "No stage has finished.",
}
"""What stands in the place of an empty table."""
LARGE = 100
"""Arms: the figures of more take minutes to draw, which is asked for."""
SOURCES = {"store": "the store", "wandb": "W&B offline files"}


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
    found = {
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
    write_tables(found, out / "tables")
    drawn = [(figure, figure.draw(study)) for figure in FIGURES]
    mark = f"{sweep_name} · {origin(study)}"
    first, *others = (parts.figure_section(figure, view, mark) for figure, view in drawn)
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        sweep=html.escape(sweep_name),
        source=html.escape(SOURCES.get(basis.source, basis.source)),
        seeds=html.escape(seeds_note(study)),
        resamples=f"{basis.resamples:,}",
        fingerprint=basis.fingerprint,
        answer=parts.paragraphs(answer(study, reading.bootstrap)),
        findings=_findings(study),
        counts=_counts(study, wanted),
        claims_left_out=html.escape(tables.claims_left_out(claims)),
        search=_search(study, mark),
        first_figure=first,
        figures="\n".join(others),
        script=parts.script() if any(view for _, view in drawn) else "",
        published=_published(xtreme_scores),
        trouble=_trouble(study, wanted),
        provenance=_provenance(reading.records),
        **{name: parts.table(table, MISSING[name]) for name, table in found.items()},
    )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "report.html", page)
    basis.keep(reading.store)
    return out / "report.html"


def _findings(study: Study) -> str:
    """What each intermediate does is folded away where they are many."""
    whole, each = findings(study), by_intermediate(study)
    if len({mean.intermediate for mean in study.mean_gains}) <= FEW_INTERMEDIATES:
        return f'<ul class="findings">\n{parts.items([*whole, *each])}\n</ul>'
    return f'<ul class="findings">\n{parts.items(whole)}\n</ul>\n' + parts.folded("Each intermediate by itself", each)


def _search(study: Study, mark: str) -> str:
    """A section of its own where the sweep searches; else nothing."""
    if not study.points:
        return ""
    figures = "\n".join(parts.drawn(view, mark) for view in scores_by_point(study))
    return SEARCH_HEADING + figures + parts.table(tables.search_table(study), "")


def _counts(study: Study, wanted: int) -> str:
    outcomes = study.stages["outcome"].to_list()
    begun = len(outcomes) - outcomes.count("missing")
    finished = study.stages.filter(pl.col("seconds").is_not_null())
    shown = {
        "stages completed": f"{outcomes.count('completed')} of {wanted}",
        "diverged": str(outcomes.count("diverged")),
        "unfinished": str(outcomes.count("running")),
        "not begun": str(wanted - begun),
        "of training and evaluation": tables.duration(float(finished["seconds"].sum())),
    }
    return "\n".join(
        f"<li><b>{html.escape(value)}</b><span>{html.escape(name)}</span></li>" for name, value in shown.items()
    )


def _published(scores: Sequence[xtreme.Score]) -> str:
    """A section of its own where numbers of the sweep's scales were published; else nothing."""
    table = beside_published(scores)
    return PUBLISHED_HEADING + parts.table(table, "") if table.rows else ""


def _trouble(study: Study, wanted: int) -> str:
    unnamed = wanted - study.stages.height
    content = parts.table(tables.trouble_table(study), "" if unnamed else "Nothing: every stage completed.")
    if unnamed:
        content += f'\n<p class="note">{unnamed} of the sweep’s {wanted} stages have not begun.</p>'
    return content


def _provenance(records: Sequence[Record]) -> str:
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
    if not facts:
        return "<dt>–</dt><dd>no finished stage has left its provenance here</dd>"
    return "\n".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(', '.join(values))}</dd>" for name, values in facts.items()
    )
