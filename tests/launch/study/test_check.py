"""`retain check` finds every problem of data, encoders and store before anything runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launch.study.check import check
from launch.study.plan import mirror_of
from launch.study.sweep import EXAMPLES_FOR_HALF_WIDTH, PROBE_HALF_WIDTH, half_width, load_sweep
from trainers.data.mirror import Mirror
from trainers.stage.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS

MNLI = "nyu-mll/glue/mnli/train.parquet"
XNLI = "google/xtreme/XNLI/test.parquet"
PANX = "google/xtreme/PAN-X.de/test.parquet"
SQUAD = "rajpurkar/squad/plain_text/train.parquet"
HELLASWAG = "Rowan/hellaswag/default/train.parquet"


def problems(path: Path) -> str:
    sweep = load_sweep(path)
    return "\n".join(check(sweep, mirror_of(sweep)).problems)


def rewrite(path: Path, change) -> None:
    change(pl.read_parquet(path)).write_parquet(path)


def test_the_sandbox_has_no_problems(sweep_file):
    assert problems(sweep_file(targets=["xnli", "pawsx", "xquad", "tatoeba"], intermediates=["mnli", "squad"])) == ""


def test_a_probe_of_few_examples_is_told_with_the_interval_that_it_leaves(sweep_file):
    def notes(**probe) -> list[str]:
        sweep = load_sweep(sweep_file(intermediates=["mnli", "hellaswag"], probe=probe))
        return [note for note in check(sweep, mirror_of(sweep)).notes if note.startswith("probe of")]

    assert EXAMPLES_FOR_HALF_WIDTH == 601
    assert half_width(601) <= PROBE_HALF_WIDTH < half_width(600)
    # The sandbox has 640 development examples of MNLI, but 300 of HellaSwag.
    [hellaswag] = notes()
    assert hellaswag.startswith("probe of hellaswag: 300 English examples may give A(τ) an interval of ± 0.057; 601 ")
    assert [note.split(" may ")[0] for note in notes(examples=100)] == [
        "probe of mnli: 100 English examples",
        "probe of hellaswag: 100 English examples",
    ]


def test_a_missing_mirror_is_named(sweep_file):
    assert "no-such-folder is not a folder" in problems(sweep_file(mirror="/no-such-folder"))


def test_a_wrong_column_is_named_with_those_that_exist(sweep_file, mirror_copy):
    rewrite(mirror_copy / MNLI, lambda frame: frame.rename({"premise": "premiss"}))
    assert "has no column premise; it has premiss, hypothesis, label" in problems(sweep_file(mirror=str(mirror_copy)))


def test_a_label_outside_its_classes_is_named_with_its_row(sweep_file, mirror_copy):
    rewrite(
        mirror_copy / MNLI,
        lambda frame: frame.with_columns(
            label=pl.when(pl.int_range(pl.len()) == 7).then(-1).otherwise("label").cast(pl.Int64)
        ),
    )
    assert "row 7 has the label -1" in problems(sweep_file(mirror=str(mirror_copy)))


def test_an_unknown_class_name_is_named(sweep_file, mirror_copy):
    rewrite(mirror_copy / XNLI, lambda frame: frame.with_columns(gold_label=pl.lit("entails")))
    assert "the label 'entails'" in problems(sweep_file(mirror=str(mirror_copy)))


def test_an_empty_split_is_refused(sweep_file, mirror_copy):
    rewrite(mirror_copy / MNLI, lambda frame: frame.head(0))
    assert "has no rows" in problems(sweep_file(mirror=str(mirror_copy)))


def test_a_language_that_is_missing_is_named(sweep_file, mirror_copy):
    shutil.rmtree(mirror_copy / "google/xtreme/tatoeba.deu")
    message = problems(sweep_file(mirror=str(mirror_copy)))
    assert "tatoeba" in message
    assert "language de" in message


def test_without_languages_every_official_one_is_wanted(sweep_file):
    message = problems(sweep_file(languages=None))
    assert "has no rows in the language ar" in message


def test_a_file_that_is_no_parquet_is_named(sweep_file, mirror_copy):
    (mirror_copy / MNLI).write_bytes(b"PAR1 this is not parquet")
    assert "is not a readable parquet file" in problems(sweep_file(mirror=str(mirror_copy)))


WRONG_TYPES = [
    (MNLI, "premise", 7, "column 'premise' holds int64; expected text"),
    (MNLI, "hypothesis", b"\xff", "column 'hypothesis' holds binary; expected text"),
    (MNLI, "label", 0.0, "column 'label' holds double; expected the name or the number of a class"),
    (MNLI, "label", [0], "column 'label' holds list<element: int64>; expected the name or the number of a class"),
    (XNLI, "gold_label", True, "column 'gold_label' holds bool; expected the name or the number of a class"),
    (XNLI, "language", 7, "column 'language' holds int64; expected text"),
    (PANX, "tokens", "a b", "column 'tokens' holds string; expected a list of texts"),
    (PANX, "ner_tags", ["O", None], "row 0 has nothing in column 'ner_tags', or in a part of it"),
    (SQUAD, "answers", "text", "column 'answers' holds string; expected {text: [...], answer_start: [...]}"),
    (SQUAD, "answers", {"text": ["a"], "answer_start": [None]}, "row 0 has nothing in column 'answers', or in a part"),
    (SQUAD, "answers", {"text": ["a"], "answer_start": []}, "row 0 has 1 answers and 0 places where they start"),
    (SQUAD, "answers", {"text": [], "answer_start": []}, "row 0 has no answer; every question of squad has one"),
    (SQUAD, "context", None, "row 0 has nothing in column 'context'"),
    (HELLASWAG, "ctx_b", 7, "column 'ctx_b' holds int64; expected text, or lists of texts"),
    (HELLASWAG, "ctx_b", ["a"], "row 0 is not a multiple-choice question (TypeError"),
    (HELLASWAG, "ctx_a", ["a"], "row 0 has a prompt or a choice that is not text"),
    (HELLASWAG, "endings", ["a"], "row 0 has 1 choices; expected 4"),
    (
        "tau/commonsense_qa/default/train.parquet",
        "choices",
        {"letters": ["A"]},
        "not a multiple-choice question (KeyError",
    ),
    ("google/xtreme/tydiqa/validation.parquet", "id", 7, "column 'id' holds int64; expected text"),
    ("google/xtreme/tatoeba.deu/validation.parquet", "source_sentence", 7, "holds int64; expected text"),
    ("text/de.parquet", "text", 7, "column 'text' holds int64; expected text"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "column", "value", "told"), WRONG_TYPES)
def test_a_value_that_cannot_be_read_is_told_with_file_column_and_both_types(
    sweep_file, mirror_copy, file, column, value, told
):
    path = mirror_copy / file
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, pa.array([value] * table.num_rows)), path)
    message = problems(
        sweep_file(
            mirror=str(mirror_copy),
            intermediates=["none", "mnli+mlm", "squad", "hellaswag", "commonsense_qa"],
            targets=["xnli", "panx", "tydiqa", "tatoeba"],
            languages=["en", "de"],
        )
    )
    assert told in message
    assert path.name in message
    assert str(path.parent) in message


@pytest.mark.parametrize("content", [b"", b"PAR1 this is not parquet"])
@pytest.mark.parametrize("file", [XNLI, "google/xtreme/tydiqa/validation.parquet"])
def test_a_damaged_file_of_all_languages_is_told_and_not_taken_for_one_without_the_language(
    sweep_file, mirror_copy, file, content
):
    (mirror_copy / file).write_bytes(content)
    message = problems(sweep_file(mirror=str(mirror_copy), intermediates=["none"], targets=["xnli", "tydiqa"]))
    assert f"{mirror_copy / file} is not a readable parquet file" in message
    assert "has no rows" not in message


def test_text_that_is_no_utf8_is_told(sweep_file, mirror_copy):
    path = mirror_copy / MNLI
    table = pq.read_table(path)
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\x01\0\0\0"), pa.py_buffer(b"\xff"))
    column = pa.chunked_array([broken, table["premise"].combine_chunks()[1:]])
    pq.write_table(table.set_column(table.schema.get_field_index("premise"), "premise", column), path)
    assert "Invalid UTF8 sequence" in problems(sweep_file(mirror=str(mirror_copy)))


def test_blanked_test_labels_are_refused(sweep_file, mirror_copy):
    """XTREME's preprocessing removes them, and an accuracy of 0.33 was taken for the model's (xtreme#24)."""
    rewrite(mirror_copy / XNLI, lambda frame: frame.with_columns(gold_label=pl.lit("")))
    assert f"{mirror_copy / XNLI}: xnli: row 0 has the label ''" in problems(sweep_file(mirror=str(mirror_copy)))


def test_empty_sentences_of_bucc_are_refused(sweep_file, mirror_copy):
    """The hub's gold pairs had some until 2022 (datasets#4706)."""
    pairs, sentences = "google/xtreme/bucc18.de/validation.parquet", "bucc2018/de-en/test.en.parquet"
    first = pl.int_range(pl.len()) == 0
    rewrite(
        mirror_copy / pairs,
        lambda frame: frame.with_columns(
            pl.when(first).then(pl.lit(" ")).otherwise("source_sentence").alias("source_sentence")
        ),
    )
    rewrite(
        mirror_copy / sentences,
        lambda frame: frame.with_columns(pl.when(first).then(pl.lit("")).otherwise("sentence").alias("sentence")),
    )
    file = sweep_file(mirror=str(mirror_copy), targets=["bucc", "bucc_pairs"], intermediates=["none"])
    message = problems(file)
    assert f"{mirror_copy / pairs}: 1 sentences are empty" in message
    assert f"{mirror_copy / sentences}: 1 sentences are empty" in message


def test_classes_in_another_order_are_refused_for_a_word_as_for_a_pair(sweep_file, mirror_copy):
    """The ids would be read as other classes; jiant's PAN-X has them in alphabetical order."""
    path = mirror_copy / PANX
    table = pq.read_table(path)
    names = sorted(TASKS["panx"].labels)
    feature = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "List"}
    about = json.dumps({"info": {"features": {"ner_tags": feature}}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), path)
    message = problems(sweep_file(mirror=str(mirror_copy), targets=["panx"]))
    assert (
        f"{path}: has the classes B-LOC, B-ORG, B-PER, I-LOC, I-ORG, I-PER, O in 'ner_tags'; expected O, B-PER"
        in message
    )


def test_of_joined_files_the_wrong_one_is_named(sweep_file, mirror_copy):
    """ANLI+ is five files under one head."""
    rounds = [mirror_copy / f"facebook/anli/plain_text/train_r{number}.parquet" for number in (1, 2, 3)]
    rewrite(rounds[1], lambda frame: frame.head(0))
    rewrite(rounds[2], lambda frame: frame.with_columns(label=pl.lit(5)))
    message = problems(sweep_file(mirror=str(mirror_copy), intermediates=["none", "anli_plus"]))
    assert f"{rounds[1]}: has no rows in the language en" in message
    assert f"{rounds[2]}: anli_plus: row 0 has the label 5" in message
    assert str(rounds[0]) not in message


def renamed(frame: pl.DataFrame, column: str, split: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(column).str.replace("-", f"-{split}"))


def test_gold_pairs_of_another_split_are_refused(sweep_file, mirror_copy):
    """XTREME's "test" is BUCC's training split, its "dev" the sample split: easily confused."""
    folder = mirror_copy / "bucc2018/de-en"
    for split in ("dev", "test"):  # the sandbox counts both from 0; the official ids do not
        rewrite(folder / f"{split}.de.parquet", lambda frame, split=split: renamed(frame, "id", split))
        rewrite(folder / f"{split}.gold.parquet", lambda frame, split=split: renamed(frame, "source_id", split))
    file = sweep_file(mirror=str(mirror_copy), targets=["bucc"], intermediates=["none"])
    assert problems(file) == ""
    shutil.copy(folder / "dev.gold.parquet", folder / "test.gold.parquet")
    message = problems(file)
    assert re.search(
        rf"{folder}: \d+ gold ids have no sentence, e.g. 'de-dev\d+'; are they of another split\?", message
    )


def test_answers_that_do_not_occur_are_counted(sweep_file, mirror_copy):
    rewrite(
        mirror_copy / SQUAD,
        lambda frame: frame.with_columns(context=pl.lit("nothing to see")),
    )
    assert "answers do not occur in their context" in problems(
        sweep_file(mirror=str(mirror_copy), intermediates=["squad"])
    )


def test_an_encoder_that_is_not_xlm_r_is_refused(sweep_file, tmp_path):
    folder = tmp_path / "bert"
    shutil.copytree(SANDBOX_ENCODERS / "sandbox-s", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    assert "model_type is 'bert', but only xlm-roberta" in problems(sweep_file(scales=[str(folder)]))


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("tokenizer.json", "has no tokenizer.json"), ("model.safetensors", "has no *.safetensors")],
)
def test_an_incomplete_encoder_is_refused(sweep_file, tmp_path, missing, expected):
    folder = tmp_path / "half"
    shutil.copytree(SANDBOX_ENCODERS / "sandbox-s", folder)
    (folder / missing).unlink()
    assert expected in problems(sweep_file(scales=[str(folder)]))


def test_an_encoder_that_was_not_fetched_says_where_to_put_it(sweep_file):
    assert "FacebookAI/xlm-roberta-large" in problems(sweep_file(scales=["large"]))


def test_sequences_longer_than_the_encoder_are_refused(sweep_file):
    assert "max_length 4096 is more than the" in problems(sweep_file(overrides={"mnli": {"max_length": 4096}}))


def test_a_stride_without_room_is_refused(sweep_file):
    message = problems(sweep_file(intermediates=["squad"], overrides={"*": {"max_length": 64, "doc_stride": 60}}))
    assert "doc_stride 60 leaves no room" in message


def test_every_language_of_every_stage_is_looked_at(sweep_file, mirror_copy):
    """Two intermediates read MNLI's translations, in different languages."""
    (mirror_copy / "translated/mnli/de/train.parquet").unlink()
    message = problems(sweep_file(mirror=str(mirror_copy), intermediates=["none", "mnli@de", "mnli@ru"]))
    assert "translated/mnli/de/train.parquet is missing (language de)" in message


def test_language_modelling_needs_the_head_that_the_encoder_was_pretrained_with(sweep_file, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "headless"
    shutil.copytree(SANDBOX_ENCODERS / "sandbox-s", folder)
    kept = {name: w for name, w in load_file(folder / "model.safetensors").items() if not name.startswith("lm_head.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    message = problems(sweep_file(intermediates=["mnli+mlm"], scales=[str(folder)]))
    assert "has no language-model head (lm_head.*), which +mlm needs" in message


def test_text_is_wanted_in_all_of_xtremes_languages_unless_the_sweep_names_some(sweep_file):
    """The sandbox holds five, which are enough where the sweep names them, and never taken for all."""
    intermediates = ["none", "mnli+mlm"]
    held = {"en", "de", "ru", "sw", "zh"}
    assert problems(sweep_file(intermediates=intermediates, languages=sorted(held))) == ""
    missing = re.findall(
        r"text/(\w+)\.parquet is missing", problems(sweep_file(intermediates=intermediates, languages=None))
    )
    assert sorted([*missing, *held]) == sorted(TASKS["panx"].languages)


def test_a_store_that_cannot_be_written_is_refused(sweep_file, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert "cannot write to" in problems(sweep_file(store=str(blocked / "store")))


def test_all_problems_are_told_at_once(sweep_file, mirror_copy):
    rewrite(mirror_copy / MNLI, lambda frame: frame.rename({"premise": "premiss"}))
    message = problems(sweep_file(mirror=str(mirror_copy), scales=["large", "sandbox-s"], languages=["en", "fr"]))
    assert "premiss" in message
    assert "xlm-roberta-large" in message
    assert "has no rows in the language fr" in message


def test_a_mirror_of_a_subset_is_noted(sweep_file):
    sweep = load_sweep(sweep_file())
    notes = check(sweep, mirror_of(sweep)).notes
    assert any(re.fullmatch(r"mnli/train: [\d,]+ of 392,702 rows: a subset", note) for note in notes)
    assert any(re.fullmatch(r"tatoeba/test: [\d,]+ of 1,000 rows: a subset", note) for note in notes)


def notes(path: Path) -> list[str]:
    sweep = load_sweep(path)
    return list(check(sweep, mirror_of(sweep)).notes)


def test_a_translation_of_a_part_of_the_rows_is_noted(sweep_file, mirror_copy):
    """XTREME's translated training files were incomplete (xtreme#37)."""
    file = sweep_file(mirror=str(mirror_copy), intermediates=["none", "mnli@de"])
    assert not [note for note in notes(file) if "translated" in note]
    rewrite(mirror_copy / "translated/mnli/de/train.parquet", lambda frame: frame.head(100))
    assert "mnli/translated: 100 of 3,000 rows: a subset" in notes(file)


def test_more_rows_than_were_published_are_noted(sweep_file, mirror_copy):
    path = mirror_copy / "google/xtreme/tatoeba.deu/validation.parquet"
    rewrite(path, lambda frame: pl.concat([frame] * 5).head(1001))
    told = [note for note in notes(sweep_file(mirror=str(mirror_copy))) if note.startswith("tatoeba/test")]
    assert told == [f"tatoeba/test: {path} has 1,001 rows, more than the 1,000 that are published: this is other data"]


def test_the_embedded_sandbox_is_no_subset(sweep_file, sandbox):
    sweep = load_sweep(sweep_file(mirror=None))
    assert not [note for note in check(sweep, Mirror(sandbox)).notes if "subset" in note]
