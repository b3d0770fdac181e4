"""The sandbox keeps the hub's schemas, is the same world in every language, and gives no label away."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from trainers.sandbox import write_mirror
from trainers.sandbox.language.grammar import Clause, Noun, question, statement
from trainers.sandbox.language.lexicon import LANGUAGES, NAMES
from trainers.sandbox.sentences import TATOEBA_CODES

ENCODERS = Path(__file__).parents[3] / "trainers" / "sandbox" / "encoders"
NOMINAL_PARAMETERS = {"sandbox-s": 0.08e6, "sandbox-m": 0.14e6, "sandbox-l": 0.37e6}

TEXT, INTEGER = Value("string"), Value("int32")
# Written out from the hub's files, not taken from the code under test: columns, types and label names.
HUB = {
    "nyu-mll/glue/mnli": Features(
        premise=TEXT,
        hypothesis=TEXT,
        label=ClassLabel(names=["entailment", "neutral", "contradiction"]),
        idx=INTEGER,
    ),
    "rajpurkar/squad/plain_text": Features(
        id=TEXT,
        title=TEXT,
        context=TEXT,
        question=TEXT,
        answers={"text": List(TEXT), "answer_start": List(INTEGER)},
    ),
    "google/xtreme/XNLI": Features(language=TEXT, sentence1=TEXT, sentence2=TEXT, gold_label=TEXT),
    "google-research-datasets/paws-x": Features(
        id=INTEGER, sentence1=TEXT, sentence2=TEXT, label=ClassLabel(names=["0", "1"])
    ),
    "google/xtreme/XQuAD": Features(
        id=TEXT, context=TEXT, question=TEXT, answers={"answer_start": List(INTEGER), "text": List(TEXT)}
    ),
    "google/xtreme/tatoeba": Features(source_sentence=TEXT, target_sentence=TEXT, source_lang=TEXT, target_lang=TEXT),
}
ROWS = {
    "nyu-mll/glue/mnli/train": 3000,
    "nyu-mll/glue/mnli/validation_matched": 640,
    "nyu-mll/glue/mnli/validation_mismatched": 300,
    "rajpurkar/squad/plain_text/train": 2000,
    "rajpurkar/squad/plain_text/validation": 640,
    "google/xtreme/XNLI/validation": 5 * 250,
    "google/xtreme/XNLI/test": 5 * 300,
    "google-research-datasets/paws-x/en/train": 2000,
    **{f"google-research-datasets/paws-x/{language}/validation": 250 for language in LANGUAGES},
    **{f"google-research-datasets/paws-x/{language}/test": 300 for language in LANGUAGES},
    **{f"google/xtreme/XQuAD.{language}/validation": 250 for language in LANGUAGES},
    **{f"google/xtreme/tatoeba.{code}/validation": 300 for code in TATOEBA_CODES.values()},
}

TEXT_COLUMNS = ("premise", "hypothesis", "context", "question", "sentence1", "sentence2", "source_sentence")

Row = dict[str, Any]


@pytest.fixture(scope="session")
def mirror(sandbox: Path) -> Path:
    return sandbox


def rows_of(mirror: Path, path: str) -> list[Row]:
    return parquet.read_table(mirror / f"{path}.parquet").to_pylist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def xnli(mirror: Path, split: str) -> dict[str, list[Row]]:
    rows = rows_of(mirror, f"google/xtreme/XNLI/{split}")
    return {language: [row for row in rows if row["language"] == language] for language in LANGUAGES}


def test_one_fact_is_spoken_with_each_languages_words_agreement_and_order() -> None:
    apples = Noun("apple", number=3, colour="red")
    fact = Clause("buy", agent=Noun("Anna"), thing=apples, place="market", time="monday")
    assert [statement(fact, language, front="time").text for language in LANGUAGES] == [
        "On Monday Anna bought three red apples at the market.",
        "Am Montag kaufte Anna auf dem Markt drei rote Äpfel.",
        "В понедельник Anna купила три красных яблока на рынке.",
        "Jumatatu Anna alinunua matofaa mekundu matatu sokoni.",
        "星期一Anna在市场上买了三个红色的苹果。",
    ]
    assert [question(fact, "number", language) for language in LANGUAGES] == [
        "How many red apples did Anna buy at the market on Monday?",
        "Wie viele rote Äpfel kaufte Anna am Montag auf dem Markt?",
        "Сколько красных яблок Anna купила на рынке в понедельник?",
        "Anna alinunua matofaa mekundu mangapi sokoni Jumatatu?",
        "Anna星期一在市场上买了几个红色的苹果？",
    ]


def test_the_mirror_holds_the_expected_files_and_rows(mirror: Path) -> None:
    assert {path: parquet.read_metadata(mirror / f"{path}.parquet").num_rows for path in ROWS} == ROWS


@pytest.mark.parametrize("path", ROWS)
def test_schemas_are_the_hubs_own(mirror: Path, path: str, tmp_path: Path) -> None:
    [expected] = [features for prefix, features in HUB.items() if path.startswith(prefix)]
    data_set = Dataset.from_parquet(str(mirror / f"{path}.parquet"), cache_dir=str(tmp_path))
    assert data_set.features == expected
    assert list(data_set.features) == list(expected), "the columns' order differs"


@pytest.mark.slow
def test_writing_twice_gives_identical_bytes(mirror: Path, tmp_path: Path) -> None:
    write_mirror(tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(mirror)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again"], "a temporary folder was left behind"


@pytest.mark.slow
def test_a_current_mirror_is_left_as_it_is_and_another_version_is_replaced(mirror: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    folder.mkdir()
    note = (mirror / "sandbox.json").read_text()
    (folder / "sandbox.json").write_text(note)
    write_mirror(folder)
    assert files_of(folder) == {"sandbox.json": note.encode()}
    (folder / "sandbox.json").write_text(json.dumps({**json.loads(note), "version": 0}))
    write_mirror(folder)
    assert files_of(folder) == files_of(mirror)


def test_a_folder_that_is_no_sandbox_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds no sandbox\.json"):
        write_mirror(tmp_path)
    assert files_of(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.slow
def test_another_seed_tells_other_facts(mirror: Path, tmp_path: Path) -> None:
    write_mirror(tmp_path / "other", seed=14)
    path = "rajpurkar/squad/plain_text/train"
    ours, others = ({row["context"] for row in rows_of(folder, path)} for folder in (mirror, tmp_path / "other"))
    assert len(ours & others) < 0.01 * len(ours)


def test_splits_share_no_text(mirror: Path) -> None:
    premises = [
        {row["premise"] for row in rows_of(mirror, f"nyu-mll/glue/mnli/{split}")}
        for split in ("train", "validation_matched", "validation_mismatched")
    ] + [{row["sentence1"] for row in xnli(mirror, split)["en"]} for split in ("validation", "test")]
    paraphrases = [
        {row["sentence1"] for row in rows} | {row["sentence2"] for row in rows}
        for split in ("train", "validation", "test")
        for rows in [rows_of(mirror, f"google-research-datasets/paws-x/en/{split}")]
    ]
    contexts = [
        {row["context"] for row in rows_of(mirror, path)}
        for path in ("rajpurkar/squad/plain_text/train", "rajpurkar/squad/plain_text/validation")
    ] + [{row["context"] for row in rows_of(mirror, "google/xtreme/XQuAD.en/validation")}]
    for splits in (premises, paraphrases, contexts):
        assert len(set.union(*splits)) == sum(map(len, splits))


def test_answers_stand_at_their_start_in_every_language(mirror: Path) -> None:
    paths = [f"google/xtreme/XQuAD.{language}/validation" for language in LANGUAGES]
    for path in [*paths, "rajpurkar/squad/plain_text/train", "rajpurkar/squad/plain_text/validation"]:
        for row in rows_of(mirror, path):
            [text], [start] = row["answers"]["text"], row["answers"]["answer_start"]
            assert text
            assert row["context"][start : start + len(text)] == text


def test_labels_are_balanced(mirror: Path) -> None:
    labels = {
        "nyu-mll/glue/mnli/train": 3,
        "nyu-mll/glue/mnli/validation_matched": 3,
        "google-research-datasets/paws-x/en/train": 2,
        "google-research-datasets/paws-x/en/test": 2,
    }
    for path, classes in labels.items():
        shares = Counter(row["label"] for row in rows_of(mirror, path))
        assert len(shares) == classes
        assert max(shares.values()) - min(shares.values()) <= 1


def test_items_are_the_same_in_every_language(mirror: Path) -> None:
    for split in ("validation", "test"):
        by_language = xnli(mirror, split)
        gold = [row["gold_label"] for row in by_language["en"]]
        assert all([row["gold_label"] for row in rows] == gold for rows in by_language.values())
        numbered = {
            language: [
                (row["id"], row["label"])
                for row in rows_of(mirror, f"google-research-datasets/paws-x/{language}/{split}")
            ]
            for language in LANGUAGES
        }
        assert all(items == numbered["en"] for items in numbered.values())
    xquad = {language: rows_of(mirror, f"google/xtreme/XQuAD.{language}/validation") for language in LANGUAGES}
    assert all([row["id"] for row in rows] == [row["id"] for row in xquad["en"]] for rows in xquad.values())


def test_names_and_years_agree_across_languages(mirror: Path) -> None:
    """Names and digits are written alike in all languages, so they witness that two sentences are translations."""
    names = "|".join(name for by_gender in NAMES.values() for name in by_gender)

    def witnesses(text: str) -> tuple[str, ...]:
        return tuple(sorted(re.findall(rf"\b(?:{names})(?![a-z])|[0-9]{{4}}", text, flags=re.ASCII)))

    for rows in zip(*xnli(mirror, "test").values(), strict=True):
        for column in ("sentence1", "sentence2"):
            assert len({witnesses(row[column]) for row in rows}) == 1


def test_tatoeba_sentences_are_distinct_and_keep_their_line_break(mirror: Path) -> None:
    english = None
    for code in TATOEBA_CODES.values():
        rows = rows_of(mirror, f"google/xtreme/tatoeba.{code}/validation")
        assert len({row["source_sentence"] for row in rows}) == len({row["target_sentence"] for row in rows}) == 300
        assert all(row["source_sentence"].endswith("\n") and row["target_sentence"].endswith("\n") for row in rows)
        assert {(row["source_lang"], row["target_lang"]) for row in rows} == {(code, "eng")}
        english = english or [row["target_sentence"] for row in rows]
        assert [row["target_sentence"] for row in rows] == english


@pytest.mark.parametrize(
    ("path", "part", "limit"),
    [
        ("nyu-mll/glue/mnli/{}", "hypothesis", 0.45),
        ("google-research-datasets/paws-x/en/{}", "sentence2", 0.6),
    ],
)
def test_half_of_a_pair_does_not_give_the_label_away(mirror: Path, path: str, part: str, limit: float) -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    validation = "validation_matched" if "mnli" in path else "validation"
    train, held_out = (rows_of(mirror, path.format(split)) for split in ("train", validation))
    vectoriser = CountVectorizer(ngram_range=(1, 2))
    features = vectoriser.fit_transform([row[part] for row in train])
    model = LogisticRegression(max_iter=300).fit(features, [row["label"] for row in train])
    score = model.score(vectoriser.transform([row[part] for row in held_out]), [row["label"] for row in held_out])
    assert score < limit


def test_shipped_encoders_load_and_have_their_nominal_sizes() -> None:
    from transformers import AutoModel, AutoModelForMaskedLM

    size = sum(file.stat().st_size for file in ENCODERS.rglob("*") if file.is_file())
    assert size <= 8 * 2**20
    for scale, nominal in NOMINAL_PARAMETERS.items():
        encoder = AutoModel.from_pretrained(ENCODERS / scale)
        assert encoder.config.model_type == "xlm-roberta"
        with_head, info = AutoModelForMaskedLM.from_pretrained(ENCODERS / scale, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        head = with_head.lm_head.decoder.weight
        assert head.data_ptr() == with_head.roberta.embeddings.word_embeddings.weight.data_ptr(), "the head is not tied"
        total = sum(parameter.numel() for parameter in with_head.parameters())
        assert total == pytest.approx(nominal, rel=0.2)
        assert total == json.loads((ENCODERS / scale / "training.json").read_text())["parameters"]


def test_shipped_tokeniser_is_xlm_rs_and_knows_the_sandboxs_text(mirror: Path) -> None:
    from transformers import AutoTokenizer

    assert len({(ENCODERS / scale / "tokenizer.json").read_bytes() for scale in NOMINAL_PARAMETERS}) == 1
    tokeniser = AutoTokenizer.from_pretrained(ENCODERS / "sandbox-s")
    assert tokeniser.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert tokeniser.mask_token_id == len(tokeniser) - 1
    first, second = (tokeniser(text, add_special_tokens=False)["input_ids"] for text in ("Anna slept.", "Ben sang."))
    assert tokeniser("Anna slept.", "Ben sang.")["input_ids"] == [0, *first, 2, 2, *second, 2]
    for path in ROWS:
        texts = [value for row in rows_of(mirror, path) for key, value in row.items() if key in TEXT_COLUMNS]
        assert not any(tokeniser.unk_token_id in ids for ids in tokeniser(texts)["input_ids"]), path
