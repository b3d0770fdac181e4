"""Multiple choice: one sequence per choice, one logit each.  The task's `read` turns a row into a `Choice`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from trainers.families.metrics import accuracy
from trainers.tasks import Choice, Task
from trainers.tokens.columns import LABEL, TEXT_OR_TEXTS, Kind, is_blank
from trainers.tokens.sets import LabelledSet, Lengths, TokenisedSet
from trainers.tokens.texts import pairs

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def kinds(task: Task) -> tuple[Kind, ...]:
    """The types of its columns."""
    return (*[TEXT_OR_TEXTS] * (len(task.columns) - 1), LABEL)


def questions(task: Task, table: pa.Table) -> list[Choice]:
    """The rows as multiple-choice questions.

    Raises:
        ValueError: a row cannot be read, has another number of choices than the task, or a label that is none of them.
    """
    assert task.read is not None
    read = []
    for row, values in enumerate(table.to_pylist()):
        try:
            question = task.read(values)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"{task.name}: row {row} is not a multiple-choice question ({error!r})") from error
        if not all(isinstance(text, str) for text in (question.prompt, *question.choices)):
            raise ValueError(f"{task.name}: row {row} has a prompt or a choice that is not text")
        if len(question.choices) != task.options:
            raise ValueError(f"{task.name}: row {row} has {len(question.choices)} choices; expected {task.options}")
        if not 0 <= question.label < task.options:
            label = table[task.columns[-1]][row].as_py()
            raise ValueError(
                f"{task.name}: row {row} has the label {label!r}, which is none of its {task.options} choices"
            )
        read.append(question)
    return read


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, lengths: Lengths) -> TokenisedSet:
    """`<s> prompt </s></s> choice </s>`, one sequence per choice; a long prompt loses its beginning, not the choice."""
    asked = questions(task, table)
    prompts = [question.prompt for question in asked for _ in question.choices]
    choices = [choice for question in asked for choice in question.choices]
    return replace(
        pairs(tokenizer, prompts, choices, lengths.max_length, truncated="left"),
        targets=np.array([question.label for question in asked], np.int32)[:, None],
        example=np.arange(len(asked), dtype=np.int32),
    )


def commonest(task: Task, table: pa.Table) -> int:
    """The most frequent place of the right choice, of training rows."""
    return int(np.bincount([question.label for question in questions(task, table)]).argmax())


def chance(labelled: LabelledSet) -> float:
    """Accuracy of always taking the choice in the place that is most frequent in training."""
    task, table = labelled.task, labelled.table
    constant = commonest(task, table) if labelled.constant is None else labelled.constant
    return float(np.mean([question.label == constant for question in questions(task, table)]))


def score(labelled: LabelledSet, decoded: np.ndarray) -> tuple[dict[str, float], pl.DataFrame]:
    """Accuracy of decoded, [n, choices] logits; a choice is called by its number, from 0."""
    gold = np.array([question.label for question in questions(labelled.task, labelled.table)])
    return accuracy(decoded.argmax(1), gold, np.arange(labelled.task.options).astype(str))


def flaws(task: Task, table: pa.Table) -> list[str]:
    """What a person must mend before these rows can be trained on or scored."""
    try:
        asked = questions(task, table)
    except (ValueError, KeyError, TypeError) as error:
        return [str(error)]
    empty = sum(is_blank(question.prompt) or any(map(is_blank, question.choices)) for question in asked)
    # The hub's HellaSwag and CommonsenseQA have a few choices of spaces only.
    return [f"{empty} of {len(asked)} rows have no prompt or no choice"] if empty > 0.02 * len(asked) else []
