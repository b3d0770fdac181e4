"""The report in a real browser: figures are drawn, menus filter them, hovering tells numbers, nothing is fetched."""

from __future__ import annotations

import json
import re

import pytest
from matplotlib import colormaps
from PIL import Image

from analysis.heatmap import COLOURS
from analysis.interactive import FIGURES, _colour_of_name
from tests.analysis import fakes
from tests.analysis.browser import needs_chromium, opened
from trainers.stage import ScaleId

NAMES = ("gain-heat-map", "retention", "retention-by-scale", "gain-by-language", "cost-against-gain", "retrieval")


@pytest.fixture(scope="module")
def page(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    return fakes.report(built.root, built.keys, out, "fake sweep", figures=False, resamples=100)


@pytest.fixture(scope="module")
def dom(page):
    """The page as a browser has drawn it, before anybody did anything to it."""
    return opened(page)


def specs(text: str) -> dict[str, dict]:
    found = re.findall(r'<figure class="view" id="([\w-]+)">.*?<script type="application/json">(.*?)</script>', text)
    return {name: json.loads(spec) for name, spec in found}


def figure(dom: str, name: str) -> str:
    """The drawn part of one figure."""
    return dom.split(f'id="{name}"', 1)[1].split("<script type", 1)[0]


@needs_chromium
def test_every_figure_is_drawn_without_a_network_or_an_error(dom):
    for name in NAMES:
        assert figure(dom, name).count("<path") > 10, name


@needs_chromium
def test_a_menu_filters_the_figure(page, dom):
    """English gains are all alike; the difference of two scales' is 0 in another language, too."""
    before = figure(dom, "gain-heat-map")
    assert "+10.0" in before
    assert "+5.0" not in before
    choose = """
      const menu = document.querySelector('#gain-heat-map select[name="only_side"]');
      menu.value = 'other languages'; menu.dispatchEvent(new Event('input', {bubbles: true}));
      menu.dispatchEvent(new Event('change', {bubbles: true}));
    """
    after = figure(opened(page, choose), "gain-heat-map")
    assert "+5.0" in after
    assert "+10.0" not in after


@needs_chromium
def test_a_gain_has_the_same_colour_on_the_page_as_in_the_files(dom):
    """All English gains are +10, the largest there is: purple, and not orange."""
    cells = re.findall(r'aria-label="[^"]*points: 10[^"]*"[^>]*fill="rgb\((\d+), (\d+), (\d+)\)"', dom)
    assert len(cells) == 6
    red, _, blue, _ = colormaps[COLOURS](1.0)
    assert blue > red
    assert all(int(blue) > int(red) for red, _, blue in cells)


@needs_chromium
def test_a_name_of_the_legend_shows_its_own_line_alone(page, dom):
    click = """
      for (const name of ['retention-by-scale', 'retrieval']) {
        const names = [...document.querySelectorAll(`#${name} .role-legend-label text`)];
        const squad = names.find(one => one.textContent === 'squad');
        const entry = squad.closest('.role-legend-label');
        entry.previousElementSibling.firstElementChild.dispatchEvent(new MouseEvent('click', {bubbles: true}));
      }
    """
    after = opened(page, click)
    for name in ("retention-by-scale", "retrieval"):
        assert 'opacity="0.07"' not in figure(dom, name)
        assert 'opacity="0.07"' in figure(after, name)


def test_as_many_colours_as_names():
    for count in (2, 7, 8, 19):
        scale = _colour_of_name([{"i": f"name {place}"} for place in range(count)])["scale"]
        assert len(scale.get("range", range(20))) >= count


@needs_chromium
def test_hovering_tells_the_number_and_its_interval(page):
    hover = """
      const marks = document.querySelectorAll('#retention-by-scale .mark-symbol path[aria-roledescription="point"]');
      const mark = [...marks].find(one => one.getBoundingClientRect().width > 3);
      const box = mark.getBoundingClientRect();
      const at = {bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};
      mark.dispatchEvent(new PointerEvent('pointerover', at));
      mark.dispatchEvent(new MouseEvent('mouseover', at));
      mark.dispatchEvent(new PointerEvent('pointermove', at));
      mark.dispatchEvent(new MouseEvent('mousemove', at));
    """
    tip = opened(page, hover).split('id="vg-tooltip-element"', 1)[1]
    assert "R(T)" in tip
    assert "LayerNorm" in tip


@needs_chromium
def test_the_screenshot_is_not_blank(page, tmp_path):
    opened(page, screenshot=tmp_path / "page.png")
    colours = Image.open(tmp_path / "page.png").convert("RGB").getcolors(maxcolors=1 << 24)
    assert colours is not None
    assert len(colours) > 50


def test_the_figures_hold_the_study_s_numbers(page, built):
    found = specs(page.read_text())
    assert tuple(found) == NAMES
    curves = {
        (row["i"], row["t"], row["scale"], row["h"], row["s"]): row for row in found["retention"]["data"]["values"]
    }
    for curve in built.study.curves:
        if curve.language == "en":
            name = curve.subject, "+".join(curve.arm.targets), curve.arm.scale, curve.head
            for place, step in enumerate(curve.steps):
                row = curves[*name, step]
                assert row["v"] == pytest.approx(curve.value[place], abs=1e-4)
                assert row["seeds"] == pytest.approx(curve.by_seed[:, place], abs=1e-4)
    where = {row["w"] for row in found["gain-heat-map"]["data"]["values"]}
    assert where == {"small", "medium", "large", "medium − small", "large − medium", "large − small"}
    sizes = [row for row in found["retention-by-scale"]["data"]["values"]]
    assert {row["p"] for row in sizes} == set(fakes.SCALES.values())
    assert not any(row["i"] == "mnli" and row["t"] == "xnli" for row in sizes)  # the same task


def test_languages_are_sorted_by_their_pretraining_text(page):
    layers = specs(page.read_text())["gain-by-language"]["layer"]
    assert layers[1]["encoding"]["y"]["sort"] == ["en", "ru", "de", "zh", "sw"]


def test_without_anything_each_figure_says_why(tmp_path):
    text = fakes.report(tmp_path / "store", ["a" * 16], tmp_path / "out", "early").read_text()
    assert "<script" not in text
    for one in FIGURES:
        assert one.missing.split(":")[0] in text


HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"


@needs_chromium
def test_a_hostile_name_stays_a_text_in_the_browser(tmp_path):
    stages = [stage for stage in fakes.stages((0, 1), ("none", "mnli")) if stage.scale.name == "small"]
    for name in ("SCALES", "LAYER_NORM", "KEPT", "REPRESENTATION_KEPT"):
        getattr(fakes, name)[HOSTILE] = getattr(fakes, name)["small"]
    try:
        renamed = [
            stage.model_copy(update={"scale": ScaleId(fingerprint="f", name=HOSTILE, source="s")}) for stage in stages
        ]
        for stage in renamed:
            fakes.write_stage(tmp_path / "store", stage)
    finally:
        for name in ("SCALES", "LAYER_NORM", "KEPT", "REPRESENTATION_KEPT"):
            getattr(fakes, name).pop(HOSTILE)
    keys = [stage.key for stage in renamed]
    page = fakes.report(tmp_path / "store", keys, tmp_path / "out", HOSTILE, figures=False, resamples=50)
    dom = opened(page)
    assert "<title>taken" not in dom
    assert figure(dom, "gain-heat-map").count("<path") > 10
