"""News of a sweep: each thing once, and never in a job's way."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from launch.job.news import News, announce, tell
from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from launch.verdicts import Verdict, write_verdict
from slurm.failures.causes import Cause
from slurm.failures.decide import ExitRecord, decide
from trainers.store import EventLog, Store

RESULT = {"outcome": "completed", "evidence": None, "seconds": {"train": 1.0}}


@pytest.fixture
def webhook():
    """A loopback server and what it was told."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/secret", told
    server.shutdown()
    server.server_close()


@pytest.fixture
def sweep(sweep_file, tmp_path, webhook):
    plan = make_plan(load_sweep(sweep_file()))
    store = Store(tmp_path / "store")
    secret = tmp_path / "webhook"
    secret.write_text(webhook[0] + "\n")
    announce(store.root, "small", News(stages=plan.stages, webhook_file=secret))
    return plan, store


def finish(store: Store, stage, **changes) -> None:
    entry = store.open(stage)
    (entry.folder / "result.json").write_text(json.dumps({**RESULT, **changes}))


def test_start_first_failure_and_end_are_told_once_each(sweep, webhook):
    plan, store = sweep
    first, second, *others = plan.stages
    assert tell(store, "small") == []
    finish(store, first)
    tell(store, "small")
    tell(store, "small")
    entry = store.open(second)
    log = EventLog(entry)
    log.write("attempt")
    log.write("ended", outcome="crash", evidence="ValueError: x")
    log.close()
    tell(store, "small")
    finish(store, others[0])
    tell(store, "small")
    for stage in (second, *others):
        finish(store, stage, outcome="diverged")
    tell(store, "small")
    tell(store, "small")
    kinds = [text.partition(":")[0] for text in webhook[1]]
    assert kinds == ["Sweep small has started", "Sweep small has its first failure", "Sweep small is over"]


@pytest.mark.parametrize(("cause", "told"), [(Cause.CRASH, 1), (Cause.PREEMPTED, 0), (Cause.CANCELLED, 0)])
def test_what_is_left_to_a_person_is_a_failure_though_the_stage_left_no_word(sweep, webhook, cause, told):
    plan, store = sweep
    finish(store, plan.stages[0])
    tell(store, "small")
    record = ExitRecord(cause=cause, evidence="a line")
    write_verdict(store.open(plan.stages[1]), Verdict(record=record, decision=decide(record)))
    tell(store, "small")
    assert sum("first failure" in text for text in webhook[1]) == told


def test_a_sweep_is_over_when_all_that_is_left_waits_for_what_failed(sweep, webhook):
    plan, store = sweep
    intermediate = next(stage for stage in plan.stages if stage.kind == "intermediate")
    record = ExitRecord(cause=Cause.CRASH, evidence="a line")
    write_verdict(store.open(intermediate), Verdict(record=record, decision=decide(record)))
    tell(store, "small")
    for stage in plan.stages:
        if stage.parent is None and stage is not intermediate:
            finish(store, stage)
    tell(store, "small")
    assert [text.partition(":")[0] for text in webhook[1]] == [
        "Sweep small has its first failure",
        "Sweep small is over",
    ]
    assert "blocked" in webhook[1][-1]


def test_a_sweep_is_not_over_while_what_diverged_is_tried_again(sweep, webhook):
    plan, store = sweep
    told = News.model_validate_json((store.root / "slurm/news/small.json").read_text())
    announce(store.root, "small", told.model_copy(update={"retries": 1}))
    diverged = next(stage for stage in plan.stages if stage.train and stage.parent is None and stage.kind == "target")
    for stage in plan.stages:
        finish(store, stage, outcome="diverged" if stage is diverged else "completed")
    tell(store, "small")
    assert not [text for text in webhook[1] if "is over" in text]
    finish(store, diverged.model_copy(update={"retry": 1}))
    tell(store, "small")
    assert "Sweep small is over" in webhook[1][-1]


def test_a_new_submission_may_tell_again(sweep, webhook):
    plan, store = sweep
    for stage in plan.stages:
        finish(store, stage)
    for _ in range(2):
        tell(store, "small")
    announce(store.root, "small", News.model_validate_json((store.root / "slurm/news/small.json").read_text()))
    tell(store, "small")
    assert len(webhook[1]) == 2


def test_of_a_sweep_that_tells_nobody_nothing_is_said(tmp_path):
    assert tell(Store(tmp_path), "small") == []


@pytest.mark.parametrize("content", ["", "not a url", "file:///etc/passwd"])
def test_a_bad_webhook_is_a_line_and_no_error(sweep, tmp_path, content):
    plan, store = sweep
    (tmp_path / "webhook").write_text(content)
    finish(store, plan.stages[0])
    (line,) = tell(store, "small")
    assert "/etc/passwd" not in line


def test_a_missing_secret_is_a_line_and_no_error(sweep, tmp_path: Path):
    plan, store = sweep
    (tmp_path / "webhook").unlink()
    finish(store, plan.stages[0])
    assert len(tell(store, "small")) <= 1


def test_the_secret_is_in_no_file_of_the_store(sweep, webhook):
    plan, store = sweep
    finish(store, plan.stages[0])
    tell(store, "small")
    assert not [path for path in store.root.rglob("*") if path.is_file() and b"/secret" in path.read_bytes()]
