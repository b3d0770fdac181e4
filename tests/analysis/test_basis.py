"""A report carries a fingerprint, from which it is written again, whatever has come since."""

from __future__ import annotations

import json

import pytest

from analysis.basis import Basis, folder_of
from analysis.reading import read_again, read_study
from analysis.report import write_report
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


def test_a_report_is_written_again_byte_for_byte_though_the_sweep_went_on(planned, half, tmp_path):
    page = write_report(half, tmp_path / "then")
    for stage in planned[len(planned) // 2 :]:
        fakes.write_stage(tmp_path / "store", stage)
    now = read(tmp_path, planned)
    assert now.basis.fingerprint != half.basis.fingerprint
    assert write_report(now, tmp_path / "now").read_bytes() != page.read_bytes()
    basis = Basis.kept(tmp_path / "store", half.basis.fingerprint[:5])
    write_report(read_again(tmp_path / "store", basis, planned), tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "then")


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
