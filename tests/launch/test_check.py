"""`retain check` finds every problem of data, encoders and store before anything runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from launch.check import check
from launch.plan import mirror_of
from launch.sweep import load_sweep
from trainers.data.mirror import Mirror
from trainers.scales import SANDBOX_ENCODERS
from trainers.tasks import TASKS

MNLI = "nyu-mll/glue/mnli/train.parquet"
XNLI = "google/xtreme/XNLI/test.parquet"


def problems(path: Path) -> str:
    sweep = load_sweep(path)
    return "\n".join(check(sweep, mirror_of(sweep)).problems)


def rewrite(path: Path, change) -> None:
    change(pl.read_parquet(path)).write_parquet(path)


def test_the_sandbox_has_no_problems(sweep_file):
    assert problems(sweep_file(targets=["xnli", "pawsx", "xquad", "tatoeba"], intermediates=["mnli", "squad"])) == ""


def test_a_missing_mirror_is_named(sweep_file):
    assert "no-such-folder is no folder" in problems(sweep_file(mirror="/no-such-folder"))


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
    assert "is no readable parquet file" in problems(sweep_file(mirror=str(mirror_copy)))


def test_answers_that_do_not_occur_are_counted(sweep_file, mirror_copy):
    rewrite(
        mirror_copy / "rajpurkar/squad/plain_text/train.parquet",
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
    assert "holds no language-model head (lm_head.*), which +mlm trains further" in message


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


def test_the_embedded_sandbox_is_no_subset(sweep_file, sandbox):
    sweep = load_sweep(sweep_file(mirror=None))
    assert not [note for note in check(sweep, Mirror(sandbox)).notes if "subset" in note]
