"""Text of a log as evidence: one short line, without control characters and without secrets."""

from __future__ import annotations

import re

MOST_CHARACTERS = 300
LONGEST_LINE = 4000
"""Characters of a line that are looked at: patterns take quadratic time on a hostile one."""
MASK = "***"
TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
SECRETS = (
    # NAME=value and "name": "value", where the name says that it is one
    re.compile(r"(?i)((?:key|token|secret|password|passwd)[\"']?\s*[=:]\s*[\"']?)(?!\s)[^\s\"',;]+"),
    re.compile(r"(?i)(\bbearer\s+|authorization:\s*\w+\s+)\S+"),
    re.compile(r"(://[^\s:/@]*:)[^\s@]+(?=@)"),  # user:password in an address
    # Keys that their own form gives away: W&B's new ones, Hugging Face, GitHub, OpenAI; W&B's old ones
    re.compile(r"()\b(?:wandb_v\d_|hf_|gh[pousr]_|github_pat_|sk-)[\w-]{8,}"),
    re.compile(r"()(?<![0-9a-fA-F])[0-9a-fA-F]{40}(?![0-9a-fA-F])"),
)


def clean(text: str) -> str:
    """`text` on one line: terminal codes gone, a blank for what is not printable, secrets masked."""
    if len(text) > LONGEST_LINE:
        text = text[:LONGEST_LINE].rpartition(" ")[0]  # not half a secret
    text = "".join(c if c.isprintable() else " " for c in TERMINAL_CODES.sub("", text))
    for secret in SECRETS:
        text = secret.sub(rf"\g<1>{MASK}", text)
    return " ".join(text.split())


def excerpt(line: str, around: int = 0) -> str:
    """At most `MOST_CHARACTERS` of a clean line, the one at position `around` among them."""
    start = max(0, min(around - MOST_CHARACTERS // 4, len(line) - MOST_CHARACTERS))
    end = start + MOST_CHARACTERS
    piece = line[start:end]
    if start > 0:
        piece = "…" + piece[1:]
    return piece[:-1] + "…" if end < len(line) else piece
