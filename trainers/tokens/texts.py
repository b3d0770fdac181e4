"""Texts as XLM-R's sequences, `<s> text </s>` or `<s> first </s></s> second </s>`, by the array.

Each distinct text is tokenised once, however many pairs it is in (an NLI premise has several hypotheses, a question
several choices).  Truncation and framing happen on arrays, and give what the tokenizer's own would.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np

from trainers.tokens.sets import BEGIN, END, UNKNOWN, TokenisedSet, ranges

AT_ONCE = 8192
"""Texts that are encoded in one call: what the tokenizer says of a text takes a hundred times the room of its ids."""


def singles(tokenizer: Any, texts: Sequence[str], max_length: int) -> TokenisedSet:
    """`<s> text </s>`, truncated at its end; unit i is text i, without a target."""
    tokens, number = pieces(tokenizer, texts)
    kept = np.minimum(tokens.sequence_lengths[number], max_length - 2)
    return frame(tokens.ids, tokens.starts[number, None], kept[:, None])


def pairs(
    tokenizer: Any,
    first: Sequence[str],
    second: Sequence[str],
    max_length: int,
    truncated: Literal["left", "right"] = "right",
) -> TokenisedSet:
    """`<s> first </s></s> second </s>`, the longer text truncated first, on the side given; unit i is pair i, without
    a target."""
    tokens, number = pieces(tokenizer, [*first, *second])
    number = number.reshape(2, -1).T
    lengths = tokens.sequence_lengths[number]
    kept = longest_first(lengths, max_length - 4)
    return frame(tokens.ids, tokens.starts[number] + (lengths - kept if truncated == "left" else 0), kept)


def pieces(
    tokenizer: Any, texts: Sequence[str], room: int | None = None, empty: Sequence[int] = ()
) -> tuple[TokenisedSet, np.ndarray]:
    """The tokens of each distinct text as a sequence, without special tokens, and which of them each text is.

    Args:
        room: tokens of a text at the most.
        empty: stands for a text without tokens.
    """
    tokenizer.no_truncation()
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    distinct, ids, lengths = list(number), [], [0]
    for begin in range(0, len(distinct), AT_ONCE):
        encodings = tokenizer.encode_batch_fast(distinct[begin : begin + AT_ONCE], add_special_tokens=False)
        kept = [encoding.ids[:room] or empty for encoding in encodings]
        lengths += map(len, kept)
        # If a text contains `<s>`, `<pad>` or `</s>`, that is an unknown token, and neither an end nor padding.
        ids.append(np.maximum(np.fromiter(chain.from_iterable(kept), np.int32), UNKNOWN))
    tokens = np.concatenate([np.zeros(0, np.int32), *ids])
    return _untargeted(tokens, np.cumsum(lengths)), np.array([number[text] for text in texts], np.int64)


def longest_first(lengths: np.ndarray, room: int) -> np.ndarray:
    """[n, 2] tokens that are kept of the two texts of a pair: tokenizers' `longest_first`.

    Args:
        lengths: [n, 2] tokens of the two.
        room: tokens of both together at the most.
    """
    least = np.minimum(lengths.min(1), room // 2)
    kept = np.stack([least, np.minimum(lengths.max(1), room - least)], 1)
    first_is_longer = lengths[:, 0] > lengths[:, 1]
    kept[first_is_longer] = kept[first_is_longer, ::-1]
    return kept


def frame(ids: np.ndarray, begins: np.ndarray, counts: np.ndarray) -> TokenisedSet:
    """A sequence of each row's k texts: `<s>`, then `counts[i, j]` of the ids from `begins[i, j]` on, with `</s></s>`
    between two texts and `</s>` at the end."""
    starts = np.concatenate([[0], np.cumsum(counts.sum(1) + 2 * counts.shape[1])])
    before = np.cumsum(counts + 2, 1) - counts - 1  # `<s>` for the first text, one `</s>` more for each that follows
    framed = np.full(starts[-1], END, np.int32)
    framed[starts[:-1]] = BEGIN
    framed[ranges((starts[:-1, None] + before).ravel(), counts.ravel())] = ids[ranges(begins.ravel(), counts.ravel())]
    return _untargeted(framed, starts)


def _untargeted(ids: np.ndarray, starts: np.ndarray) -> TokenisedSet:
    """Each sequence a unit of its own, without targets."""
    count = len(starts) - 1
    return TokenisedSet(
        ids, starts, np.zeros((count, 0), np.int32), np.arange(count, dtype=np.int32), np.zeros((len(ids), 0), np.int32)
    )
