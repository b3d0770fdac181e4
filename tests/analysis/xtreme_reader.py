"""XTREME's own way of reading a submission and scoring it, written anew (google-research/xtreme@838c13b, evaluate.py).

What it is strict or lax about is kept: files are opened by name, lines stripped, tag files split at empty lines,
answers looked up by id, and every official language must be there.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

from trainers.families import span, tagging

LANGUAGES = {
    "pawsx": "de en es fr ja ko zh",
    "xnli": "ar bg de el en es fr hi ru sw th tr ur vi zh",
    "panx": (
        "ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk "
        "tr et fi hu"
    ),
    "udpos": "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh",
    "bucc2018": "de fr ru zh",
    "tatoeba": (
        "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu"
    ),
    "xquad": "en es de el ru tr ar vi th zh hi",
    "mlqa": "en es de ar hi vi zh",
    "tydiqa": "en ar bn fi id ko ru sw te",
}
QUESTIONS = ("xquad", "mlqa", "tydiqa")


def evaluate(predictions: Path, labels: Path) -> dict[str, dict[str, float]]:
    """Task → metric → mean over languages, in points.

    Raises:
        FileNotFoundError: a language of a task that is there is missing.
        AssertionError: another number of examples than in the labels.
    """
    found = {}
    for task, languages in LANGUAGES.items():
        if (predictions / task).is_dir() and (labels / task).is_dir():
            ending = "json" if task in QUESTIONS else "tsv"
            scores = [
                _score(
                    task, language, *(folder / task / f"test-{language}.{ending}" for folder in (predictions, labels))
                )
                for language in languages.split()
            ]
            found[task] = {metric: 100 * mean(score[metric] for score in scores) for metric in scores[0]}
    return found


def _score(task: str, language: str, predicted: Path, gold: Path) -> dict[str, float]:
    if task in QUESTIONS:
        return _answers(task, language, json.loads(predicted.read_text()), json.loads(gold.read_text())["data"])
    if task in ("panx", "udpos"):
        there, here = read_tags(predicted), read_tags(gold)
        assert len(there) == len(here)
        return {"f1": tagging.chunk_f1(here, there)}
    lines, wanted = read_labels(predicted), read_labels(gold)
    if task == "bucc2018":
        pairs, right = ({tuple(line.split("\t")) for line in one} for one in (lines, wanted))
        both = len(pairs & right)
        return {"f1": 2 * both / (len(pairs) + len(right)) if both else 0.0}
    assert len(lines) == len(wanted)
    return {"accuracy": mean(one == other for one, other in zip(lines, wanted, strict=True))}


def read_labels(path: Path) -> list[str]:
    with path.open() as file:
        return [line.strip() for line in file]


def read_tags(path: Path) -> list[list[str]]:
    """Every empty line ends a sentence, an empty one, too; the last needs none."""
    sentences: list[list[str]] = []
    sentence: list[str] = []
    for line in read_labels(path):
        if line:
            sentence.append(line)
        else:
            sentences.append(sentence)
            sentence = []
    return [*sentences, sentence] if sentence else sentences


def _answers(task: str, language: str, predicted: dict[str, str], articles: list) -> dict[str, float]:
    """An unanswered question scores 0."""
    questions = [qa for article in articles for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    told = [qa for qa in questions if qa["id"] in predicted]
    f1, exact = span.answer_scores(
        "mlqa" if task == "mlqa" else "squad",
        language,
        [predicted[qa["id"]] for qa in told],
        [[answer["text"] for answer in qa["answers"]] for qa in told],
    )
    return {"f1": float(f1.sum()) / len(questions), "exact_match": float(exact.sum()) / len(questions)}
