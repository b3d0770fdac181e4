"""How extracted answers are compared with gold ones: SQuAD's way (also XQuAD's and TyDiQA's in XTREME), and MLQA's.

The two differ by tens of points in Chinese: SQuAD's splits by spaces alone, MLQA's takes each character as a token.
Two answers of which nothing is left (`the`, Spanish `una`) match exactly but share no token, so that their F1 is 0; in
SQuAD v2 alone, where a question may have no answer, it is 1.
Sources: the official SQuAD v1.1 and v2.0 scripts; google-research/xtreme, third_party/evaluate_{squad,mlqa}.py (the
latter is facebookresearch/MLQA, mlqa_evaluation_v1.py).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

Tokens = Callable[[str, str], list[str]]
"""(text, language) → normalised tokens."""

_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_ASCII_PUNCTUATION = set(string.punctuation)
_MLQA_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",  # so it stands in MLQA's script: the first half never matches, the second does inside words too
    "hi": "",
    "zh": "",
}
_HAN = re.compile(r"[\u4e00-\u9fa5]")


def squad_tokens(text: str, language: str) -> list[str]:
    """Lower case, no ASCII punctuation, no English articles, split by spaces: whatever the language."""
    kept = "".join(character for character in text.lower() if character not in _ASCII_PUNCTUATION)
    return _ENGLISH_ARTICLES.sub(" ", kept).split()


def mlqa_tokens(text: str, language: str) -> list[str]:
    """Lower case, no Unicode punctuation, no articles of the language, split by spaces and in Chinese by characters.

    Raises:
        ValueError: MLQA has no rules for the language.
    """
    if language not in _MLQA_ARTICLES:
        raise ValueError(f"MLQA has no rules for {language!r}, only for {', '.join(_MLQA_ARTICLES)}")
    kept = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION and unicodedata.category(c)[0] != "P")
    articles = _MLQA_ARTICLES[language]
    kept = re.sub(articles, " ", kept) if articles else kept
    return _mixed_tokens(kept) if language == "zh" else kept.split()


def _mixed_tokens(text: str) -> list[str]:
    """Each Chinese character alone, everything else by spaces."""
    return _HAN.sub(lambda match: f" {match.group()} ", text).split()


TOKENS: dict[str, Tokens] = {"squad": squad_tokens, "mlqa": mlqa_tokens}


def scores(
    normalisation: str,
    language: str,
    predictions: Sequence[str],
    golds: Sequence[Sequence[str]],
    unanswerable: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """[n] F1 and [n] exact match of each prediction, the best over its gold answers, official to the last digit.

    Args:
        normalisation: a key of `TOKENS`.
        language: two letters; `squad` pays no heed to it.
        golds: the gold answers of each question; an unanswerable one has one empty answer.
        unanswerable: whether SQuAD v2's rules hold: answers of which nothing is left have an F1 of 1, and such gold
            ones count only where a question has no other.

    Raises:
        ValueError: a question has no gold answer, lengths differ, or `mlqa` has no rules for the language.
    """
    tokens = TOKENS[normalisation]
    f1s, exact = np.zeros(len(predictions)), np.zeros(len(predictions))
    for row, (prediction, gold) in enumerate(zip(predictions, golds, strict=True)):
        if not gold:
            raise ValueError(f"question {row} has no gold answer; an unanswerable one has one empty answer")
        found = tokens(prediction, language)
        expected = [tokens(answer, language) for answer in gold]
        if unanswerable:
            expected = [answer for answer in expected if answer] or [[]]
        exact[row] = found in expected
        f1s[row] = exact[row] if unanswerable and not found else max(f1(found, answer) for answer in expected)
    return f1s, exact


def f1(predicted: list[str], expected: list[str]) -> float:
    """F1 of two bags of tokens; of an empty one 0."""
    common = (Counter(predicted) & Counter(expected)).total()
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(expected)
    return 2 * precision * recall / (precision + recall)  # the official order of operations, for the same last digit
