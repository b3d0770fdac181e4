"""Write the sandbox: a miniature XTREME with the hub's own layout and schemas, from a seed, in seconds.

    python -c "from pathlib import Path; from trainers.data.sandbox import write_mirror; write_mirror(Path('mirror'))"

The files say what the hub's say (column names, types, label names), so nothing downstream knows that it is a sandbox.
Scores on it are not benchmark results: its language is a small grammar over real words.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from trainers.data import items, world
from trainers.data.lexicon import LANGUAGES

VERSION = 2  # of the generator: a mirror that another version wrote is rebuilt
SEED = 13
TATOEBA_CODES = {"de": "deu", "ru": "rus", "sw": "swh", "zh": "cmn"}
NLI_LABELS = ("entailment", "neutral", "contradiction")

Item = TypeVar("Item")
Row = dict[str, Any]
Files = Iterator[tuple[str, str, list[Row]]]  # schema name, path without the suffix, rows


def schemas() -> dict[str, Any]:
    """The hub's features of each data set, by the name this module gives it (imported late: datasets is slow)."""
    from datasets import ClassLabel, Features, List, Value

    text, integer = Value("string"), Value("int32")
    return {
        "mnli": Features(
            {"premise": text, "hypothesis": text, "label": ClassLabel(names=list(NLI_LABELS)), "idx": integer}
        ),
        "squad": Features(
            {"id": text, "title": text, "context": text, "question": text,
             "answers": {"text": List(text), "answer_start": List(integer)}}
        ),
        "xnli": Features({"language": text, "sentence1": text, "sentence2": text, "gold_label": text}),
        "paws-x": Features(
            {"id": integer, "sentence1": text, "sentence2": text, "label": ClassLabel(names=["0", "1"])}
        ),
        "xquad": Features(
            {"id": text, "context": text, "question": text,
             "answers": {"answer_start": List(integer), "text": List(text)}}
        ),
        "tatoeba": Features(
            {"source_sentence": text, "target_sentence": text, "source_lang": text, "target_lang": text}
        ),
    }  # fmt: skip


class Draws:
    """Items of one data set whose texts never repeat, within a split or between splits."""

    def __init__(self, seed: int, data_set: str):
        self.seed, self.data_set = seed, data_set
        self.seen: set[str] = set()

    def take(
        self, split: str, count: int, make: Callable[[Random, int], Item], keys: Callable[[Item], Iterable[str]]
    ) -> list[Item]:
        """`count` items in a seeded order; `make` is given the item's number, `keys` are the texts kept apart."""
        random = Random(f"{self.seed}/{self.data_set}/{split}")
        taken: list[Item] = []
        while len(taken) < count:
            item = make(random, len(taken))
            texts = list(keys(item))
            if self.seen.isdisjoint(texts):
                self.seen.update(texts)
                taken.append(item)
        random.shuffle(taken)
        return taken


def _inference_files(seed: int) -> Files:
    draws = Draws(seed, "nli")

    def take(split: str, count: int, names: tuple[str, ...] = world.TRAINING_NAMES) -> list[items.Pair]:
        def make(random: Random, number: int) -> items.Pair:
            return items.inference(random, number % len(NLI_LABELS), names)

        return draws.take(split, count, make, lambda pair: pair.texts("en")[:1])

    glue = {
        "train": take("train", 4000),
        "validation_matched": take("validation_matched", 500),
        "validation_mismatched": take("validation_mismatched", 500, world.HELD_OUT_NAMES),
    }
    for split, pairs in glue.items():
        yield (
            "mnli",
            f"nyu-mll/glue/mnli/{split}",
            [
                {"premise": premise, "hypothesis": hypothesis, "label": pair.label, "idx": index}
                for index, pair in enumerate(pairs)
                for premise, hypothesis in [pair.texts("en")]
            ],
        )
    for split, count in (("validation", 250), ("test", 300)):
        pairs = take(f"xnli/{split}", count)
        yield (
            "xnli",
            f"google/xtreme/XNLI/{split}",
            [
                {"language": language, "sentence1": first, "sentence2": second, "gold_label": NLI_LABELS[pair.label]}
                for language in sorted(LANGUAGES)
                for pair in pairs
                for first, second in [pair.texts(language)]
            ],
        )


def _paraphrase_files(seed: int) -> Files:
    draws = Draws(seed, "paws-x")
    splits = (("train", 3000, ("en",)), ("validation", 250, LANGUAGES), ("test", 300, LANGUAGES))
    for split, count, languages in splits:
        pairs = draws.take(
            split, count, lambda random, number: items.paraphrase(random, number % 2), lambda pair: pair.texts("en")
        )
        for language in languages:
            yield (
                "paws-x",
                f"google-research-datasets/paws-x/{language}/{split}",
                [
                    {"id": index, "sentence1": first, "sentence2": second, "label": pair.label}
                    for index, pair in enumerate(pairs, start=1)
                    for first, second in [pair.texts(language)]
                ],
            )


def _span_row(item: items.SpanItem, language: str) -> Row:
    context, question, answer, start = item.texts(language)
    english_context, english_question, *_ = item.texts("en")
    return {
        "id": hashlib.sha256(f"{english_context}\n{english_question}".encode()).hexdigest()[:24],
        "context": context,
        "question": question,
        "answers": {"text": [answer], "answer_start": [start]},
    }


def _span_files(seed: int) -> Files:
    draws = Draws(seed, "squad")
    take = partial(draws.take, make=lambda random, _: items.span(random), keys=lambda item: item.texts("en")[:1])
    for split, count in (("train", 3000), ("validation", 400)):
        rows = [_span_row(item, "en") | {"title": f"Sandbox_{split}"} for item in take(split, count)]
        yield "squad", f"rajpurkar/squad/plain_text/{split}", rows
    xquad = take("xquad", 250)
    for language in LANGUAGES:
        rows = [_span_row(item, language) for item in xquad]
        yield "xquad", f"google/xtreme/XQuAD.{language}/validation", rows


def _retrieval_files(seed: int) -> Files:
    sentences = Draws(seed, "tatoeba").take(
        "validation", 300, lambda random, _: items.sentence(random), lambda spoken: spoken.values()
    )
    for language, code in TATOEBA_CODES.items():
        # The hub's strings keep the line break of the files that they came from.
        yield "tatoeba", f"google/xtreme/tatoeba.{code}/validation", [
            {"source_sentence": spoken[language] + "\n", "target_sentence": spoken["en"] + "\n",
             "source_lang": code, "target_lang": "eng"}
            for spoken in sentences
        ]  # fmt: skip


def _write_files(folder: Path, seed: int) -> None:
    import pyarrow
    import pyarrow.parquet

    # The features' schema carries the hub's description of them as parquet metadata.
    arrow_schemas = {name: features.arrow_schema for name, features in schemas().items()}
    for make_files in (_inference_files, _paraphrase_files, _span_files, _retrieval_files):
        for schema, path, rows in make_files(seed):
            file = folder / f"{path}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=arrow_schemas[schema]), file)
    (folder / "sandbox.json").write_text(json.dumps({"seed": seed, "version": VERSION}) + "\n")


def _is_current(folder: Path, seed: int) -> bool:
    note = folder / "sandbox.json"
    return note.is_file() and json.loads(note.read_text()) == {"seed": seed, "version": VERSION}


def write_mirror(folder: Path, seed: int = SEED) -> None:
    """Write the sandbox's mirror to `folder/<hub id>/<config>/<split>.parquet`.

    The folder appears whole or not at all.  A current mirror is left as it is; one of another seed or version is
    replaced.

    Raises:
        ValueError: `folder` holds something that is not a sandbox mirror; nothing is touched then.
    """
    if _is_current(folder, seed):
        return
    if folder.exists() and any(folder.iterdir()) and not (folder / "sandbox.json").is_file():
        raise ValueError(
            f"{folder} is not empty and holds no sandbox.json, so it is not a sandbox mirror and will not be "
            "replaced. Name an empty or a new folder for the sandbox."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staging:
        new = Path(staging) / "new"
        _write_files(new, seed)
        try:
            if folder.exists():
                folder.rename(Path(staging) / "old")
            new.rename(folder)
        except OSError:
            if not _is_current(folder, seed):  # else another process has just put the same mirror there
                raise
