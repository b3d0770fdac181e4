"""The sandbox speaks every task: each loads, is sound by its own family's rules, and has the hub's schema."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.real.conftest import SHARED
from trainers.data.mirror import Mirror
from trainers.data.tokenise import labelled, load_tokenizer
from trainers.families import family
from trainers.families.mining import GOLD_COLUMNS
from trainers.sandbox.language import tagged
from trainers.sandbox.language.grammar import Clause, Noun
from trainers.sandbox.language.items import Utterance
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS
from trainers.tokens.sets import Lengths

REAL = SHARED / "data" / "mirror"
SPOKEN = ("en", "de", "ru", "sw", "zh")
ROLES = ("train", "development", "test")


def splits(mirror: Mirror, name: str):
    """Every (role, language) of a task that the mirror holds, with its rows."""
    task = TASKS[name]
    for role in ROLES:
        files = getattr(task, role)
        for language in SPOKEN if files else ():
            if mirror.holds(files, language):
                yield role, language, labelled(task, mirror.table(files, language, task.columns))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_there_and_sound(mirror, name):
    task = TASKS[name]
    found = list(splits(mirror, name))
    assert {role for role, *_ in found} == {role for role in ROLES if getattr(task, role) is not None}
    if task.test is not None:
        official = {language for role, language, _ in found if role == "test"}
        assert official >= {language for language in SPOKEN if language in task.languages}
    for role, language, table in found:
        assert family(task).flaws(task, table) == [], f"{role} {language}"


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_tokenised_without_unknown_words(mirror, name):
    task = TASKS[name]
    tokenizer = load_tokenizer(SANDBOX_ENCODERS / "sandbox-s")
    for role, language, table in splits(mirror, name):
        encoded = family(task).encode(task, table.slice(0, 60), tokenizer, Lengths(128, 32))
        assert (encoded.ids == 3).mean() < 0.01, f"{role} {language}"


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("ccg",)])
def test_columns_and_types_are_the_real_mirrors(mirror, name):
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is absent: the real data are not on this machine")
    task, compared = TASKS[name], 0
    for role in ROLES:
        for files in getattr(task, role).all_files if getattr(task, role) else ():
            for language in SPOKEN:
                ours, theirs = mirror.path(files, language), Mirror(REAL).path(files, language)
                if ours.is_file() and theirs.is_file():
                    real = {field.name: str(field.type) for field in parquet.read_schema(theirs)}
                    sandbox = {field.name: str(field.type) for field in parquet.read_schema(ours)}
                    assert {column: sandbox[column] for column in real} == real, theirs
                    compared += 1
    if not compared:
        pytest.skip(f"the real mirror holds nothing of {name} in the sandbox's languages")


@pytest.mark.parametrize(
    ("paths", "column"),
    [
        (["Rowan/hellaswag/default/train", "Rowan/hellaswag/default/validation"], "endings"),
        (["allenai/cosmos_qa/default/train", "allenai/cosmos_qa/default/validation"], "context"),
        (["rajpurkar/squad_v2/squad_v2/train", "rajpurkar/squad_v2/squad_v2/validation"], "context"),
        (["nyu-mll/glue/qqp/train", "nyu-mll/glue/qqp/validation"], "question1"),
        ([f"google/xtreme/udpos.English/{split}" for split in ("train", "validation", "test")], "tokens"),
        ([f"facebook/anli/plain_text/{split}" for split in ("train_r1", "train_r2", "dev_r1", "dev_r3")], "premise"),
    ],
)
def test_splits_share_no_text(mirror, paths, column):
    texts = [
        {str(row) for row in zip(*columns(mirror.root / f"{path}.parquet", column), strict=True)} for path in paths
    ]
    assert len(set.union(*texts)) == sum(map(len, texts))


def columns(path: Path, column: str) -> list[list]:
    """The column, and for endings the text before them."""
    table = parquet.read_table(path)
    return [table[name].to_pylist() for name in ([column, "ctx_a"] if column == "endings" else [column])]


def test_gold_pairs_of_bucc_are_among_the_sentences_and_one_sentence_occurs_twice(mirror):
    task = TASKS["bucc"]
    for files in (task.development, task.test):
        table = mirror.table(files, "de", task.columns)
        ids, sentences = (table[column].to_pylist() for column in task.columns)
        gold = mirror.table(files.gold, "de", GOLD_COLUMNS)
        assert {*gold["source_id"].to_pylist(), *gold["target_id"].to_pylist()} <= set(ids)
        german = [text for name, text in zip(ids, sentences, strict=True) if name.startswith("de-")]
        assert len(german) - len(set(german)) == 1


def test_snli_has_rows_without_a_gold_label_and_anli_plus_drops_them(mirror):
    task = TASKS["anli_plus"]
    table = mirror.table(task.train, "en", task.columns)
    assert table.num_rows == 3 * 400 + 3000 + 1000
    assert table.num_rows - labelled(task, table).num_rows == 10


def test_words_are_tagged_as_a_person_would():
    clause = Clause("buy", agent=Noun("Anna Leo"), thing=Noun("apple", 3, colour="red"), place="school", time="monday")
    said = Utterance(clause, None)
    english = tagged.words(said, "en")
    assert " ".join(word.text for word in english) == "Anna Leo bought three red apples at the school on Monday ."
    parts = "PROPN PROPN VERB NUM ADJ NOUN ADP DET NOUN ADP NOUN PUNCT"
    assert " ".join(word.part for word in english) == parts
    names = "B-PER I-PER O O O O O O B-ORG O O O"
    assert " ".join(tagged.names(english, by_character=False)[1]) == names
    assert tagged.supertags(english)[:6] == ["NP", "NP", r"(S\NP)/NP", "NP/N", "N/N", "N"]
    tokens, tags = tagged.names(tagged.words(said, "zh"), by_character=True)
    assert "".join(tokens) == "AnnaLeo星期一在学校里买了三个红色的苹果。"
    assert [(token, tag) for token, tag in zip(tokens, tags, strict=True) if tag != "O"] == [
        ("Anna", "B-PER"),
        ("Leo", "I-PER"),
        ("学", "B-ORG"),
        ("校", "I-ORG"),
    ]
