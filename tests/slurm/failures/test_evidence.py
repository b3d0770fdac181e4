"""Evidence is one short printable line without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.failures.causes import LONGEST_LINE, MOST_CHARACTERS, Cause, classify, clean, excerpt

OLD_KEY = "0123456789abcdef" * 2 + "01234567"
NEW_KEY = "wandb_v1_" + "aB3_x-" * 12
SECRETS = [
    (f"WANDB_API_KEY={OLD_KEY}", OLD_KEY),
    (f"export WANDB_API_KEY='{NEW_KEY}'", NEW_KEY),
    (f"wandb.login({OLD_KEY})", OLD_KEY),
    (f"key {NEW_KEY} refused", NEW_KEY),
    ("401 for hf_AbCdEfGhIjKlMnOp", "hf_AbCdEfGhIjKlMnOp"),
    ('{"token": "s3cr3t!", "a": 1}', "s3cr3t!"),
    ("HF_TOKEN: topsecret", "topsecret"),
    ("password = hunter2", "hunter2"),
    ("Authorization: Bearer abc.def", "abc.def"),
    ("authorization: basic dXNlcjpw", "dXNlcjpw"),
    ("proxy http://me:pass@host:3128 refused", "pass@"),
    ("fatal: https://x-access-token:ghp_0123456789abcdef@github.com", "ghp_0123456789abcdef"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secret_is_masked(text, secret):
    assert secret not in clean(text)
    assert "***" in clean(text)


def test_secret_is_masked_before_the_line_is_cut():
    """Half of a key no longer looks like one."""
    line = excerpt(clean("x" * 280 + " " + OLD_KEY + " y" * 50))
    assert OLD_KEY[:8] not in line


@pytest.mark.parametrize("piece", ["a", " ", "://a:", "key ", "DataLoader worker (pid"])
def test_endless_line_is_read_as_far_as_it_may_matter(piece):
    """Without a limit, patterns would take hours for some of these."""
    assert len(clean(piece * 1_000_000)) <= LONGEST_LINE
    assert classify(exit_code=1, stderr_tail=piece * 1_000_000).cause == Cause.UNKNOWN


def test_half_a_secret_at_the_limit_is_left_out():
    assert "hf_" not in clean("x " * (LONGEST_LINE // 2 - 4) + "hf_AbCdEfGhIjKl")


@pytest.mark.parametrize(
    "text",
    ["KeyError: 'label'", "tokens: 300 a second", "wait timeout after 300ms, keys: /default_pg/0", "step 12: loss 0.3"],
)
def test_plain_text_stays(text):
    assert clean(text) == text


def test_terminal_codes_and_control_characters_are_gone():
    assert clean("\x1b[1;31mred\x1b[0m \x1b]0;title\x07a\x00b\u202ec\u2028d\udcff") == "red a b c d"


@given(st.text(max_size=900), st.integers(0, 900))
def test_excerpt_is_short_and_holds_the_place_asked_for(text, around):
    line = clean(text)
    piece = excerpt(line, around)
    assert len(piece) <= MOST_CHARACTERS
    assert piece.isprintable()
    assert clean(piece) == piece
    if len(line) <= MOST_CHARACTERS:
        assert piece == line


def test_excerpt_of_a_long_line_shows_what_it_is_about():
    line = "a" * 1000 + "HERE" + "b" * 1000
    assert "HERE" in excerpt(line, 1000)
    assert excerpt(line, 1000).startswith("…")
    assert excerpt(line, 1000).endswith("…")
    assert excerpt(line) == "a" * (MOST_CHARACTERS - 1) + "…"
