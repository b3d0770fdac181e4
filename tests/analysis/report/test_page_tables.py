"""Tables of the page: names stand once, long tables are folded by group, and nothing is lost."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.inference.statistics import Estimate
from analysis.report.findings import DASH
from analysis.report.page import LONG_TABLE, part
from analysis.report.table import Table, estimate, label, table_of, words

NAMES = tuple(map(label, ("scale", "intermediate", "target")))


def html(table: Table) -> str:
    return part("table", table, "nothing")


class Grid(HTMLParser):
    """The texts of all body cells, the rows that a cell spans filled with it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._below: dict[int, tuple[int, str]] = {}
        self._span, self._in_cell = 1, False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            while (held := self._below.get(len(self.rows[-1]), (0, "")))[0]:
                self._below[len(self.rows[-1])] = (held[0] - 1, held[1])
                self.rows[-1].append(held[1])
            self._span, self._in_cell = int(dict(attributes).get("rowspan", 1)), True
            self.rows[-1].append("")

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        if tag == "td":
            self._below[len(self.rows[-1]) - 1] = (self._span - 1, self.rows[-1][-1])
            self._in_cell = False


def read_back(page: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in Grid(page).rows if row]


def cells(scales: list[str], diverged: str = DASH) -> Table:
    rows = [
        (scale, intermediate, target, diverged, "0.5")
        for scale in scales
        for intermediate in ("none", "mnli", "squad")
        for target in ("xnli", "panx", "xquad")
    ]
    return table_of((*NAMES, words("diverged"), words("English")), rows)


def test_names_that_rows_share_stand_once():
    page = html(cells(["base"]))
    assert page.count(">base<") == 1
    assert page.count('rowspan="9">base<') == 1
    assert page.count('rowspan="3">mnli<') == 1
    assert page.count(">xnli<") == 3


def test_a_name_is_shared_only_where_the_names_before_it_are():
    rows = [("a", "x", "1"), ("b", "x", "2")]
    page = html(table_of((label("first"), label("second"), words("number")), rows))
    assert "rowspan" not in page
    assert read_back(page) == rows


def test_counts_of_what_went_wrong_are_left_out_where_nothing_did():
    assert "diverged" not in html(cells(["base"]))
    assert "diverged" in html(cells(["base"], diverged="1"))


def test_a_long_table_opens_scale_by_scale_and_a_short_one_is_open():
    scales = [f"scale-{number}" for number in range(LONG_TABLE // 9 + 1)]
    page = html(cells(scales))
    assert page.count("<details>") == page.count("<table>") == len(scales)
    assert "<summary>scale-0 <small>9 rows</small></summary>" in page
    assert "<details>" not in html(cells(["base", "large"]))


def test_a_long_list_of_single_rows_is_not_folded_row_by_row():
    rows = [(f"stage {number}", "diverged") for number in range(2 * LONG_TABLE)]
    assert "<details>" not in html(table_of((label("stage"), label("outcome")), rows))


names = st.sampled_from(["a", "b", "<c>", DASH])


@pytest.mark.slow
@given(st.lists(st.tuples(names, names, names, st.sampled_from(["1", "2", DASH])), min_size=1, max_size=40))
def test_no_cell_is_lost_or_moved(rows):
    assert read_back(html(table_of((*NAMES, words("number")), rows))) == rows


def test_the_best_is_bold_beside_its_interval_in_a_folded_table_too():
    scales = [f"scale-{number}" for number in range(LONG_TABLE // 9 + 1)]
    rows = [
        (scale, f"task {place}", "xnli", DASH, Estimate(place / 10, 0.1, 0.9))
        for scale in scales
        for place in range(1, 10)
    ]
    for ranked in (True, False):
        layout = (*NAMES, words("diverged"), estimate("English", ranked=ranked))
        page = html(table_of(layout, rows, among=("scale", "target")))
        best = page.count("<td><b>0.900</b><small>[0.100, 0.900]</small></td>")
        assert page.count("<b>") == best == (len(scales) if ranked else 0)
        assert page.count("<details>") == len(scales)


def test_an_empty_table_says_what_is_missing():
    assert html(table_of(NAMES, [])) == '<p class="note">nothing</p>\n\n'
