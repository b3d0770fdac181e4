"""One self-contained HTML page and its figures: the question, the answer, what it rests on.

    page = write_report(store_root, keys, out, "sandbox")     # out/report.html, out/figures/*.png and *.svg

The page needs no network and no script, prints, and never trusts a text that it was given.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import polars as pl

from analysis import tables, xtreme
from analysis.claims import judged
from analysis.figures import SECTIONS, Section
from analysis.findings import answers
from analysis.frame import Record
from analysis.plotting import Drawing, save, seeds_note, style
from analysis.reading import Source, read_study
from analysis.search_figure import scores_by_point
from analysis.statistics import RESAMPLES
from analysis.study import XTREME_DEPTH, Study
from analysis.tables import Table
from analysis.verify import beside_published
from analysis.wandb_api import Place
from trainers.files import write_atomically
from trainers.stage import Stage

TEMPLATE = Path(__file__).with_name("report.html.template")
LONG_TEXT = 40
"""Cells of so many characters may wrap."""
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
CSS_PIXELS_PER_INCH = 96 * 1.35
"""Somewhat larger than on paper: a screen is read from farther away."""
SOURCES = {"store": "the store", "wandb": "W&B offline files"}


def write_report(
    store_root: Path,
    keys: Sequence[str],
    out: Path,
    sweep_name: str,
    source: Source = "store",
    *,
    planned: Sequence[Stage] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
    retrieval_depth: float = XTREME_DEPTH,
) -> Path:
    """Analyse the stages and write `out/report.html` and `out/figures/`.

    Works at any time: an unfinished or empty store gives a page that says what is missing.

    Args:
        keys: the sweep's stages; those that were never begun are counted as missing.
        source: `store`, `wandb` for the offline files beside it, or a place in W&B (these two have no scores of single
            examples, so that intervals cover seeds only).
        planned: the plan's stages, so that those never begun can be named.
        resamples: of the bootstrap.
        retrieval_depth: share of the layers at which retrieval is compared, fixed by the sweep.
        seed: of the bootstrap; the same store, keys and seed give the same page.

    Returns:
        The page's path.

    Raises:
        ValueError: a W&B file is damaged, a stage is of another version, or the keys are of more than one sweep.
        StoreError: `out` cannot be written.
        WandbError: W&B cannot be asked, or has no runs of the sweep.
    """
    wanted = set(keys)
    reading = read_study(
        store_root,
        wanted,
        planned,
        source=source,
        resamples=resamples,
        seed=seed,
        retrieval_depth=retrieval_depth,
    )
    study = reading.study

    out.mkdir(parents=True, exist_ok=True)
    with style():
        search = _search(study, sweep_name, out / "figures")
        figures = "\n".join(_section(section, study, sweep_name, out / "figures") for section in SECTIONS)
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        sweep=html.escape(sweep_name),
        source=html.escape(str(source) if isinstance(source, Place) else SOURCES[source]),
        seeds=html.escape(seeds_note(study)),
        resamples=f"{resamples:,}",
        answers=_items(answers(study)),
        counts=_counts(study, len(wanted)),
        search=search,
        figures=figures,
        claims=_table(tables.claim_table(judged(study, reading.bootstrap)), "No scale is known yet."),
        cells=_table(tables.cell_table(study), "No target training is known yet."),
        transfer=_table(tables.transfer_table(study), "No target has been scored."),
        replication=_table(tables.replication_table(study), "No gain can be told yet."),
        retention=_table(tables.retention_table(study), "No retention has been measured."),
        published=_published(study, retrieval_depth),
        shapes=_table(tables.shape_table(study), "No retention curve is defined."),
        trends=_table(tables.trend_table(study), "No slope: it takes a defined R(T) at two scales or more."),
        trouble=_trouble(study, len(wanted)),
        cost=_table(tables.cost_table(study), "No stage has finished."),
        provenance=_provenance(reading.records),
    )
    write_atomically(out / "report.html", page)
    return out / "report.html"


def _search(study: Study, sweep_name: str, folder: Path) -> str:
    """A section of its own where the sweep searches; else nothing."""
    if not study.points:
        return ""
    return (
        SEARCH_HEADING + _figures(scores_by_point(study, sweep_name), folder) + _table(tables.search_table(study), "")
    )


def _section(section: Section, study: Study, sweep_name: str, folder: Path) -> str:
    content = _figures(section.draw(study, sweep_name), folder)
    content = content or f'<p class="note">{html.escape(section.missing)}</p>'
    return f"<h2>{html.escape(section.heading)}</h2>\n{content}"


def _figures(drawings: Iterable[Drawing], folder: Path) -> str:
    shown = []
    for drawing in drawings:
        svg = base64.b64encode(save(drawing.figure, folder, drawing.name).encode()).decode()
        caption = html.escape(drawing.caption)
        width = drawing.figure.get_figwidth() * CSS_PIXELS_PER_INCH
        # As an image, not inline: then the ids of one figure's SVG cannot meet another's.
        image = f'<img width="{width:.0f}" alt="{caption}" src="data:image/svg+xml;base64,{svg}">'
        shown.append(f"<figure><div>{image}</div><figcaption>{caption}</figcaption></figure>")
    return "\n".join(shown)


def _table(table: Table, missing: str) -> str:
    if not table.rows:
        return f'<p class="note">{html.escape(missing)}</p>'

    head = "".join(_cell("th", text, place < table.names) for place, text in enumerate(table.columns))
    lines = ['<div class="scroll"><table>', f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    group = table.rows[0][0]
    for row in table.rows:
        opening = "<tr>" if row[0] == group else '<tr class="group">'
        cells = "".join(_cell("td", text, place < table.names) for place, text in enumerate(row))
        lines.append(f"{opening}{cells}</tr>")
        group = row[0]
    return "\n".join([*lines, "</tbody></table></div>"])


def _cell(tag: str, text: str, is_name: bool) -> str:
    """A name stands left, a number right with its interval below it; a sentence may wrap."""
    if len(text) > LONG_TEXT:
        return f'<{tag} class="name long">{html.escape(text)}</{tag}>'
    if is_name:
        return f'<{tag} class="name">{html.escape(text)}</{tag}>'
    value, bracket, interval = text.partition(" [")
    small = f"<small>[{html.escape(interval)}</small>" if bracket else ""
    return f"<{tag}>{html.escape(value)}{small}</{tag}>"


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"<li>{html.escape(text)}</li>" for text in texts)


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


def _published(study: Study, retrieval_depth: float) -> str:
    """A section of its own where numbers of the sweep's scales were published; else nothing."""
    table = beside_published(xtreme.scores(study.compared, study.frame, retrieval_depth))
    return PUBLISHED_HEADING + _table(table, "") if table.rows else ""


def _trouble(study: Study, wanted: int) -> str:
    unnamed = wanted - study.stages.height
    content = _table(tables.trouble_table(study), "" if unnamed else "Nothing: every stage completed.")
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
