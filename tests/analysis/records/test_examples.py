"""Scores of single examples are read as they were written, whole files at once, each where it belongs."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.records.examples import ExampleFiles, no_examples
from tests.analysis import fakes
from trainers.store import Store

STAGE = next(stage for stage in fakes.stages((0,)) if stage.kind == "target" and stage.parent)


def written(root: Path, tables: dict[str, pl.DataFrame]) -> ExampleFiles:
    folder = Store(root).open(STAGE).predictions
    folder.mkdir()
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    return ExampleFiles(root)


def table(scores, weights=None) -> pl.DataFrame:
    columns = {"example": range(len(scores)), "score": scores} | ({} if weights is None else {"weight": weights})
    return pl.DataFrame(columns)


def test_each_measure_is_read_from_its_own_file(tmp_path):
    probe = [
        table([0.0, 1.0]).select(pl.lit(measure).alias("measure"), pl.lit("mnli").alias("task"),
                                 pl.lit("en").alias("language"), "example", pl.col("score") + shift)
        for measure, shift in (("stored", 0.0), ("refit", 0.5))
    ]  # fmt: skip
    examples = written(
        tmp_path,
        {
            "panx-de": table([0.5, 0.25], [2.0, 4.0]),
            "panx-en": table([1.0], [3.0]),
            "tatoeba-layer07-de": table([1.0, 0.0, 0.0]),
            "tatoeba-normed-layer07-de": table([1.0, 1.0, 0.0]),
            "probe-step-000000004": pl.concat(probe),
        },
    )
    assert examples(STAGE.key, "zero_shot", "panx", "de", 100).tolist() == [[0.5, 0.25], [2, 4]]
    assert examples(STAGE.key, "zero_shot", "panx", "en", 100).tolist() == [[1], [3]]
    assert examples(STAGE.key, "retrieval", "tatoeba", "de", 7).tolist() == [[1, 0, 0], [1, 1, 1]]
    assert examples(STAGE.key, "retrieval_normed", "tatoeba", "de", 7).tolist() == [[1, 1, 0], [1, 1, 1]]
    assert examples(STAGE.key, "refit", "mnli", "en", 4).tolist() == [[0.5, 1.5], [1, 1]]
    for nowhere in (("zero_shot", "panx", "sw", 100), ("stored", "mnli", "en", 5), ("retrieval", "tatoeba", "de", 8)):
        assert examples(STAGE.key, *nowhere).size == 0
    assert no_examples(STAGE.key, "zero_shot", "panx", "de", 100).shape == (2, 0)


scores = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@settings(max_examples=20)
@given(st.dictionaries(st.sampled_from(["en", "de", "sw", "zh"]), scores, min_size=1), st.booleans())
def test_what_was_written_is_read_here_and_in_another_process(by_language, weighted):
    with tempfile.TemporaryDirectory() as root:
        weights = {language: [1.0 + place for place in range(len(one))] for language, one in by_language.items()}
        examples = written(
            Path(root),
            {f"udpos-{name}": table(one, weights[name] if weighted else None) for name, one in by_language.items()},
        )
        for read in (examples, pickle.loads(pickle.dumps(examples))):
            for language, one in by_language.items():
                found = read(STAGE.key, "zero_shot", "udpos", language, 0)
                np.testing.assert_array_equal(found, [one, weights[language] if weighted else [1.0] * len(one)])
