"""W&B's offline files hold the store's measurements; torn ones are read as far as they go, foreign ones refused."""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wandb.proto import wandb_internal_pb2

from tests.analysis import fakes
from tests.analysis.wandb_files import (
    BLOCK_BYTES,
    CHUNK_HEADER,
    FILE_HEADER,
    IDENT,
    MAGIC,
    payloads,
    read_fragment,
    read_runs,
)
from tests.frames import assert_same, gather_store, gather_wandb_files
from trainers.stage import Stage
from trainers.stage.scores import Score
from trainers.store import EventLog, Store, tracking
from trainers.store.files import write_json
from trainers.store.record import Recorder
from trainers.store.tracking import Patience, Tracker, Tracking
from trainers.tasks import TASKS

HEADER = FILE_HEADER.pack(IDENT, MAGIC, 0)


def record(root: Path, stage: Stage, points: list[fakes.Point], finished: bool) -> None:
    """One attempt, told to the store and to the real W&B client by the real recorder."""
    entry = Store(root).open(stage)
    facts = fakes.facts(stage.scale.name)
    log = EventLog(entry)
    tracker = Tracker(
        stage, {"stage": stage.model_dump(mode="json"), "scale": facts}, Tracking(group="fake"), root, Patience()
    )
    recorder = Recorder(stage, log, tracker)
    recorder.event("attempt", job="local", scale=facts)
    for at in sorted({point.at for point in points}):
        recorder.step(at, 0.5, 1e-4, 4096, 0.1)
        recorder.measured(
            [
                Score(
                    point.measure,
                    point.task,
                    point.language,
                    metric,
                    value=point.value + 1e-3 * len(metric),
                    examples=400,
                    chance=0.4,
                )
                for point in points
                if point.at == at
                for metric in metrics(point)
            ],
            at,
        )
    log.close()
    if finished:
        write_json(entry.folder / "result.json", fakes.result("completed"))
    tracker.finish(fakes.result("completed") if finished else None, exit_code=0 if finished else 1)
    assert tracker.trouble is None


def metrics(point: fakes.Point) -> list[str]:
    return ["f1", "exact_match"] if TASKS[point.task].family == "span" else [TASKS[point.task].metric]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intermediate, a target that was resumed with an overlap, one still running, and retrieval."""
    root = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patched:  # a machine that is busy may take long: here nothing waits for it
        patched.setattr(tracking, "FINISH_TIMEOUT_S", 300.0)
        patched.setattr(tracking, "START_TIMEOUT_S", 300.0)
        track(root)
    return root


def track(root: Path) -> None:
    of_kind = {(stage.kind, stage.intermediate, stage.ending): stage for stage in fakes.stages((0,))}
    record(root, of_kind["intermediate", "squad", ""], list(fakes.truth(of_kind["intermediate", "squad", ""])), True)
    retrieval = of_kind["retrieval", "none", "tatoeba"]
    record(root, retrieval, list(fakes.truth(retrieval)), True)
    running = of_kind["target", "none", "xquad"]
    record(root, running, list(fakes.truth(running)), False)
    variant = {"target.learning_rate": 1e-5, "adam_betas": (0.9, 0.98)}
    resumed = of_kind["target", "squad", "xquad"].model_copy(update={"variant": variant, "retry": 1})
    points = list(fakes.truth(resumed))
    record(root, resumed, [point for point in points if point.at <= 16], False)
    again = [
        fakes.Point(point.at, point.measure, point.task, point.language, point.value / 2)
        for point in points
        if point.at >= 8
    ]
    record(root, resumed, again, True)


def test_store_and_wandb_give_the_same_frame(tracked):
    store, wandb = gather_store(tracked), gather_wandb_files(tracked / "wandb")
    assert store.height > 200
    assert set(store["outcome"]) == {"completed", "running"}
    assert store["metric"].n_unique() == 3
    assert set(store["variant"]) == {"", "adam_betas=(0.9, 0.98) · target.learning_rate=1e-05"}
    assert_same(store, wandb)


def test_the_same_stages_can_be_chosen(tracked):
    keys = set(gather_store(tracked)["key"].unique().to_list()[:2])
    assert_same(gather_store(tracked, keys), gather_wandb_files(tracked / "wandb", keys))


def test_a_torn_file_is_read_as_far_as_it_goes(tracked, tmp_path):
    whole = next((tracked / "wandb").glob("offline-run-*/run-*.wandb"))
    data = whole.read_bytes()
    count = len(list(payloads(whole)))
    torn = tmp_path / "run-torn.wandb"
    for size in range(0, len(data), len(data) // 50):
        torn.write_bytes(data[:size])
        assert len(list(payloads(torn))) <= count
    torn.write_bytes(data[:-3])
    assert len(list(payloads(torn))) == count - 1
    assert read_fragment(torn).run_id


def test_a_damaged_file_is_refused_by_name(tracked, tmp_path):
    data = bytearray(next((tracked / "wandb").glob("offline-run-*/run-*.wandb")).read_bytes())
    data[len(data) // 2] ^= 0xFF
    folder = tmp_path / "offline-run-x"
    folder.mkdir()
    (folder / "run-x.wandb").write_bytes(data)
    with pytest.raises(ValueError, match=r"run-x\.wandb is damaged"):
        gather_wandb_files(tmp_path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip archive", b"{}", b":W&B\x00\x00\x00rest"])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "run-x.wandb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a W&B offline file"):
        list(payloads(path))


@pytest.mark.parametrize("content", [b"", HEADER[:3], HEADER, HEADER + bytes(100)])
def test_a_file_killed_at_its_start_is_empty(tmp_path, content):
    path = tmp_path / "run-x.wandb"
    path.write_bytes(content)
    assert list(payloads(path)) == []


def test_records_may_span_blocks(tmp_path):
    payload = bytes(range(256)) * 400
    path = tmp_path / "run-x.wandb"
    path.write_bytes(HEADER + chunks(payload, len(HEADER)))
    assert list(payloads(path)) == [payload]


def chunks(payload: bytes, place: int) -> bytes:
    """LevelDB's log format, written after its description."""
    written, first = b"", True
    while payload or first:
        left = BLOCK_BYTES - (place + len(written)) % BLOCK_BYTES
        if left < CHUNK_HEADER.size:
            written += bytes(left)
        room = BLOCK_BYTES - (place + len(written)) % BLOCK_BYTES - CHUNK_HEADER.size
        part, payload = payload[:room], payload[room:]
        kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not payload]
        written += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
        first = False
    return written


JUST_SHORT = BLOCK_BYTES - len(HEADER) - 2 * CHUNK_HEADER.size
"""Of so many bytes, a record leaves no more of the first block than the header of the next chunk."""


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2 * BLOCK_BYTES + 99), max_size=4), st.floats(0, 1))
@example([JUST_SHORT, 5], 1.0)
@example([JUST_SHORT + 3, 5], 1.0)
@example([JUST_SHORT + 7, 5], 1.0)
def test_records_of_any_size_are_read_back_and_of_a_torn_file_those_that_are_whole(sizes, share):
    records = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    data, ends = HEADER, [len(HEADER)]
    for one in records:
        data += chunks(one, len(data))
        ends.append(len(data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run-x.wandb"
        path.write_bytes(data)
        assert list(payloads(path)) == records
        size = round(share * len(data))
        path.write_bytes(data[:size])
        assert list(payloads(path)) == records[: sum(end <= size for end in ends[1:])]


@settings(max_examples=25)
@given(share=st.floats(0, 1))
@example(share=0.5)
@example(share=1.0)
def test_of_a_torn_fragment_the_rows_that_are_whole_are_left(tracked, share):
    whole = next((tracked / "wandb").glob("offline-run-*/run-*.wandb"))
    data, rows = whole.read_bytes(), read_fragment(whole).history
    written, ends = HEADER, []  # the same bytes once more, to know where each row ends
    for payload in payloads(whole):
        written += chunks(payload, len(written))
        if wandb_internal_pb2.Record.FromString(payload).WhichOneof("record_type") == "history":
            ends.append(len(written))
    assert written == data
    assert len(ends) == len(rows) > 0
    size = round(share * len(data))
    with tempfile.TemporaryDirectory() as folder:
        torn = Path(folder) / "run-torn.wandb"
        torn.write_bytes(data[:size])
        assert read_fragment(torn).history == rows[: sum(end <= size for end in ends)]


def test_the_files_of_a_run_are_in_the_order_in_which_it_was_resumed(tracked):
    runs = read_runs(tracked / "wandb")
    assert sorted(len(fragments) for fragments in runs.values()) == [1, 1, 1, 2]
    (resumed,) = (fragments for fragments in runs.values() if len(fragments) == 2)
    assert resumed[0].started < resumed[1].started
    stages = {key: fragments[0].config["stage"]["kind"] for key, fragments in runs.items()}
    assert sorted(stages.values()) == ["intermediate", "retrieval", "target", "target"]


@settings(max_examples=10)
@given(data=st.data())
def test_runs_do_not_hang_on_the_names_of_their_folders(tracked, data):
    files = sorted((tracked / "wandb").glob("offline-run-*/run-*.wandb"))
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(data.draw(st.permutations(files))):
            copy = Path(folder) / f"offline-run-{number}" / path.name
            copy.parent.mkdir()
            copy.symlink_to(path)
        (Path(folder) / "offline-run-empty").mkdir()
        (Path(folder) / "offline-run-empty" / "run-empty.wandb").touch()
        assert read_runs(Path(folder)) == read_runs(tracked / "wandb")
