"""Text becomes XLM-R's sequences, once for all processes; what is wrong in the data is told with its place."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.stages import CHECKOUT, plan_stages, run_here
from trainers.data.mirror import Mirror
from trainers.data.stagedata import DataError, StageData
from trainers.data.tokenise import chosen_rows, load_tokenizer, rows, tokenised
from trainers.families import pair, retrieval
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.store.files import StoreError
from trainers.tasks import TASKS
from trainers.tokens.sets import Lengths, TokenisedSet

ENCODER = SANDBOX_ENCODERS / "sandbox-s"
TOKENIZER = load_tokenizer(ENCODER)
MNLI, TATOEBA = TASKS["mnli"], TASKS["tatoeba"]
texts = st.text(st.sampled_from("Anna sees a dog. Петр 学校 \n"), max_size=300)


def pairs(*examples: tuple) -> pa.Table:
    return pa.table({name: [example[i] for example in examples] for i, name in enumerate(MNLI.columns)})


# -- sequences --------------------------------------------------------------------------------------------------


def test_pair_has_xlmr_special_tokens():
    encoded = pair.encode(MNLI, pairs(("Anna sings.", "Anna sleeps.", 2)), TOKENIZER, Lengths(64, 0))
    first, second = (TOKENIZER.encode(text, add_special_tokens=False).ids for text in ("Anna sings.", "Anna sleeps."))
    assert encoded.sequence(0).tolist() == [0, *first, 2, 2, *second, 2]
    assert encoded.targets.tolist() == [[2]]


@settings(max_examples=100)
@given(texts, texts, st.integers(8, 40))
def test_pair_is_cut_to_its_length_at_the_longer_text(first, second, max_length):
    encoded = pair.encode(MNLI, pairs((first, second, 0)), TOKENIZER, Lengths(max_length, 0))
    TOKENIZER.no_truncation()
    whole = [TOKENIZER.encode(text, add_special_tokens=False).ids for text in (first, second)]
    room = max_length - 4
    short, long = sorted(map(len, whole))
    if short + long <= room:
        kept = [len(ids) for ids in whole]
        assert encoded.sequence(0).tolist() == [0, *whole[0], 2, 2, *whole[1], 2]
    else:
        ids = encoded.sequence(0).tolist()
        assert len(ids) == max_length
        middle = next(i for i in range(1, len(ids)) if ids[i : i + 2] == [2, 2])
        kept = [middle - 1, max_length - middle - 3]
        assert abs(kept[0] - kept[1]) <= 1 or min(kept) == short, "the shorter text is cut only when they are equal"
        assert ids == [0, *whole[0][: kept[0]], 2, 2, *whole[1][: kept[1]], 2]


def test_sentences_of_retrieval_lose_their_final_newline():
    table = pa.table({"source_sentence": ["Anna schläft.\n"], "target_sentence": ["Anna sleeps.\n"]})
    encoded = retrieval.encode(TATOEBA, table, TOKENIZER, Lengths(64, 0))
    assert [encoded.sequence(i).tolist() for i in range(2)] == [
        TOKENIZER.encode(text).ids for text in ("Anna schläft.", "Anna sleeps.")
    ]
    assert encoded.example.tolist() == [0, 0]


@given(st.integers(1, 500), st.integers(1, 500))
def test_subset_is_one_fixed_draw_in_the_files_order(count, limit):
    chosen = chosen_rows(count, limit)
    assert len(chosen) == min(count, limit)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, chosen_rows(count, limit))
    assert set(chosen) <= set(chosen_rows(count, limit + 1)), "a larger subset holds the smaller one"


# -- labels and columns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2, 0], pa.int64()),
        pa.array([2, 0], pa.int8()),
        pa.array(["contradiction", "entailment"], pa.string()),
        pa.array(["contradiction", "entailment"], pa.large_string()),
        pa.array(["contradiction", "entailment"]).dictionary_encode(),
    ],
    ids=str,
)
def test_labels_are_read_as_ids_or_as_names(column):
    table = pa.table({"premise": ["a", "b"], "hypothesis": ["a", "b"], "label": column})
    assert pair.labels_of(MNLI, table).tolist() == [2, 0]


@pytest.mark.parametrize("label", [-1, 3, "maybe", "Neutral", None])
def test_label_outside_the_classes_is_told_with_its_row(label):
    table = pa.table({"premise": ["a"], "hypothesis": ["b"], "label": [label]})
    with pytest.raises(ValueError, match=r"mnli: row 0 has the label .*'label'; expected one of entailment, neutral"):
        pair.labels_of(MNLI, table)


@pytest.fixture
def damaged(mirror, tmp_path):
    """`damaged(change)`: a mirror whose MNLI training set was changed by `change(table)`, and its stage."""

    def make(change, encoder: Path):
        root = tmp_path / "mirror"
        shutil.copytree(mirror.root, root)
        copy = Mirror(root)
        path = copy.path(MNLI.train, "en")
        changed = change(pq.read_table(path))
        path.unlink()
        if changed is not None:
            pq.write_table(changed, path)
        return copy, path, plan_stages(copy, encoder)[0]

    return make


def with_label(label) -> object:
    def change(table: pa.Table) -> pa.Table:
        labels = table["label"].to_pylist()
        labels[7] = label
        return table.set_column(table.column_names.index("label"), "label", pa.array(labels))

    return change


def without(column: str, row: int = 3):
    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = None
        return table.set_column(table.column_names.index(column), column, pa.array(values))

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            with_label(-1),
            "row 7 has the label -1 in column 'label'; expected one of entailment, neutral, contradiction",
        ),
        (
            lambda table: table.rename_columns(["sentence1", "hypothesis", "label", "idx"]),
            "has no column premise; it has sentence1, hypothesis, label, idx",
        ),
        (without("premise"), "row 3 has nothing in column 'premise'"),
        (without("label"), "row 3 has nothing in column 'label'"),
        (
            lambda table: table.set_column(0, "premise", pa.array(range(len(table)))),
            "column 'premise' holds int64; expected text",
        ),
        (lambda table: None, "does not exist"),
    ],
    ids=["label outside the classes", "wrong column", "no premise", "no label", "numbers for text", "no file"],
)
def test_flaw_in_the_data_stops_the_stage_with_file_and_place(damaged, encoder_folder, store, change, complaint):
    copy, path, stage = damaged(change, encoder_folder())
    (training,) = stage.train
    recipe = training.recipe.model_copy(update={"max_examples": None})
    stage = stage.model_copy(update={"train": (training.model_copy(update={"recipe": recipe}),)})
    with pytest.raises(DataError) as raised:
        run_here(stage, store, copy)
    assert complaint in str(raised.value)
    assert str(path) in str(raised.value)
    assert store.entry(stage.key).events("ended")[-1]["outcome"] == "bad_data"


def test_file_that_is_no_parquet_is_told(mirror, encoder_folder, store, tmp_path):
    shutil.copytree(mirror.root, tmp_path / "mirror")
    copy = Mirror(tmp_path / "mirror")
    path = copy.path(MNLI.train, "en")
    path.write_bytes(b"not parquet at all")
    (stage, *_) = plan_stages(copy, encoder_folder())
    with pytest.raises(DataError) as raised:
        run_here(stage, store, copy)
    assert str(path) in str(raised.value)


def test_data_that_changed_since_the_plan_stop_the_stage(damaged, mirror, encoder_folder, store):
    copy, *_ = damaged(lambda table: table.slice(1), encoder_folder())
    (stage, *_) = plan_stages(mirror, encoder_folder())
    with pytest.raises(DataError, match=r"mnli/train: .* was planned with"):
        run_here(stage, store, copy)


def test_encoder_without_a_fast_tokenizer_is_told(mirror, encoder_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer.json: save the fast tokenizer"):
        tokenised(tmp_path, mirror, MNLI, MNLI.train, "en", tmp_path, Lengths(64, 16), 10)


# -- the cache --------------------------------------------------------------------------------------------------

BUILD = """
import sys
from pathlib import Path
from trainers.data.mirror import Mirror
from trainers.data.tokenise import tokenised
from trainers.tokens.sets import Lengths
from trainers.tasks import TASKS

cache, mirror, encoder = map(Path, sys.argv[1:])
task = TASKS["squad"]
print("ready", flush=True)
sys.stdin.readline()
built = tokenised(cache, Mirror(mirror), task, task.train, "en", encoder, Lengths(96, 32), 300)
print(len(built), int(built.ids.sum()), int(built.marks.sum()), flush=True)
"""


def test_four_processes_that_build_one_cache_get_one_whole_set(mirror, tmp_path):
    cache = tmp_path / "cache"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(cache), str(mirror.root), str(ENCODER)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert len(set(answers)) == 1
    assert len(list(cache.iterdir())) == 1, "no leftovers"


def test_cached_set_is_what_was_built(mirror, tmp_path):
    table = rows(mirror, MNLI, MNLI.train, "en", 50)
    built = pair.encode(MNLI, table, TOKENIZER, Lengths(64, 16))
    for _ in range(2):  # built, then opened
        opened = tokenised(tmp_path, mirror, MNLI, MNLI.train, "en", ENCODER, Lengths(64, 16), 50)
        for name in ("ids", "starts", "targets", "example", "marks"):
            np.testing.assert_array_equal(getattr(opened, name), getattr(built, name))


@pytest.mark.parametrize(
    "change",
    [
        {"lengths": Lengths(32, 16)},
        {"limit": 51},
        {"tokenizer_folder": "another"},
        {"files": MNLI.development},
    ],
)
def test_other_settings_get_another_cache(mirror, tmp_path, change):
    another = tmp_path / "another"
    another.mkdir()
    (another / "tokenizer.json").write_text((ENCODER / "tokenizer.json").read_text() + "\n")
    settings = {
        "task": MNLI,
        "files": MNLI.train,
        "language": "en",
        "tokenizer_folder": ENCODER,
        "lengths": Lengths(64, 16),
        "limit": 50,
    }
    cache = tmp_path / "cache"
    for chosen in (settings, settings | change):
        if chosen["tokenizer_folder"] == "another":
            chosen = chosen | {"tokenizer_folder": another}
        tokenised(cache, mirror, **chosen)
    assert len(list(cache.iterdir())) == 2


def test_a_tokenizer_is_loaded_once_for_all_languages_and_again_when_its_file_changed(mirror, tmp_path, monkeypatch):
    folder, loads = tmp_path / "encoder", []
    folder.mkdir()
    shutil.copyfile(ENCODER / "tokenizer.json", folder / "tokenizer.json")
    monkeypatch.setattr("trainers.data.tokenise.load_tokenizer", lambda at: loads.append(at) or load_tokenizer(at))
    for language in ("de", "ru", "zh"):
        tokenised(tmp_path / "cache", mirror, TATOEBA, TATOEBA.test, language, folder, Lengths(64, 16), 5)
    assert loads == [folder]
    (folder / "tokenizer.json").write_text((ENCODER / "tokenizer.json").read_text() + "\n")
    tokenised(tmp_path / "cache", mirror, TATOEBA, TATOEBA.test, "de", folder, Lengths(64, 16), 5)
    assert loads == [folder, folder]


def test_set_without_rows_is_saved_and_opened(tmp_path):
    TokenisedSet.from_lists([], [], []).save(tmp_path)
    assert len(TokenisedSet.open(tmp_path)) == 0


def test_cache_that_cannot_be_written_is_told_and_leaves_nothing(mirror, tmp_path, monkeypatch):
    def no_space(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", no_space)
    with pytest.raises(StoreError, match=r"cannot write .*mnli-train-en.*No space left"):
        tokenised(tmp_path / "cache", mirror, MNLI, MNLI.train, "en", ENCODER, Lengths(64, 16), 20)
    assert not list((tmp_path / "cache").iterdir())


# -- what a stage reads -----------------------------------------------------------------------------------------


def test_vocabulary_of_a_stage_is_every_token_of_every_set(mirror, arm, store, encoder_folder):
    _, target = arm
    data = StageData.load(target, mirror, store.tokenised, encoder_folder())
    used = set(data.token_ids.tolist())
    (probe,) = data.probes
    assert list(data.train) == ["pawsx"]
    sets = [*data.development.values(), *data.evaluations, *probe.measured, probe.refit]
    assert [(labelled.task.name, labelled.language) for labelled in sets] == [
        ("pawsx", "en"),
        ("pawsx", "en"),
        ("pawsx", "de"),
        ("mnli", "en"),
        ("xnli", "de"),
        ("mnli", "en"),
    ]
    ids = [data.train["pawsx"].ids, *(labelled.examples.ids for labelled in sets)]
    assert used == set(np.concatenate(ids).tolist())
