"""Questions: SQuAD 1.1 and 2.0, XQuAD, MLQA, TyDiQA; HellaSwag, Cosmos QA, CommonsenseQA."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from random import Random

from trainers.sandbox.drawing import Draws, Files, Row
from trainers.sandbox.language import items, multiple_choice
from trainers.sandbox.language.lexicon import LANGUAGES
from trainers.stage.languages import ENGLISH_NAMES
from trainers.tasks import TASKS


def span_files(seed: int) -> Files:
    """SQuAD v1.1 in English, and XQuAD: the same questions in all languages."""
    take = partial(
        Draws(seed, "squad").take, make=lambda random, _: items.span(random), keys=lambda item: item.texts("en")[:1]
    )
    for split, count in (("train", 2000), ("validation", 640)):
        rows = [_span_row(item, "en") | {"title": f"Sandbox_{split}"} for item in take(split, count)]
        yield "squad", f"rajpurkar/squad/plain_text/{split}", rows
    xquad = take("xquad", 250)
    for language in LANGUAGES:
        rows = [_span_row(item, language) for item in xquad]
        yield "xquad", f"google/xtreme/XQuAD.{language}/validation", rows


def more_span_files(seed: int) -> Files:
    """SQuAD v2.0, a third of it unanswerable; MLQA; TyDiQA, each language with its own questions."""
    take = partial(
        Draws(seed, "more questions").take,
        make=lambda random, _: items.span(random),
        keys=lambda item: item.texts("en")[:1],
    )
    for split, count in (("train", 1500), ("validation", 300)):
        rows = [
            _span_row(item, "en", answerable=number % 3 > 0) | {"title": f"Sandbox_{split}"}
            for number, item in enumerate(take(f"squad_v2/{split}", count))
        ]
        yield "squad", f"rajpurkar/squad_v2/squad_v2/{split}", rows
    for split, count in (("validation", 100), ("test", 150)):
        asked = take(f"mlqa/{split}", count)
        for language in sorted({*LANGUAGES} & {*TASKS["mlqa"].languages}):  # it has rules for its own languages only
            rows = [_span_row(item, language) | {"title": f"Sandbox_{split}"} for item in asked]
            yield "mlqa", f"google/xtreme/MLQA.{language}.{language}/{split}", rows
    for split, counts in (("train", {"en": 1500, "ru": 100, "sw": 100}), ("validation", dict.fromkeys(LANGUAGES, 120))):
        rows = []
        for language, count in counts.items():
            name = ENGLISH_NAMES[language].lower()
            for number, item in enumerate(take(f"tydiqa/{split}/{language}", count)):
                row = _span_row(item, language)
                rows.append(row | {"id": f"{name}-{row['id'][:16]}-{number}", "title": ""})
        yield "mlqa", f"google/xtreme/tydiqa/{split}", rows


def _span_row(item: items.SpanItem, language: str, answerable: bool = True) -> Row:
    """One question; an unanswerable one has lost the only fact that answers it."""
    english_context, english_question, *_ = item.texts("en")
    name = hashlib.sha256(f"{english_context}\n{english_question}".encode()).hexdigest()[:24]
    if not answerable:
        context, question = item.without_answer(language)
        return {"id": name, "context": context, "question": question, "answers": {"text": [], "answer_start": []}}
    context, question, answer, start = item.texts(language)
    answers = {"text": [answer], "answer_start": [start]}
    return {"id": name, "context": context, "question": question, "answers": answers}


def choice_files(seed: int) -> Files:
    """HellaSwag, Cosmos QA and CommonsenseQA."""
    yield from _choices(seed, "hellaswag", "Rowan/hellaswag", 1200, multiple_choice.continuation, _continuation)
    yield from _choices(seed, "cosmos_qa", "allenai/cosmos_qa", 1200, multiple_choice.comprehension, _comprehension)
    yield from _choices(seed, "commonsense_qa", "tau/commonsense_qa", 600, multiple_choice.common_sense, _common_sense)


def _choices(
    seed: int,
    data_set: str,
    path: str,
    count: int,
    make: Callable[[Random], multiple_choice.Question],
    row: Callable[[str, int, multiple_choice.Question], Row],
) -> Files:
    """`count` questions for training and a quarter of that for development; the splits share none."""
    draws = Draws(seed, data_set)
    for split, size in (("train", count), ("validation", count // 4)):
        questions = draws.take(split, size, lambda random, _: make(random), _text_of)
        rows = [row(split, number, question) for number, question in enumerate(questions)]
        yield data_set, f"{path}/default/{split}", rows


def _text_of(question: multiple_choice.Question) -> list[str]:
    return [f"{question.prompt} {sorted(question.choices)}"]


def _continuation(split: str, number: int, question: multiple_choice.Question) -> Row:
    begun = {"ctx_a": question.prompt, "ctx_b": question.begun, "ctx": f"{question.prompt} {question.begun}"}
    source = {"activity_label": "Sandbox", "source_id": f"sandbox~{number}", "split_type": "indomain"}
    answers = {"endings": list(question.choices), "label": str(question.right)}
    return {"ind": number, "split": split[:3], **source, **begun, **answers}


def _comprehension(split: str, number: int, question: multiple_choice.Question) -> Row:
    answers = {f"answer{place}": choice for place, choice in enumerate(question.choices)}
    asked = {"context": question.prompt, "question": question.begun, "label": question.right}
    return {"id": f"{split}-{number}", **asked, **answers}


def _common_sense(split: str, number: int, question: multiple_choice.Question) -> Row:
    asked = {"question": question.prompt, "question_concept": question.begun}
    choices = {"label": list("ABCDE"), "text": list(question.choices)}
    return {"id": f"{split}-{number}", **asked, "choices": choices, "answerKey": "ABCDE"[question.right]}
