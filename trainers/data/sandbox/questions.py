"""Questions: SQuAD 1.1 and 2.0, XQuAD, MLQA, TyDiQA; HellaSwag, Cosmos QA, CommonsenseQA."""

from __future__ import annotations

import hashlib
from functools import partial
from random import Random

from trainers.data import items, multiple_choice
from trainers.data.lexicon import LANGUAGES
from trainers.data.sandbox.drawing import Draws, Files, Row
from trainers.tasks import TASKS
from trainers.tasks.languages import ENGLISH_NAMES


def span_files(seed: int) -> Files:
    """SQuAD v1.1 in English, and XQuAD: the same questions in all languages."""
    take = partial(
        Draws(seed, "squad").take, make=lambda random, _: items.span(random), keys=lambda item: item.texts("en")[:1]
    )
    for split, count in (("train", 3000), ("validation", 400)):
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
    for split, count in (("train", 2000), ("validation", 300)):
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
    for split, count in (("train", 2000), ("validation", 300)):
        yield "hellaswag", f"Rowan/hellaswag/default/{split}", _continuations(seed, split, count)
        yield "cosmos_qa", f"allenai/cosmos_qa/default/{split}", _comprehension(seed, split, count)
        yield "commonsense_qa", f"tau/commonsense_qa/default/{split}", _common_sense(seed, split, count // 2)


def _drawn(seed: int, data_set: str, split: str, count: int, make) -> list[multiple_choice.Question]:
    """Questions of which the two splits share none: the validation split's are drawn after the training split's."""
    draws = Draws(seed, data_set)
    found: list[multiple_choice.Question] = []
    for drawn, size in (("train", 2000), ("validation", 300)):
        wanted = count if drawn == split else size

        def question(random: Random, _: int) -> multiple_choice.Question:
            return make(random)

        found = draws.take(drawn, wanted, question, lambda one: [f"{one.prompt} {sorted(one.choices)}"])
        if drawn == split:
            break
    return found


def _continuations(seed: int, split: str, count: int) -> list[Row]:
    rows = []
    for number, one in enumerate(_drawn(seed, "hellaswag", split, count, multiple_choice.continuation)):
        rows.append(
            {"ind": number, "activity_label": "Sandbox", "ctx_a": one.prompt, "ctx_b": one.begun,
             "ctx": f"{one.prompt} {one.begun}", "endings": list(one.choices), "source_id": f"sandbox~{number}",
             "split": split[:3], "split_type": "indomain", "label": str(one.right)}
        )  # fmt: skip
    return rows


def _comprehension(seed: int, split: str, count: int) -> list[Row]:
    return [
        {"id": f"{split}-{number}", "context": one.prompt, "question": one.begun, "label": one.right}
        | {f"answer{place}": choice for place, choice in enumerate(one.choices)}
        for number, one in enumerate(_drawn(seed, "cosmos_qa", split, count, multiple_choice.comprehension))
    ]


def _common_sense(seed: int, split: str, count: int) -> list[Row]:
    return [
        {"id": f"{split}-{number}", "question": one.prompt, "question_concept": one.begun,
         "choices": {"label": list("ABCDE"), "text": list(one.choices)}, "answerKey": "ABCDE"[one.right]}
        for number, one in enumerate(_drawn(seed, "commonsense_qa", split, count, multiple_choice.common_sense))
    ]  # fmt: skip
