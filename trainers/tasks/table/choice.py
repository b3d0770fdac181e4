"""Multiple choice.  How a row becomes prompt and choices: as in jiant (Phang et al. 2020)."""

from typing import Any

from trainers.tasks import Choice, Task, english, register


def hellaswag(row: dict[str, Any]) -> Choice:
    """The label is a string, "0" to "3"; a choice begins with the sentence that it ends."""
    endings = tuple(" ".join((row["ctx_b"], ending)).strip() for ending in row["endings"])
    return Choice(row["ctx_a"], endings, _index(row["label"], len(endings)))


def cosmos_qa(row: dict[str, Any]) -> Choice:
    answers = tuple(row[f"answer{number}"] for number in range(4))
    return Choice(" ".join((row["context"], row["question"])), answers, _index(row["label"], len(answers)))


def commonsense_qa(row: dict[str, Any]) -> Choice:
    names, texts = row["choices"]["label"], tuple(row["choices"]["text"])
    return Choice(row["question"], texts, names.index(row["answerKey"]) if row["answerKey"] in names else -1)


def _index(label: Any, options: int) -> int:
    try:
        index = int(label)
    except (TypeError, ValueError):
        return -1
    return index if 0 <= index < options else -1


register(
    Task(
        "hellaswag",
        "choice",
        "intermediate",
        columns=("ctx_a", "ctx_b", "endings", "label"),
        read=hellaswag,
        options=4,
        **english("Rowan/hellaswag", "default", "train", "validation"),
    ),
    Task(
        "cosmos_qa",
        "choice",
        "intermediate",
        columns=("context", "question", "answer0", "answer1", "answer2", "answer3", "label"),
        read=cosmos_qa,
        options=4,
        **english("allenai/cosmos_qa", "default", "train", "validation"),
    ),
    Task(
        "commonsense_qa",
        "choice",
        "intermediate",
        columns=("question", "choices", "answerKey"),
        read=commonsense_qa,
        options=5,
        **english("tau/commonsense_qa", "default", "train", "validation"),
    ),
)
