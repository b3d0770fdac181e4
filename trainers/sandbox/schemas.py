"""The hub's own features of each data set: column names, types and label names."""

from __future__ import annotations

from typing import Any

from trainers.tasks import TASKS

NLI_LABELS = TASKS["mnli"].labels


def schemas() -> dict[str, Any]:
    """Features by the name that this package gives a data set (imported late: datasets is slow)."""
    from datasets import ClassLabel, Features, List, Value

    text, integer = Value("string"), Value("int32")
    nli = {"premise": text, "hypothesis": text, "label": ClassLabel(names=list(NLI_LABELS))}
    squad = {
        "id": text, "title": text, "context": text, "question": text,
        "answers": {"text": List(text), "answer_start": List(integer)},
    }  # fmt: skip
    return {
        "mnli": Features({**nli, "idx": integer}),
        "anli": Features({"uid": text, **nli, "reason": text}),
        "snli": Features(nli),
        "qqp": Features(
            {"question1": text, "question2": text, "label": ClassLabel(names=["not_duplicate", "duplicate"]),
             "idx": integer}
        ),
        "squad": Features(squad),
        "hellaswag": Features(
            {"ind": integer, "activity_label": text, "ctx_a": text, "ctx_b": text, "ctx": text, "endings": List(text),
             "source_id": text, "split": text, "split_type": text, "label": text}
        ),
        "cosmos_qa": Features(
            {"id": text, "context": text, "question": text, "answer0": text, "answer1": text, "answer2": text,
             "answer3": text, "label": integer}
        ),
        "commonsense_qa": Features(
            {"id": text, "question": text, "question_concept": text,
             "choices": {"label": List(text), "text": List(text)}, "answerKey": text}
        ),
        "ccg": Features({"tokens": List(text), "tags": List(text)}),
        "xnli": Features({"language": text, "sentence1": text, "sentence2": text, "gold_label": text}),
        "paws-x": Features(
            {"id": integer, "sentence1": text, "sentence2": text, "label": ClassLabel(names=["0", "1"])}
        ),
        "udpos": Features({"tokens": List(text), "pos_tags": List(ClassLabel(names=list(TASKS["udpos"].labels)))}),
        "panx": Features(
            {"tokens": List(text), "ner_tags": List(ClassLabel(names=list(TASKS["panx"].labels))),
             "langs": List(text)}
        ),
        "xquad": Features(
            {"id": text, "context": text, "question": text,
             "answers": {"answer_start": List(integer), "text": List(text)}}
        ),
        "mlqa": Features({**squad, "answers": {"answer_start": List(integer), "text": List(text)}}),
        "pairs": Features(
            {"source_sentence": text, "target_sentence": text, "source_lang": text, "target_lang": text}
        ),
        "bucc": Features({"id": text, "sentence": text}),
        "bucc-gold": Features({"source_id": text, "target_id": text}),
        "text": Features({"text": text}),
    }  # fmt: skip
