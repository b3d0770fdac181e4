"""What cannot be seen: empty answers, invisible ends of answers, texts of zero-width characters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.trainers.families.test_span import SQUAD, table
from trainers.data.tokenise import load_tokenizer
from trainers.families import pair, retrieval, span, tagging
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS
from trainers.tokens import texts
from trainers.tokens.columns import is_blank
from trainers.tokens.sets import LabelledSet, Lengths

LENGTHS = Lengths(64, 16)
INVISIBLE = ("", " ", "\n", "\u200b", "\u200f", "\ufeff", "\u00a0", "\u3000 \u200d")


@pytest.fixture(scope="module")
def xlmr(tmp_path_factory):
    """The sandbox's vocabulary with XLM-R's own pre-tokeniser, whose offsets leave spaces out."""
    from tokenizers import pre_tokenizers

    tokenizer = load_tokenizer(SANDBOX_ENCODERS / "sandbox-s")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    return tokenizer


@pytest.mark.parametrize("text", INVISIBLE)
def test_what_cannot_be_seen_is_blank(text):
    assert is_blank(text)
    assert not is_blank(f"{text}a{text}")


@pytest.mark.parametrize("before", INVISIBLE)
@pytest.mark.parametrize("after", INVISIBLE)
def test_an_answer_with_invisible_ends_is_found_under_xlmrs_tokenizer(xlmr, before, after):
    """With a space at an end it was trained as "no answer": of 600 real ones 38 were left."""
    answer = f"{before}Anna{after}"
    context = f"Petr and {answer} see a dog."
    rows = table(("who", context, [(answer, context.index(answer))]))
    encoded = span.encode(SQUAD, rows, xlmr, LENGTHS)
    (first, last), covered = encoded.targets[0], encoded.marks
    assert first > 0
    assert is_blank(context[covered[first, 0] : covered[last, 1]].replace("Anna", "", 1))


@pytest.mark.parametrize("text", INVISIBLE)
def test_a_blank_answer_is_a_flaw_or_no_answer(text):
    """As XTREME's own preprocessing writes it into test files."""
    rows = table(("q", "a context", [("context", 2)]), ("q", "a context", [(text, 0)]))
    assert span.flaws(SQUAD, rows) == [
        "row 1 has an empty answer; every question of squad has one (in XTREME's test files they are blank)"
    ]
    v2 = TASKS["squad_v2"]
    assert span.flaws(v2, rows) == []
    assert span.chance(LabelledSet(v2, "en", rows, None)) == 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["\u200b", "\ufeff \u200d"])
def test_texts_of_zero_width_characters_are_empty(text):
    pairs = pa.table({"premise": ["a", text], "hypothesis": ["b", "c"], "label": [0, 1]})
    assert pair.flaws(TASKS["mnli"], pairs) == ["1 of 2 rows have no text in column 'premise'"]
    sentences = pa.table({"source_sentence": ["a", text], "target_sentence": ["b", "c"]})
    assert retrieval.flaws(TASKS["tatoeba"], sentences.rename_columns(list(TASKS["tatoeba"].columns))) == [
        "1 sentences are empty"
    ]


def test_an_empty_tag_is_told_before_the_training():
    ccg = TASKS["ccg"]
    rows = pa.table(dict(zip(ccg.columns, ([["a", "b"], ["c"]], [["NP", "N"], [""]]), strict=True)))
    assert tagging.flaws(ccg, rows) == [f"row 1 has an empty tag in column {ccg.columns[1]!r}"]


def saved_with(folder: Path, change) -> Path:
    """An encoder's tokenizer as transformers saves it after `change`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(SANDBOX_ENCODERS / "sandbox-s" / "tokenizer.json"))
    change(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda tokenizer: tokenizer.enable_padding(pad_id=1, pad_token="<pad>"),
        lambda tokenizer: tokenizer.enable_padding(pad_id=1, pad_token="<pad>", length=32),
        lambda tokenizer: tokenizer.enable_truncation(3),
    ],
    ids=["padding", "padding to a length", "truncation"],
)
@pytest.mark.parametrize("task", ["mnli", "panx", "squad", "tatoeba", "ccg"])
def test_what_a_tokenizers_file_was_saved_with_changes_no_token(tmp_path, mirror, change, task):
    """Padding from the file was attended to as if it were text."""
    from dataclasses import replace

    from trainers.data.tokenise import rows
    from trainers.families import family

    which = TASKS[task]
    files = which.train or which.test
    language = "en" if which.train else "de"
    found = rows(mirror, which, files, language, 40)
    if not which.labels and which.family == "tagging":
        which = replace(which, labels=tagging.classes(which, found))
    plain, saved = (
        family(which).encode(which, found, load_tokenizer(folder), LENGTHS)
        for folder in (SANDBOX_ENCODERS / "sandbox-s", saved_with(tmp_path, change))
    )
    assert np.array_equal(plain.ids, saved.ids)
    assert np.array_equal(plain.starts, saved.starts)
    assert np.array_equal(plain.targets, saved.targets)
    assert 1 not in saved.ids


def test_special_tokens_in_a_text_are_something_unknown():
    """As padding and ends they changed positions, and what a sequence is beside longer ones."""
    tokenizer, text = load_tokenizer(SANDBOX_ENCODERS / "sandbox-s"), "Anna <pad> sees </s> a <s> dog"
    (pieces_of_text,) = [texts.singles(tokenizer, [text], 64).sequence(0).tolist()]
    (asked,) = [span.encode(SQUAD, table((text, text, [("dog", 27)])), tokenizer, LENGTHS).sequence(0).tolist()]
    assert pieces_of_text[0] == asked[0] == 0
    assert (pieces_of_text[-1], asked[-1]) == (2, 2)
    assert not {0, 1, 2} & set(pieces_of_text[1:-1])
    assert pieces_of_text.count(3) >= 3
    assert {number for number in asked[1:-1] if number < 3} == {2}, "between question and context"
    assert asked[1:-1].count(2) == 2
