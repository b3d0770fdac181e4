"""Extractive question answering.  Columns: question, context, answers {text: [...], answer_start: [...]}.

A question without an answer has empty lists (SQuAD v2); its windows point to token 0, like those that lack the answer.

Spans come from the tokenizer's offsets on the original text, so nothing is re-aligned afterwards (the old
`get_final_text` cost Chinese 50 points of F1: transformers#3510).
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.data.tokenise import Lengths, TokenisedSet
from trainers.tasks import Task, answers

if TYPE_CHECKING:
    from trainers.data.stagedata import LabelledSet

MAX_QUESTION_TOKENS = 64
_MARK = re.compile("[" + "".join(chr(c) for c in range(0x10000) if unicodedata.combining(chr(c))) + "]")
"""A combining mark (of the basic plane: those beyond it are of scripts that XLM-R never saw)."""


def locate_answer(context: str, text: str, start: int) -> int | None:
    """Where `text` really begins: at `start`, or at the occurrence nearest to it; None where it does not occur.

    The hub stripped contexts without moving `answer_start`, so that some are a few characters off.
    """
    start = max(start, 0)  # a negative one would count from the end
    if context.startswith(text, start):
        return start
    before = context.rfind(text, 0, start + len(text))
    after = context.find(text, start)
    found = [place for place in (before, after) if place >= 0]
    return min(found, key=lambda place: abs(place - start)) if found and text else None


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


def encode(task: Task, table: pa.Table, tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> question </s></s> window of the context </s>`; windows of one document share `doc_stride` tokens.

    Targets are the first and last token of the first gold answer; token 0 in windows that do not hold it.
    """
    questions, contexts, answers = (table[column].to_pylist() for column in task.columns)
    budget = question_budget(lengths)
    tokenizer.no_truncation()
    heads = [
        _truncated(text, encoding, budget)
        for text, encoding in zip(questions, tokenizer.encode_batch(questions, add_special_tokens=False), strict=True)
    ]
    tokenizer.enable_truncation(lengths.max_length, stride=lengths.doc_stride, strategy="only_second")
    ids, targets, example, marks = [], [], [], []
    for row, encoding in enumerate(tokenizer.encode_batch(list(zip(heads, contexts, strict=True)))):
        gold = answers[row]
        start = locate_answer(contexts[row], gold["text"][0], gold["answer_start"][0]) if gold["text"] else None
        for window in [encoding, *encoding.overflowing]:
            covered = _covered(window, contexts[row])
            ids.append(window.ids)
            marks.append(covered)
            example.append(row)
            targets.append((0, 0) if start is None else _token_span(covered, start, start + len(gold["text"][0])))
    return TokenisedSet.from_lists(ids, targets, example, marks, target_width=2)


def _covered(window, context: str) -> np.ndarray:
    """[L, 2] characters of the context that each token covers, -1 outside it."""
    covered = np.array(window.offsets, np.int32)
    covered[[sequence != 1 for sequence in window.sequence_ids]] = -1
    if _MARK.search(context):
        covered[:, 1] = [_past_marks(context, end) if end >= 0 else end for end in covered[:, 1].tolist()]
    return covered


def _truncated(question: str, encoding, budget: int) -> str:
    """The question cut to its first tokens, as SQuAD's reference code does (max_query_length 64)."""
    return question if len(encoding.ids) <= budget else question[: encoding.offsets[budget - 1][1]]


def _past_marks(text: str, end: int) -> int:
    """`end` moved past combining marks: normalisation folds them into the letter before, offsets leave them out."""
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return end


def _token_span(covered: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """First and last token that cover characters [start, end); (0, 0) unless the window holds them all."""
    first, last = covered.T
    inside = np.flatnonzero((first >= 0) & (last > start) & (first < end))
    if not len(inside) or first[inside[0]] > start or last[inside[-1]] < end:
        return 0, 0
    return int(inside[0]), int(inside[-1])


def chance(labelled: LabelledSet) -> float:
    """F1 of answering nothing everywhere: the share of questions without an answer."""
    return float(np.mean([not gold["text"] for gold in labelled.table[labelled.task.columns[2]].to_pylist()]))


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
    f1s, exact = answers.scores(task.normalisation, labelled.language, predictions, golds)
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
        if not isinstance(gold, dict) or not {"text", "answer_start"} <= set(gold):
            return [
                f"row {row} has {gold!r} in column {task.columns[2]!r}; expected {{text: [...], answer_start: [...]}}"
            ]
    lost = [
        row
        for row, (context, gold) in enumerate(zip(contexts, answers, strict=True))
        if gold["text"] and locate_answer(context, gold["text"][0], gold["answer_start"][0]) is None
    ]
    if len(lost) > MOST_LOST_ANSWERS * table.num_rows:
        return [f"{len(lost)} of {table.num_rows} answers do not occur in their context, e.g. in row {lost[0]}"]
    return []
