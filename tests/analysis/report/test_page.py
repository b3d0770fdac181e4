"""The report in a real browser: figures are drawn, menus filter them, hovering tells numbers, nothing is fetched."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from analysis.report.figures.catalogue import FIGURES, every_drawing
from analysis.report.figures.retention import retention_over_steps
from analysis.report.figures.vegalite import best_known, colour_of_name
from tests.analysis import fakes
from tests.analysis.browser import needs_chromium, opened
from trainers.stage import ScaleId

NAMES = ("retention", "retention-by-scale", "gain-heat-map", "gain-by-language", "retrieval", "cost-against-gain")


@pytest.fixture(scope="module")
def page(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    return fakes.report(built.root, built.keys, out, "fake sweep", figures=False, resamples=100)


@pytest.fixture(scope="module")
def dom(page):
    """The page as a browser has drawn it, before anybody did anything to it."""
    return opened(page)


def specs(text: str) -> dict[str, dict]:
    found = re.findall(
        r'<figure class="view" id="([\w-]+)">.*?<script type="application/json">(.*?)</script>', text, re.DOTALL
    )
    return {name: json.loads(spec) for name, spec in found}


def figure(dom: str, name: str) -> str:
    """The drawn part of one figure."""
    return dom.split(f'id="{name}"', 1)[1].split("<script type", 1)[0]


@pytest.mark.slow
@needs_chromium
def test_every_figure_is_drawn_without_a_network_or_an_error(dom):
    for name in NAMES:
        assert figure(dom, name).count("<path") > 10, name


ENGLISH_SIDE = """
  const menu = document.querySelector('#gain-heat-map select[name="only_side"]');
  menu.value = 'English'; menu.dispatchEvent(new Event('input', {bubbles: true}));
  menu.dispatchEvent(new Event('change', {bubbles: true}));
"""


@needs_chromium
def test_a_menu_filters_the_figure(page, dom):
    """English gains are all alike; the difference of two scales' is 0 in another language, too."""
    before, after = (figure(one, "gain-heat-map") for one in (dom, opened(page, ENGLISH_SIDE)))
    assert "+5.0" in before
    assert "+10.0" not in before
    assert "+10.0" in after
    assert "+5.0" not in after


@needs_chromium
def test_a_gain_has_the_same_colour_on_the_page_as_in_the_files(page, built):
    """All English gains are +10, the largest there is: purple, and not orange."""
    dom = opened(page, ENGLISH_SIDE)
    files = [one.svg for one in every_drawing(built.study, "s") if re.fullmatch("gain-heat-map-[a-z]+", one.name)]
    ten = r'aria-label="[^"]*points: 10[^"]*"[^>]*fill="rgb\((\d+), (\d+), (\d+)\)"'
    cells = [re.findall(ten, figure(dom, "gain-heat-map")), re.findall(ten, "".join(files))]
    assert [len(found) for found in cells] == [6 * len(fakes.SCALES)] * 2
    assert len({colour for found in cells for colour in found}) == 1
    red, _, blue = cells[0][0]
    assert int(blue) > int(red)


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
        scale = colour_of_name([{"i": name} for name in ("none", *(f"name {place}" for place in range(1, count)))])[
            "scale"
        ]
        assert scale["domain"][0] == "none"
        assert len(scale["domain"]) == count <= len(scale.get("range", range(20)))


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
    curves = {(row["k"], row["scale"], row["s"]): row for row in found["retention"]["data"]["values"]}
    for curve in built.study.curves:
        if curve.language == "en":
            name = f"{curve.path} · {curve.head}", curve.arm.scale
            for place, step in enumerate(curve.steps):
                row = curves[*name, step]
                assert row["v"] == pytest.approx(curve.value[place], abs=1e-4)
                assert row["seeds"] == pytest.approx(curve.by_seed[:, place], abs=1e-4)
    where = {row["k"] for row in found["gain-heat-map"]["data"]["values"]}
    assert where == {"small", "medium", "large", "medium − small", "large − medium", "large − small"}
    sizes = [row for row in found["retention-by-scale"]["data"]["values"]]
    assert {row["p"] for row in sizes} == set(fakes.SCALES.values())
    assert not any(row["i"] == "mnli" and "xnli" in row["k"] for row in sizes)  # the same task


def test_languages_are_sorted_by_their_pretraining_text(page):
    layers = specs(page.read_text())["gain-by-language"]["spec"]["layer"]
    assert layers[1]["encoding"]["y"]["sort"] == ["en", "ru", "de", "zh", "sw", "others"]


def test_without_anything_each_figure_says_why(tmp_path):
    text = fakes.report(tmp_path / "store", ["a" * 16], tmp_path / "out", "early").read_text()
    assert "<script" not in text
    for one in FIGURES:
        assert one.missing.split(":")[0] in text


FILLED = """
  const share = one => one.querySelector(".plot svg").getAttribute("width") / one.clientWidth;
  document.title = JSON.stringify([...figures].map(share));
"""


@needs_chromium
@pytest.mark.parametrize("width", [1280, 800])
def test_every_figure_fills_the_page_s_width(page, width):
    """As it is drawn, not only by being magnified."""
    dom = opened(page, FILLED, width=width)
    filled = json.loads(re.findall(r"<title>(.*?)</title>", dom)[0])
    assert len(filled) == len(NAMES)
    assert all(0.95 < share <= 1 for share in filled), filled


@needs_chromium
def test_the_scales_of_a_language_stand_below_one_another(page):
    drawn = figure(opened(page), "gain-by-language")
    places = re.findall(
        r'aria-label="[^"]*language: de; [^"]*scale: (\w+);[^>]*transform="translate\([\d.]+,([\d.]+)\)', drawn
    )
    assert len(places) == len(fakes.TARGETS) * len(fakes.SCALES)
    heights = {scale: {height for name, height in places if name == scale} for scale in fakes.SCALES}
    assert all(len(of_scale) == 1 for of_scale in heights.values()), "alike in all panels"
    assert len(set.union(*heights.values())) == len(fakes.SCALES)


def test_all_targets_of_an_intermediate_stand_side_by_side_and_either_head_has_its_row(built):
    view = retention_over_steps(built.study)
    assert view is not None
    panels = [name for name in view.panels if name.startswith("mnli")]
    targets = ["xnli (same task)", "pawsx", "xquad"]
    assert panels == [f"mnli → {target} · {head}" for head in ("stored", "refit") for target in targets]
    assert view.columns == len(targets)


def test_what_is_undefined_is_said_in_its_panel_and_drawn_nowhere(built):
    curves = [
        replace(curve, undefined="it is") if (curve.path, curve.arm.scale) == ("mnli → pawsx", "small") else curve
        for curve in built.study.curves
    ]
    view = retention_over_steps(replace(built.study, curves=curves))
    assert view is not None
    notes = {row["k"]: row["n"] for row in view.rows if "n" in row}
    assert notes == {f"mnli → pawsx · {head}": "undefined: small" for head in ("stored", "refit")}
    drawn = {(row["k"], row["scale"]) for row in view.rows if "n" not in row}
    assert not drawn & {(name, "small") for name in notes}
    assert "Undefined:" in view.caption
    whole = retention_over_steps(built.study)
    assert whole is not None
    assert "Undefined:" not in whole.caption


def rows(**known: list[tuple[float, float] | None]) -> list[dict]:
    """Menu's value → its estimates as value and half-width; None where there is none."""
    return [
        {"i": name, "v": None, "l": None, "u": None}
        if one is None
        else {"i": name, "v": one[0], "l": one[0] - one[1], "u": one[0] + one[1]}
        for name, own in known.items()
        for one in own
    ]


def test_a_figure_opens_on_what_most_is_known_of():
    one, wide, narrow = (0.9, 0.1), (0.9, 0.5), (0.0, 0.1)
    assert best_known(rows(a=[one], b=[one, one], c=[one]), "i") == "b"
    assert best_known(rows(a=[one, None], b=[narrow, narrow]), "i") == "b"
    assert best_known(rows(a=[wide, wide], b=[one, wide], c=[wide, wide]), "i") == "b"
    assert best_known(rows(a=[one], b=[one]), "i") == "a", "alike: the first"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1, 1), st.integers(1, 9)), min_size=1), st.randoms())
def test_on_what_a_figure_opens_does_not_hang_on_the_values_shown(found, random):
    def opens(values: list[float]) -> str:
        return best_known(
            [
                {"i": name, "v": value, "l": -width, "u": width}
                for (name, _, width), value in zip(found, values, strict=True)
            ],
            "i",
        )

    values = [value for _, value, _ in found]
    shuffled = list(values)
    random.shuffle(shuffled)
    assert opens(values) == opens(shuffled) == opens([-value for value in values])


def test_the_caption_tells_the_rule_where_there_is_a_menu(page):
    text = page.read_text()
    for name, spec in specs(text).items():
        caption = text.split(f'id="{name}"', 1)[1].split("<figcaption>", 1)[1].split("</figcaption>", 1)[0]
        assert ("most defined values" in caption) == bool(spec["params"]), name


HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"


@pytest.mark.slow
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
