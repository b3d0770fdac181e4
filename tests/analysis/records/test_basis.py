"""A report carries a fingerprint, from which it is written again, whatever has come since."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.reading import read_again, read_study, source_of
from analysis.records.basis import Basis, folder_of, results_of
from analysis.records.frame import NOTHING, Record
from analysis.records.wandb_api import Place
from analysis.report.report import write_report
from tests.analysis import fakes
from trainers.store import Store

BASIS = Basis(sweep="s", source="store", retrieval_depth=0.5, resamples=100, seed=0, results={"a" * 16: "missing"})


@pytest.fixture
def planned():
    return [stage for stage in fakes.stages((0, 1), ("none", "mnli")) if not stage.ending or stage.ending == "pawsx"]


@pytest.fixture
def half(planned, tmp_path):
    """A store with half of the plan, and the reading of it."""
    for stage in planned[: len(planned) // 2]:
        fakes.write_stage(tmp_path / "store", stage)
    return read(tmp_path, planned)


def read(folder, planned):
    return read_study(folder / "store", {stage.key for stage in planned}, "fakes", planned, resamples=50)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_report_is_written_again_byte_for_byte_though_the_sweep_went_on(planned, half, tmp_path):
    page = write_report(half, tmp_path / "then")
    for stage in planned[len(planned) // 2 :]:
        fakes.write_stage(tmp_path / "store", stage)
    now = read(tmp_path, planned)
    assert now.basis.fingerprint != half.basis.fingerprint
    assert write_report(now, tmp_path / "now", figures=False).read_bytes() != page.read_bytes()
    basis = Basis.kept(tmp_path / "store", half.basis.fingerprint[:5])
    write_report(read_again(tmp_path / "store", basis, planned), tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "then")


@pytest.mark.slow
def test_page_and_figures_carry_the_fingerprint(half, tmp_path):
    page = write_report(half, tmp_path / "out").read_text()
    fingerprint = half.basis.fingerprint
    assert f"--reproduce {fingerprint}" in page
    specs = [json.loads(part.partition("</script>")[0]) for part in page.split('type="application/json">')[1:]]
    assert specs
    for spec in specs:
        assert spec["title"]["text"].startswith("fakes · 1 to 2 seeds")
        assert spec["title"]["text"].endswith(fingerprint)
    drawn = list((tmp_path / "out" / "figures").glob("*.svg"))
    assert drawn
    assert all(fingerprint in path.read_text() for path in drawn)


@pytest.mark.slow
def test_what_began_after_the_report_or_had_no_result_leaves_no_trace(planned, tmp_path):
    store = tmp_path / "store"
    for stage in planned[:-1]:
        fakes.write_stage(store, stage)
    running = Store(store).entry(planned[0].key)
    result = (running.folder / "result.json").read_text()
    (running.folder / "result.json").unlink()
    then = read(tmp_path, planned)
    (running.folder / "result.json").write_text(result)
    fakes.write_stage(store, planned[-1])
    again = read_again(store, then.basis, planned)
    outcomes = {row["key"]: row["outcome"] for row in again.study.stages.iter_rows(named=True)}
    assert (outcomes[planned[0].key], outcomes[planned[-1].key]) == ("running", "missing")
    assert set(again.study.frame["key"]) <= {stage.key for stage in planned[1:-1]}
    assert again.basis == then.basis


def test_a_result_that_is_gone_or_another_is_told(planned, half, tmp_path):
    file = Store(tmp_path / "store").entry(planned[0].key).folder / "result.json"
    result = json.loads(file.read_text())
    file.write_text(json.dumps({**result, "tokens": 12345}))
    with pytest.raises(ValueError, match=rf"1 stages of report .* another result now; the first is {planned[0].key}"):
        read_again(tmp_path / "store", half.basis, planned)
    file.unlink()
    with pytest.raises(ValueError, match="gone or have another result"):
        read_again(tmp_path / "store", half.basis, planned)


@pytest.mark.parametrize(
    "change",
    [
        {"sweep": "t"},
        {"source": "wandb"},
        {"retrieval_depth": 0.6},
        {"resamples": 99},
        {"seed": 1},
        {"results": {"a" * 16: "running"}},
        {"results": {"b" * 16: "missing"}},
        {"results": {}},
    ],
)
def test_another_basis_has_another_fingerprint(change):
    other = BASIS.model_copy(update=change)
    assert other.fingerprint != BASIS.fingerprint
    assert len(other.fingerprint) == 12


def test_fingerprints_that_name_no_report_or_several(tmp_path):
    with pytest.raises(ValueError, match="is the fingerprint of 0 reports"):
        Basis.kept(tmp_path, BASIS.fingerprint)
    path = BASIS.keep(tmp_path)
    assert Basis.kept(tmp_path, BASIS.fingerprint.upper()) == BASIS
    (folder_of(tmp_path) / f"{BASIS.fingerprint[:6]}ffffff.json").write_text(path.read_text())
    for wrong in ("", BASIS.fingerprint[:6], "../../etc/passwd", "*"):
        with pytest.raises(ValueError, match=f"reports of .*; known are .*{BASIS.fingerprint}"):
            Basis.kept(tmp_path, wrong)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sweep": 1}', "\x00"])
def test_a_damaged_note_is_told(tmp_path, content):
    BASIS.keep(tmp_path).write_text(content)
    with pytest.raises(ValueError, match="cannot be read"):
        Basis.kept(tmp_path, BASIS.fingerprint)


def test_a_note_that_somebody_changed_is_told(tmp_path):
    path = BASIS.keep(tmp_path)
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match="was changed"):
        Basis.kept(tmp_path, BASIS.fingerprint)


bases = st.builds(
    Basis,
    sweep=st.text(),
    source=st.sampled_from(["store", "wandb"]),
    retrieval_depth=st.floats(0, 1),
    resamples=st.integers(3, 9999),
    seed=st.integers(0, 9),
    results=st.dictionaries(st.text("0123456789abcdef", min_size=1), st.sampled_from(["running", "f" * 12])),
)


@settings(max_examples=50)
@given(bases, bases, st.randoms())
def test_what_is_kept_is_found_again_by_its_first_digits(one, other, random):
    with tempfile.TemporaryDirectory() as folder:
        path = one.keep(Path(folder))
        other.keep(Path(folder))
        assert path == folder_of(Path(folder)) / f"{one.fingerprint}.json"
        shared = sum(a == b for a, b in zip(one.fingerprint, other.fingerprint, strict=True))
        for digits in range(shared + 1, 13):
            assert Basis.kept(Path(folder), one.fingerprint[:digits]) == one
    shuffled = list(one.results.items())
    random.shuffle(shuffled)
    assert one.model_copy(update={"results": dict(shuffled)}).fingerprint == one.fingerprint


STAGES = fakes.stages((0,), ("none", "mnli"))[:6]
OUTCOMES = st.sampled_from(["completed", "diverged", "running", "missing"])


def record(stage, outcome):
    if outcome in ("running", "missing"):
        return Record(stage, {}, None, NOTHING, begun=outcome == "running")
    return fakes.recorded(stage, outcome)


def test_results_are_digests_or_why_there_is_none():
    told = results_of(map(record, STAGES, ("completed", "completed", "diverged", "running", "missing")))
    assert list(told) == [stage.key for stage in STAGES[:5]]
    first, again, other, *none = told.values()
    assert first == again != other
    assert len(first) == len(other) == 12
    assert none == ["running", "missing"]


@settings(max_examples=50)
@given(st.lists(OUTCOMES, min_size=6, max_size=6), st.lists(OUTCOMES, min_size=6, max_size=6))
def test_what_is_restored_has_the_results_of_then(before, after):
    """A stage's result stays once it is there; a report knew only of those that it was planned with."""
    then = results_of(map(record, STAGES[:4], before))
    order = ["missing", "running", "diverged", "completed"]
    ends = [old if old in order[2:] else max(old, new, key=order.index) for old, new in zip(before, after, strict=True)]
    now = list(map(record, STAGES, ends))
    basis = BASIS.model_copy(update={"results": then})
    assert results_of(basis.restored(now)) == then
    finished = [key for key, result in then.items() if result not in ("running", "missing")]
    for key in finished[:1]:
        with pytest.raises(ValueError, match=f"the first is {key}"):
            basis.restored([one for one in now if one.stage.key != key])


def test_the_source_is_read_back_from_the_basis():
    place = Place("us", "retain", "small")
    assert [source_of(text) for text in ("store", str(place))] == ["store", place]
    for text in ("nowhere", "wandb"):
        with pytest.raises(ValueError, match=text):
            source_of(text)
