"""Numbers are said as they are, with a dash where there is none, and never as a computer's `nan`."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.inference.statistics import UNDEFINED, Estimate
from analysis.measures.transfer import MeanGain
from analysis.report.figures.views import View
from analysis.report.findings import (
    FEW_INTERMEDIATES,
    by_intermediate,
    counted,
    findings,
    listed,
    said,
    shown,
    tally,
    verdict,
)
from analysis.report.page import part
from analysis.report.table import label, table_of, words
from analysis.report.tables import DASH, duration
from tests.analysis import fakes

ends = st.one_of(st.floats(-10, 10), st.just(math.nan))


@given(ends, ends, ends, st.booleans())
def test_an_estimate_is_a_dash_or_numbers_and_never_a_word(value, low, high, sign):
    text = shown(Estimate(value, low, low if math.isnan(low) else high), sign)
    assert (text == DASH) == math.isnan(value)
    assert ("[" in text) == (not math.isnan(value) and not math.isnan(low))
    assert "-" not in text
    if text != DASH and not math.isnan(high):
        numbers = [float(one.replace("−", "-")) for one in re.findall(r"[+−]?\d+\.\d+", text)]
        assert numbers[0] == pytest.approx(value, abs=5.1e-4)
    assert said(Estimate(value), sign) == shown(Estimate(value), sign, digits=3 if 0 < abs(value) < 0.005 else 2)


def test_said_is_never_broken_over_two_lines():
    assert said(Estimate(0.123, 0.1, 0.2), sign=True) == "+0.12\N{NO-BREAK SPACE}[+0.10,\N{NO-BREAK SPACE}+0.20]"


def test_said_has_a_third_digit_where_two_would_read_0():
    assert said(Estimate(0.02, 0.004, 0.04)) == "0.020\N{NO-BREAK SPACE}[0.004,\N{NO-BREAK SPACE}0.040]"
    assert said(Estimate(0.02, 0.0, 0.04)) == "0.02\N{NO-BREAK SPACE}[0.00,\N{NO-BREAK SPACE}0.04]"


signs = st.sampled_from([Estimate(1, 0.5, 2), Estimate(-1, -2, -0.5), Estimate(0.1, -1, 1), Estimate(0.1)])


@given(st.lists(signs, min_size=1, max_size=8), st.randoms())
def test_a_tally_counts_each_once_in_whatever_order(estimates, random):
    text = tally(estimates)
    shuffled = list(estimates)
    random.shuffle(shuffled)
    assert tally(shuffled) == text
    counted = sum(int(one) for one in re.findall(r"\d+", text)) or len(estimates)
    assert counted == len(estimates)
    words = {verdict(one, "rises", "falls", "cannot be told") for one in estimates}
    assert {word for word in ("rises", "falls", "cannot be told") if word in text} == words


def test_a_tally_by_hand():
    up, down, unclear = Estimate(1, 0.5, 2), Estimate(-1, -2, -0.5), Estimate(0.1)
    assert tally([up, up, down, unclear]) == "rises in 2, falls in 1 and cannot be told in 1"
    assert tally([down, down]) == "falls in all"
    assert tally([unclear, unclear]) == "cannot be told in any"


@pytest.mark.parametrize(("count", "text"), [(0, "0 trainings"), (1, "1 training"), (2, "2 trainings")])
def test_one_is_one(count, text):
    assert counted(count, "training") == text


TARGETS = ("pawsx", "xnli", "xquad")


def test_of_nothing_the_data_cannot_tell(tmp_path):
    (sentence,) = findings(fakes.study_of(tmp_path))
    assert sentence.startswith("The data cannot tell yet")


@pytest.mark.parametrize("count", [0, 1, FEW_INTERMEDIATES, FEW_INTERMEDIATES + 1, 20])
def test_of_many_intermediates_it_tells_between_which_gains_they_lie(built, count):
    gains = {f"task{place}": 0.01 * (place % 7) for place in range(count)}
    means = [
        MeanGain(
            scale,
            name,
            TARGETS,
            (),
            Estimate(0.5, 0.4, 0.6),
            Estimate(sign * gain, sign * gain - 0.01, sign * gain + 0.01),
        )
        for scale, sign in (("small", -1), ("large", 1))
        for name, gain in gains.items()
    ]
    study = replace(
        built.study, mean_gains=[*means, MeanGain("large", "lost", TARGETS, ("xnli",), UNDEFINED, UNDEFINED)]
    )
    told = [one.replace("\N{NO-BREAK SPACE}", " ") for one in findings(study) if "add between" in one]
    if count <= FEW_INTERMEDIATES:
        assert told == []
        return
    least, most = (
        f"{value:+.2f} [{value - 0.01:+.2f}, {value + 0.01:+.2f}]".replace("-", "−")
        for value in (0, max(gains.values()))
    )
    (sentence,) = told
    assert sentence.startswith(
        f"At large the {count} intermediates that have every target add between {least} (task0) and {most} (task"
    )
    assert sentence.endswith("(mean over pawsx, xnli and xquad).")
    assert set(findings(study)).isdisjoint(by_intermediate(study))


def test_an_arm_that_lacks_a_target_is_told_so_and_has_no_mean(built):
    study = replace(
        built.study,
        mean_gains=[
            MeanGain("small", "mnli", TARGETS, (), Estimate(0.1, 0.0, 0.2), Estimate(0.1, 0.0, 0.2)),
            MeanGain("large", "mnli", TARGETS, ("xnli", "xquad"), UNDEFINED, UNDEFINED),
        ],
    )
    sentence = next(one for one in by_intermediate(study) if one.startswith("What mnli adds"))
    assert "(mean over pawsx, xnli and xquad): small +0.10" in sentence
    assert "large not enough, no gain in xnli and xquad. Of" in sentence


def test_names_are_listed_as_one_says_them():
    assert [listed("abc"[:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_durations_keep_their_order_and_their_length(one, other):
    def seconds(text: str) -> int:
        units = {"s": 1, "min": 60, "h": 3600}
        return sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+) (s|min|h)", text))

    shorter, longer = sorted((one, other))
    assert seconds(duration(shorter)) <= seconds(duration(longer))
    assert seconds(duration(one)) == pytest.approx(one, abs=60 if one >= 3600 else 0.5)


hostile = st.text(st.sampled_from("<>&\"'/[] a"), min_size=1, max_size=60)


@given(hostile, hostile)
def test_no_text_of_the_page_becomes_a_tag(name, value):
    """Whatever the texts, the page has the tags that it has with harmless ones."""

    def tags(name: str, value: str) -> list[str]:
        view = View("v", "", name, [{"i": value, "k": value}], [], [value], columns=1)
        rows = [(name, value), ("a long cell, " * 4, value)]
        page = (
            part("items", [name, value])
            + part("folded", name, [value])
            + part("table", table_of((label(name), words(f"{name} ")), rows), "")
            + part("figure", view, value)
        )
        return re.findall(r"</?[^\s<>]*", page)

    harmless = re.sub(r"[<>&\"'/]", "x", name), re.sub(r"[<>&\"'/]", "x", value)
    assert tags(name, value) == tags(*harmless)
