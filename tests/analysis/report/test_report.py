"""The page is whole at any time, says what is missing, needs no network, and trusts no text (see test_page.py, too)."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from analysis.inference.statistics import Estimate
from analysis.report.figures.catalogue import every_drawing
from analysis.report.figures.drawing import drawings
from analysis.report.figures.retention import retention_over_languages
from analysis.report.figures.retrieval import NORMED, PLAIN, retrieval_by_layer
from analysis.report.findings import findings, seeds_note, shown
from analysis.report.tables import cell_table, duration, trouble_table
from tests.analysis import fakes
from trainers.stage import ScaleId

FIGURES = {
    "retention",
    "retention-by-language-mnli",
    "retention-by-language-squad",
    "retention-by-scale",
    "gain-heat-map-small",
    "gain-heat-map-medium",
    "gain-heat-map-large",
    "gain-heat-map-medium-minus-small",
    "gain-heat-map-large-minus-medium",
    "gain-heat-map-large-minus-small",
    "gain-by-language-mnli",
    "gain-by-language-squad",
    "cost-against-gain",
    "retrieval-tatoeba",
}


class Tags(HTMLParser):
    """Collects tags and addresses, and checks that what is opened is closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return fakes.report(built.root, built.keys, out, "fake sweep", resamples=200)


@pytest.mark.slow
def test_the_report_is_one_whole_page_with_all_figures(page):
    text = page.read_text()
    tags = Tags(text)
    assert tags.open == []
    assert tags.addresses == []
    assert not re.search(r"https?://|url\(|@import", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert "120 of 120" in text
    assert "Nothing: every stage completed." in text
    assert "0123456789abcdef0123456789abcdef01234567" in text


def test_every_figure_is_there_as_png_and_svg(page):
    files = {path.name: path.stat().st_size for path in (page.parent / "figures").iterdir()}
    assert set(files) == {f"{name}.{ending}" for name in FIGURES for ending in ("png", "svg")}
    assert min(files.values()) > 10_000


def test_every_table_is_there_in_every_format(page):
    files = {path.name for path in (page.parent / "tables").iterdir()}
    names = ("leaderboard", "cells", "transfer", "replication", "claims", "retention", "shapes", "trends", "cost")
    assert files == {f"{name}.{ending}" for name in names for ending in ("md", "tex", "csv")}
    for name in ("leaderboard", "cells", "transfer", "replication"):
        assert "**" in (page.parent / "tables" / f"{name}.md").read_text(), name
        assert "\\textbf{" in (page.parent / "tables" / f"{name}.tex").read_text(), name
    assert "<td><b>" in page.read_text()


def test_the_answer_has_numbers_with_intervals(page):
    text = page.read_text()
    assert "Larger encoders retain more through the stored head" in text
    assert re.search(r"changes by \+0\.6\d\s\[\+0\.\d\d,\s\+0\.\d\d\] per tenfold", text)


@pytest.mark.slow
def test_the_same_store_gives_the_same_page_and_figures(page, built, tmp_path):
    again = fakes.report(built.root, built.keys, tmp_path, "fake sweep", resamples=200)
    assert again.read_bytes() == page.read_bytes()
    for path in (page.parent / "figures").iterdir():
        assert (tmp_path / "figures" / path.name).read_bytes() == path.read_bytes()


def test_an_empty_store_gives_a_page_that_says_so(tmp_path):
    text = fakes.report(tmp_path / "store", ["a" * 16, "b" * 16], tmp_path / "out", "early").read_text()
    assert Tags(text).open == []
    assert "The data cannot tell yet" in text
    assert "2 of the sweep’s 2 stages have not begun." in text


def test_a_partial_store_names_what_is_missing_unfinished_and_diverged(tmp_path):
    stages = [stage for stage in fakes.stages((0,)) if stage.scale.name == "small"]
    for stage, outcome in zip(stages, ["completed", "diverged", "completed", "running"], strict=False):
        fakes.write_stage(tmp_path / "store", stage, outcome)
    keys = [stage.key for stage in stages]
    text = fakes.report(tmp_path / "store", keys, tmp_path / "out", "partial", planned=stages, resamples=50).read_text()
    assert "unfinished: begun, no result yet" in text
    assert "not begun" in text
    assert "is not above the majority class" in text
    assert stages[-1].label in text
    assert "No retention curve yet" in text


HOSTILE = """<script>alert('x')</script>$seeds"&amp;{{x}}"""


def test_hostile_names_and_texts_are_escaped_everywhere(tmp_path):
    target = next(stage for stage in fakes.stages((0,)) if stage.kind == "target" and stage.intermediate == "mnli")
    hostile = target.model_copy(
        update={"intermediate": HOSTILE, "scale": ScaleId(fingerprint="f", name=HOSTILE, source="s")}
    )
    fakes.SCALES[HOSTILE], fakes.LAYER_NORM[HOSTILE], fakes.KEPT[HOSTILE] = 10**6, HOSTILE, 0.5
    fakes.REPRESENTATION_KEPT[HOSTILE] = 0.5
    try:
        probed = [(fakes.Point(at, "stored", "mnli", language, 0.8)) for at in fakes.STEPS for language in ("en", "de")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fakes, "truth", lambda stage: iter(probed))
            patch.setattr(fakes, "PROVENANCE", {**fakes.PROVENANCE, "host": HOSTILE, "devices": [HOSTILE]})
            fakes.write_stage(tmp_path / "store", hostile)
    finally:
        for table in (fakes.SCALES, fakes.LAYER_NORM, fakes.KEPT, fakes.REPRESENTATION_KEPT):
            table.pop(HOSTILE)
    path = fakes.report(tmp_path / "store", [hostile.key], tmp_path / "out", HOSTILE, planned=[hostile], resamples=50)
    text = path.read_text()
    tags = Tags(text)
    assert tags.open == []
    assert tags.addresses == []
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;") >= 5
    assert all(path.parent == tmp_path / "out" / "figures" for path in (tmp_path / "out" / "figures").rglob("*"))


@pytest.mark.slow
def test_few_seeds_are_said_in_the_figure_and_in_the_answer(tmp_path):
    for stage in fakes.stages((0, 1)):
        if stage.scale.name == "small" and stage.ending in ("", "pawsx"):
            fakes.write_stage(tmp_path, stage)
    study = fakes.study_of(tmp_path)
    assert seeds_note(study) == "2 seeds: fewer than 3, so other seeds may look different"
    assert any("fewer than 3 seeds" in sentence for sentence in findings(study))


def test_an_intermediate_of_several_tasks_has_figures_of_its_own(several):
    drawings = {
        drawing.name: drawing.spec for drawing in every_drawing(several, "s") if drawing.name.startswith("retention")
    }
    assert set(drawings) == {
        "retention",
        "retention-mnli+squad",
        "retention-by-scale",
        "retention-by-scale-mnli+squad",
        "retention-by-language-mnli",
        "retention-by-language-mnli+squad-mnli",
        "retention-by-language-mnli+squad-squad",
    }
    heads = ("stored", "refit")
    assert drawings["retention"]["facet"]["sort"] == [
        f"mnli → {target} · {head}" for head in heads for target in ("xnli (same task)", "pawsx")
    ]
    assert drawings["retention-mnli+squad"]["facet"]["sort"] == [
        f"mnli+squad · {task} → {target} · {head}"
        for task, same in (("mnli", " (same task)"), ("squad", ""))
        for head in heads
        for target in (f"xnli{same}", "pawsx")
    ]


def test_languages_in_which_retention_is_nowhere_defined_are_named_and_have_no_panels(built):
    curves = [
        replace(curve, undefined="it is") if (curve.language, curve.head) == ("sw", "refit") else curve
        for curve in built.study.curves
    ]
    view = retention_over_languages(replace(built.study, curves=curves))
    assert view is not None
    assert "Not defined at any scale: mnli in sw (refit head), squad in sw (refit head)." in view.caption
    drawn = {(row["k"].split(" · ")[0], row["k"].split(" · ")[-1]) for row in view.rows}
    assert drawn == {(name, head) for name in ("de", "ru", "sw", "zh") for head in ("stored", "refit")} - {
        ("sw", "refit")
    }


def test_retrieval_after_the_final_layer_norm_is_drawn_dashed_beside_the_plain_one(built):
    (drawing,) = drawings(retrieval_by_layer(built.study), built.study, "s")
    for states, curves in ((PLAIN, built.study.layers), (NORMED, built.study.normed_layers)):
        lines: dict[tuple[str, str], list[float]] = {}
        for row in drawing.spec["data"]["values"]:
            if row["h"] == states:
                lines.setdefault((row["k"], row["i"]), []).append(row["v"])
        expected = {(curve.arm.scale, curve.arm.intermediate): curve.value.tolist() for curve in curves}
        assert lines == {name: pytest.approx(values, abs=1e-4) for name, values in expected.items()}
    assert {curve.arm.scale for curve in built.study.normed_layers} == {"large"}
    dash = drawing.spec["spec"]["layer"][0]["encoding"]["strokeDash"]
    assert dash["scale"] == {"domain": [PLAIN, NORMED], "range": [[1, 0], [6, 3]]}
    assert f">{NORMED}<" in drawing.svg
    assert "Dashed" in drawing.caption
    (without,) = drawings(retrieval_by_layer(replace(built.study, normed_layers=[])), built.study, "s")
    assert "Dashed" not in without.caption
    assert f">{NORMED}<" not in without.svg


def test_the_cell_table_counts_every_seed_once(built):
    table = cell_table(built.study)
    assert len(table.rows) == 3 * 3 * 3
    assert all(len(row) == len(table.columns) and row[3:6] == ("3", "–", "–") for row in table.rows)
    assert [row[0] for row in table.rows][::9] == ["small", "medium", "large"]
    assert trouble_table(built.study).rows == []


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.6, 0.5, 0.7), "0.600 [0.500, 0.700]"),
        (Estimate(-0.6), "−0.600"),
        (Estimate(np.nan), "–"),
    ],
)
def test_estimates_are_shown_with_their_interval(estimate, text):
    assert shown(estimate) == text


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (200, "3 min 20 s"), (18_200, "5 h 03 min")])
def test_durations_are_said_as_a_person_would(seconds, text):
    assert duration(seconds) == text
