"""A mail or a webhook when a sweep starts, first fails, or is over: never for every job, and never in its way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import urlsplit

from slurm.failures.causes import clean, excerpt

TIMEOUT_S = 5.0
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9][A-Za-z0-9.-]*")
"""A plain address: nothing that a command could take for an option or a second recipient."""
SBIN = "/usr/sbin:/usr/lib"
"""Where sendmail is, often outside a user's PATH."""

UNDECIDED = ("waiting", "running", "interrupted")
TROUBLE = ("failed", "diverged")


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> str | None:
    """What is worth a message between two looks at a sweep; the weightiest, if more than one thing happened.

    Args:
        before, after: how many stages are in each state; `before` is empty at the first look.
    """
    line = ", ".join(f"{count} {state}" for state, count in after.items() if count)
    undecided = sum(after.get(state, 0) for state in UNDECIDED)
    was_undecided = not any(before.values()) or any(before.get(state, 0) for state in UNDECIDED)
    if any(after.values()) and not undecided and was_undecided:
        return f"is over: {line}"
    if any(after.get(state, 0) for state in TROUBLE) and not any(before.get(state, 0) for state in TROUBLE):
        return f"has its first failure: {line}"
    if _begun(after) and not _begun(before):
        return f"has started: {line}"
    return None


def _begun(counts: Mapping[str, int]) -> bool:
    return any(count for state, count in counts.items() if state != "waiting")


@dataclass(frozen=True)
class Notifier:
    """Where messages go.

    Raises:
        ValueError: the URL or the address is none.
    """

    url: str | None = field(default=None, repr=False)
    """A webhook; it gets `{"text": ...}`, which Slack, Mattermost and others show.  Who knows it can post: a secret."""
    mail: str | None = None
    """An address, reached with this machine's `sendmail` or `mail`."""

    def __post_init__(self) -> None:
        if self.url is not None and (
            urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname
        ):
            raise ValueError("The webhook is not an address that begins with http:// or https://.")
        if self.mail is not None and not ADDRESS.fullmatch(self.mail):
            raise ValueError(f"{self.mail!r} is not one plain mail address.")

    def send(self, sweep: str, change: str) -> list[str]:
        """Tell that `sweep` `change`d; takes a few seconds at most.

        Returns:
            One line for each way that failed; nothing is raised, since a message is not worth a job.
        """
        text = excerpt(clean(f"Sweep {sweep} {change}"))
        ways = ((self.url, _post), (self.mail, _mail))
        return [trouble for target, way in ways if target and (trouble := way(target, text))]


def _post(url: str, text: str) -> str | None:
    """POST to a webhook; says what went wrong, without the secret path."""
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        reason = f"it answered {error.code}"
        error.close()
    except Exception as error:  # urllib lets errors of sockets, of http.client and of its own through
        reason = type(error).__name__
    return f"The webhook at {urlsplit(url).hostname} was not told: {reason}."


def _mail(address: str, text: str) -> str | None:
    """Send a mail without a shell: the text goes through stdin, as a header only after `EmailMessage` checked it."""
    message = EmailMessage()
    message["To"], message["Subject"] = address, text
    message.set_content(text)
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    if command := shutil.which("sendmail", path=path):
        arguments, data = [command, "-i", address], message.as_bytes()
    elif command := shutil.which("mail", path=path):
        arguments, data = [command, "-s", text, address], message.get_content().encode()
    else:
        return f"{address} was not told: this machine has neither sendmail nor mail."
    try:
        subprocess.run(arguments, input=data, capture_output=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{address} was not told: {arguments[0]} failed with {type(error).__name__}."
    return None
