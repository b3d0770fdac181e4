"""A sweep's changes of state are told, once each; whatever is wrong with mail or webhook costs a line of text."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm import notify
from slurm.notify import Notifier, changes

STATES = ("completed", "diverged", "running", "waiting", "interrupted", "failed", "blocked")
HOSTILE = [
    'x"; touch pwned; "',
    "$(touch pwned) `touch pwned`",
    "a\nBcc: evil@example.org\n\nbody",
    "a\r\n.\r\nb",
    "-X /tmp/log",
    "~!touch pwned",
    "Größe \u202e🙂 \x00",
]


# -- what is worth a message -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"waiting": 3}, None),
        ({"waiting": 3}, {"waiting": 2, "running": 1}, "has started"),
        ({}, {"completed": 1, "waiting": 2}, "has started"),
        ({"running": 3}, {"running": 2, "completed": 1}, None),  # a job is not a sweep
        ({"running": 3}, {"running": 2, "failed": 1}, "has its first failure"),
        ({"running": 3}, {"running": 2, "diverged": 1}, "has its first failure"),
        ({"running": 2, "failed": 1}, {"running": 1, "failed": 2}, None),
        ({"running": 1, "completed": 2}, {"completed": 3}, "is over: 3 completed"),
        ({"running": 1}, {"failed": 1, "blocked": 4}, "is over: 1 failed, 4 blocked"),
        ({"running": 1}, {"interrupted": 1}, None),  # goes on when run again
        ({"completed": 3}, {"completed": 3}, None),
        ({"completed": 3}, {"completed": 3, "waiting": 2}, None),  # the sweep was made larger
        ({}, {}, None),
        ({}, {"completed": 3}, "is over"),
    ],
)
def test_changes(before, after, told):
    change = changes(before, after)
    assert change is None if told is None else change.startswith(told)


COUNTS = st.dictionaries(st.sampled_from(STATES), st.integers(0, 3))


@given(COUNTS, COUNTS)
def test_nothing_is_told_twice(before, after):
    assert changes(after, after) is None or not any(after.values())
    assert changes(before, after) is None or before != after


# -- webhook ---------------------------------------------------------------------------------------------------


@pytest.fixture
def webhook():
    """A loopback webhook: its URL, what it got, and what it answers (None: nothing, until the test is over)."""
    got, over = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        answer: int | None = 200

        def do_POST(self):
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            if self.answer is None:
                over.wait()
                return
            self.send_response(self.answer)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret-path", got, Handler
    over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", ["grid", *HOSTILE])
def test_webhook_gets_one_clean_line(webhook, name):
    url, got, _ = webhook
    assert Notifier(url=url).send(name, "has started: 1 running") == []
    ((path, body),) = got
    assert path == "/secret-path"
    assert body.keys() == {"text"}
    assert body["text"].startswith("Sweep ")
    assert body["text"].endswith("has started: 1 running")
    assert body["text"].isprintable()


@pytest.mark.parametrize(
    ("answer", "reason"), [(500, "it answered 500"), (404, "it answered 404"), (None, "TimeoutError")]
)
def test_webhook_that_refuses_or_hangs_costs_a_line_without_its_secret(webhook, monkeypatch, answer, reason):
    url, got, handler = webhook
    handler.answer = answer
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.3)
    (trouble,) = Notifier(url=url).send("grid", "is over")
    assert reason in trouble
    assert "secret-path" not in trouble
    assert len(got) == 1


def test_webhook_that_is_not_there_costs_a_line(webhook):
    url, _, _ = webhook
    nobody = url.replace("127.0.0.1", "127.0.0.2")  # nobody listens there
    (trouble,) = Notifier(url=nobody).send("grid", "is over")
    assert "127.0.0.2 was not told" in trouble


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "hook", "http://", ""])
def test_what_is_no_webhook_is_refused(url):
    with pytest.raises(ValueError, match="http"):
        Notifier(url=url)


# -- mail ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mailer(tmp_path, monkeypatch):
    """Put a command of some name into an otherwise empty PATH; it writes down its arguments and its input."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder))
    monkeypatch.setattr(notify, "SBIN", "")
    monkeypatch.chdir(tmp_path)

    def mailer(name: str, status: int = 0):
        script = bin_folder / name
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n/bin/cat > {tmp_path}/input\nexit {status}\n'
        )
        script.chmod(0o755)
        return tmp_path / "arguments", tmp_path / "input"

    return mailer


@pytest.mark.parametrize("name", ["grid", *HOSTILE])
def test_hostile_names_reach_neither_shell_nor_header_of_sendmail(mailer, tmp_path, name):
    arguments, sent = mailer("sendmail")
    assert Notifier(mail="me@example.org").send(name, "is over: 3 completed") == []
    assert arguments.read_text() == "-i\nme@example.org\n"
    message = email.message_from_bytes(sent.read_bytes(), policy=email.policy.default)
    assert message["To"] == "me@example.org"
    assert message["Bcc"] is None
    assert message["Subject"].startswith("Sweep ")
    assert message["Subject"].endswith("is over: 3 completed")
    assert message.get_content().count("\n") == 1
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_one_argument_of_mail(mailer, tmp_path, name):
    arguments, sent = mailer("mail")
    assert Notifier(mail="me@example.org").send(name, "is over") == []
    first, subject, address = arguments.read_text().splitlines()
    assert (first, address) == ("-s", "me@example.org")
    assert subject.startswith("Sweep ")
    assert sent.read_text().startswith("Sweep ")
    assert not (tmp_path / "pwned").exists()


def test_failing_mail_costs_a_line(mailer):
    mailer("sendmail", status=75)
    (trouble,) = Notifier(mail="me@example.org").send("grid", "is over")
    assert "me@example.org was not told" in trouble


@pytest.mark.usefixtures("mailer")
def test_machine_without_mail_costs_a_line():
    (trouble,) = Notifier(mail="me@example.org").send("grid", "is over")
    assert "neither sendmail nor mail" in trouble


@pytest.mark.parametrize("address", ["-oQ/tmp", "me", "a@b,c@d", "a@b\nBcc: c@d", "-x@y", "a b@c", "a@-b", "", "<a@b>"])
def test_what_is_no_plain_address_is_refused(address):
    with pytest.raises(ValueError, match="plain mail address"):
        Notifier(mail=address)


def test_secret_address_does_not_show_when_printed():
    assert "secret" not in repr(Notifier(url="https://hooks.example.org/secret"))


def test_both_ways_are_tried_and_none_is_fine(webhook, mailer):
    url, got, _ = webhook
    mailer("sendmail", status=1)
    troubles = Notifier(url=url, mail="me@example.org").send("grid", "is over")
    assert len(troubles) == 1
    assert len(got) == 1
    assert Notifier().send("grid", "is over") == []
