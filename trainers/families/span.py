"""Extractive question answering.  Columns: question, context, answers {text: [...], answer_start: [...]}.

A question without an answer has empty lists (SQuAD v2); its windows point to token 0, like those that lack the answer.

Spans come from the tokenizer's offsets on the original text, so nothing is re-aligned afterwards (the old
`get_final_text` cost Chinese 50 points of F1: transformers#3510).
"""

from __future__ import annotations

import itertools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.families.metrics import precision_recall_f1
from trainers.tasks import Task
from trainers.tokens.columns import ANSWERS, TEXT, Kind, is_blank
from trainers.tokens.sets import BEGIN, END, UNKNOWN, LabelledSet, Lengths, TokenisedSet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_QUESTION_TOKENS = 64
_NO_SPACES = re.compile(r"\S*")


def kinds(task: Task) -> tuple[Kind, ...]:
    """The types of its columns."""
    return TEXT, TEXT, ANSWERS


def locate_answer(context: str, text: str, start: int) -> int | None:
    """Where `text` really begins: at `start`, or at the occurrence nearest to it; None where it does not occur.

    The hub stripped contexts without moving `answer_start`, so that some are a few characters off.
    """
    start = max(start, 0)  # a negative one would count from the end
    if context.startswith(text, start):
        return start
    before = context.rfind(text, 0, start + len(text))
    after = context.find(text, start)
    places = [place for place in (before, after) if place >= 0]
    return min(places, key=lambda place: abs(place - start)) if places and text else None


def question_budget(lengths: Lengths) -> int:
    """Tokens of a question that are kept: SQuAD's 64, or what leaves each window new text of the document.

    Raises:
        ValueError: `doc_stride` leaves no room.
    """
    budget = min(MAX_QUESTION_TOKENS, (lengths.max_length - lengths.doc_stride) // 2)
    if budget < 8:
        raise ValueError(
            f"doc_stride {lengths.doc_stride} leaves no room for question and context in max_length "
            f"{lengths.max_length}: lower doc_stride to a quarter of max_length"
        )
    return budget


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> question </s></s> window of the context </s>`; windows of one document share `doc_stride` tokens.

    Targets are the first and last token of the first gold answer; token 0 in windows that do not hold it.
    """
    questions, contexts, golds = (table[column].to_pylist() for column in task.columns)
    budget = question_budget(lengths)
    tokenizer.no_truncation()
    heads = [_text(one.ids[:budget]) for one in tokenizer.encode_batch_fast(questions, add_special_tokens=False)]
    documents = _documents(contexts, tokenizer)
    ids, targets, example, marks = [], [], [], []
    for row, (head, context, gold) in enumerate(zip(heads, contexts, golds, strict=True)):
        before, document = [BEGIN, *head, END, END], documents[context]
        first, last = _answer_tokens(document.covered, context, gold)
        for window in _windows(len(document.ids), lengths.max_length - len(before) - 1, lengths.doc_stride):
            sequence = [*before, *document.ids[window], END]
            covered = np.full((len(sequence), 2), -1, np.int32)
            covered[len(before) : -1] = document.covered[window]
            shift = len(before) - window.start
            ids.append(sequence)
            marks.append(covered)
            example.append(row)
            targets.append((first + shift, last + shift) if window.start <= first <= last < window.stop else (0, 0))
    return TokenisedSet.from_lists(ids, targets, example, marks, target_width=2)


@dataclass(frozen=True)
class Document:
    """A context's tokens."""

    ids: list[int]
    covered: np.ndarray
    """[L, 2] int32 characters of the context that each token covers, first and last+1."""


def _documents(contexts: list[str], tokenizer: Tokenizer) -> dict[str, Document]:
    """Each distinct context tokenised once, however many questions it has."""
    distinct = list(dict.fromkeys(contexts))
    encodings = tokenizer.encode_batch(distinct, add_special_tokens=False)
    return {
        context: Document(_text(encoding.ids), _covered(context, encoding.offsets))
        for context, encoding in zip(distinct, encodings, strict=True)
    }


def _text(ids: list[int]) -> list[int]:
    """`<s>`, `<pad>` and `</s>` in a text are something unknown, and no special tokens."""
    return [max(number, UNKNOWN) for number in ids]


def _covered(context: str, offsets: list[tuple[int, int]]) -> np.ndarray:
    """[L, 2] the offsets, where a token also covers what normalisation composed with its last character.

    The tokenizer's offsets leave that out: in decomposed text the breve of й, the vowel of 한, the second half of ো.
    """
    covered = np.fromiter(itertools.chain.from_iterable(offsets), np.int32, 2 * len(offsets)).reshape(-1, 2)
    ends, following = covered[:, 1], np.append(covered[1:, 0], len(context))
    for token in np.flatnonzero(ends < following):
        end = ends[token]
        ends[ends == end] += len(_NO_SPACES.findall(context, end, following[token])[0])
    return covered


def _windows(count: int, room: int, stride: int) -> Iterator[slice]:
    """Runs of `room` of `count` tokens that begin `stride` tokens before the last one's end; one where all fit."""
    first = 0
    while first + room < count:
        yield slice(first, first + room)
        first += room - stride
    yield slice(first, count)


def _answer_tokens(covered: np.ndarray, context: str, gold: dict[str, list]) -> tuple[int, int]:
    """First and last token of the context that cover the first gold answer; (-1, -1) where none do.

    If no token begins or ends with an invisible character of the answer, they cover what is visible of it: XLM-R's
    leave spaces out, and its normaliser drops other characters.
    """
    text = gold["text"][0] if gold["text"] else ""
    start = locate_answer(context, text, gold["answer_start"][0]) if not is_blank(text) else None
    if start is None:
        return -1, -1
    visible = [place for place, character in enumerate(text) if not is_blank(character)]
    whole = _tokens_between(covered, start, start + len(text))
    return whole or _tokens_between(covered, start + visible[0], start + visible[-1] + 1) or (-1, -1)


def _tokens_between(covered: np.ndarray, start: int, end: int) -> tuple[int, int] | None:
    """First and last token that cover the characters from `start` to `end`."""
    first = int(np.searchsorted(covered[:, 1], start, "right"))
    last = int(np.searchsorted(covered[:, 0], end, "left")) - 1
    whole = first <= last and covered[first, 0] <= start and end <= covered[last, 1]
    return (first, last) if whole else None


CONSTANT_TOKENS = 30
"""Of the answer that every question gets, where one is compared with a constant answer: the longest that there is."""


def chance(labelled: LabelledSet) -> float:
    """F1 of one answer to every question: nothing, if questions may have no answer, else the context's beginning."""
    task, table, examples = labelled.task, labelled.table, labelled.examples
    contexts, gold = (table[column].to_pylist() for column in task.columns[1:])
    answers_of = [known or [""] for known in map(known_answers, gold)]
    predictions = [""] * len(gold)
    if not task.unanswerable:
        for unit in range(len(examples) - 1, -1, -1):  # the first window of a context comes last
            first, last = examples.starts[unit], examples.starts[unit + 1]
            covered = examples.marks[first:last]
            ends = covered[covered[:, 0] >= 0, 1][:CONSTANT_TOKENS]
            predictions[examples.example[unit]] = contexts[examples.example[unit]][: ends[-1] if len(ends) else 0]
    return float(
        np.mean(answer_scores(task.normalisation, labelled.language, predictions, answers_of, task.unanswerable)[0])
    )


def known_answers(gold: dict[str, list]) -> list[str]:
    """The gold answers that have any text: an unanswerable question has none, or an empty one."""
    return [text for text in gold["text"] if not is_blank(text)]


def score(labelled: LabelledSet, decoded: np.ndarray) -> tuple[dict[str, float], pl.DataFrame]:
    """F1 and exact match by the task's normalisation, the best over the gold answers.

    Args:
        decoded: [n, 4] per window: score of its best span, first and last+1 character in the context, and the score
            of answering nothing.

    Returns:
        {metric: value in [0, 1]}, and one row per example: example, prediction, gold, score (F1), exact_match.
    """
    task, table = labelled.task, labelled.table
    contexts, answers_column = table[task.columns[1]].to_pylist(), table[task.columns[2]].to_pylist()
    best = np.full(table.num_rows, -1)
    nothing = np.full(table.num_rows, np.inf)  # SQuAD v2: a question is unanswerable if every window says so
    for window in np.argsort(decoded[:, 0], kind="stable"):
        row = labelled.examples.example[window]
        best[row] = window
        nothing[row] = min(nothing[row], decoded[window, 3])
    predictions = [contexts[row][int(decoded[w, 1]) : int(decoded[w, 2])] for row, w in enumerate(best)]
    if task.unanswerable:
        predictions = [text if decoded[best[row], 0] >= nothing[row] else "" for row, text in enumerate(predictions)]
    golds = [gold["text"] or [""] for gold in answers_column]
    f1s, exact = answer_scores(task.normalisation, labelled.language, predictions, golds, task.unanswerable)
    frame = pl.DataFrame(
        {
            "example": np.arange(table.num_rows),
            "prediction": predictions,
            "gold": [gold[0] for gold in golds],
            "score": f1s,
            "exact_match": exact,
        }
    )
    return {"f1": float(np.mean(f1s)), "exact_match": float(np.mean(exact))}, frame


MOST_LOST_ANSWERS = 0.02
"""Share of answers that may be absent from their context (the hub's stripping loses a few) before it is a flaw."""


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these rows can be trained on or scored."""
    _, contexts, answers = (table[column].to_pylist() for column in task.columns)
    for row, gold in enumerate(answers):
        if len(gold["text"]) != len(gold["answer_start"]):
            return [
                f"row {row} has {len(gold['text'])} answers and {len(gold['answer_start'])} places where they start"
            ]
        if not task.unanswerable and not known_answers(gold):
            found = "an empty answer" if gold["text"] else "no answer"
            return [
                f"row {row} has {found}; every question of {task.name} has one (in XTREME's test files they are blank)"
            ]
    lost = [
        row
        for row, (context, gold) in enumerate(zip(contexts, answers, strict=True))
        if known_answers(gold) and locate_answer(context, gold["text"][0], gold["answer_start"][0]) is None
    ]
    if len(lost) > MOST_LOST_ANSWERS * table.num_rows:
        return [f"{len(lost)} of {table.num_rows} answers do not occur in their context, e.g. in row {lost[0]}"]
    return []


# How extracted answers are compared with gold ones: SQuAD's way (also XQuAD's and TyDiQA's in XTREME), and MLQA's.  The
# two differ by tens of points in Chinese: SQuAD's splits by spaces alone, MLQA's takes each character as a token.  Two
# answers of which nothing is left (`the`, Spanish `una`) match exactly but share no token, so that their F1 is 0; in
# SQuAD v2 alone, where a question may have no answer, it is 1.
# Sources: the official SQuAD v1.1 and v2.0 scripts; google-research/xtreme, third_party/evaluate_{squad,mlqa}.py (the
# latter is facebookresearch/MLQA, mlqa_evaluation_v1.py).

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


def answer_scores(
    normalisation: str,
    language: str,
    predictions: Sequence[str],
    golds: Sequence[Sequence[str]],
    unanswerable: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """[n] F1 and [n] exact match of each prediction, the best over its gold answers, official to the last digit.

    Args:
        normalisation: a key of `TOKENS`.
        language: two letters; `squad` ignores it.
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
        answer_tokens = tokens(prediction, language)
        expected = [tokens(answer, language) for answer in gold]
        if unanswerable:
            expected = [answer for answer in expected if answer] or [[]]
        exact[row] = answer_tokens in expected
        f1s[row] = (
            exact[row]
            if unanswerable and not answer_tokens
            else max(token_f1(answer_tokens, answer) for answer in expected)
        )
    return f1s, exact


def token_f1(predicted: list[str], expected: list[str]) -> float:
    """F1 of two bags of tokens; of an empty one 0."""
    common = (Counter(predicted) & Counter(expected)).total()
    return precision_recall_f1(common, len(predicted), len(expected))[2]
