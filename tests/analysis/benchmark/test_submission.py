"""XTREME's readers get from our folder the scores that we have; and what no folder may hold is refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import mean

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from analysis.benchmark.submission import FORMATS, Written, choose_arm, write_submission
from analysis.benchmark.xtreme import NAMES, NINE, metrics
from tests.analysis import fakes, nine, xtreme_reader
from trainers.data.tokenise import chosen_rows
from trainers.stage import Stage
from trainers.store.files import write_json
from trainers.tasks import TASKS


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> nine.World:
    return nine.World(tmp_path_factory.mktemp("nine"), nine.stages()).build()


@pytest.fixture
def world(built: nine.World, tmp_path: Path) -> nine.World:
    """A copy to break."""
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    return nine.World(tmp_path, built.stages)


def write(world: nine.World, out: Path, **options) -> Written:
    arm = choose_arm(world.stages, None, "mnli", 1)
    return write_submission(world.store, world.mirror, arm, out, **{"layer": nine.LAYER, **options})


def rewrite(world: nine.World, name: str, **columns: list) -> None:
    """Change columns of one file of predictions."""
    path = world.entry_of(name.split("-")[0]).predictions / f"{name}.parquet"
    pl.read_parquet(path).with_columns(pl.Series(key, values) for key, values in columns.items()).write_parquet(path)


@pytest.mark.slow
def test_xtreme_reads_our_own_scores_from_our_folder(built, tmp_path):
    written = write(built, tmp_path / "out")
    assert written.gaps == ()
    assert len(written.files) == 162
    theirs = xtreme_reader.evaluate(tmp_path / "out", built.labels)
    assert set(theirs) == set(xtreme_reader.LANGUAGES) == {NAMES.get(task, task) for task in NINE}
    for task in NINE:
        for metric in metrics(task):
            ours = 100 * mean(built.scores[task][metric])
            assert theirs[NAMES.get(task, task)][metric] == pytest.approx(ours, abs=1e-9), (task, metric)
            assert 0 < ours < 100, (task, metric)


def test_languages_are_xtremes():
    for task in NINE:
        assert sorted(xtreme_reader.LANGUAGES[NAMES.get(task, task)].split()) == sorted(TASKS[task].languages)


@pytest.mark.slow
def test_the_formats_are_those_of_the_mock_submission(built, tmp_path):
    write(built, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(xtreme_reader.LANGUAGES)
    assert set((tmp_path / "xnli" / "test-ar.tsv").read_text().split("\n")) <= {*TASKS["xnli"].labels, ""}
    assert set((tmp_path / "pawsx" / "test-de.tsv").read_text()) <= {"0", "1", "\n"}
    panx = (tmp_path / "panx" / "test-af.tsv").read_bytes()
    assert panx.count(b"\n\n") == nine.ROWS - 1
    assert panx.endswith(b"\n")
    assert not panx.endswith(b"\n\n")
    bucc = (tmp_path / "bucc2018" / "test-de.tsv").read_text().splitlines()
    assert bucc
    assert all(len(line.split("\t")) == 2 and line.startswith("de-") for line in bucc)
    assert sorted(path.suffix for path in (tmp_path / "tydiqa").iterdir()) == [".json"] * 9
    answers = (tmp_path / "tydiqa" / "test-ar.json").read_bytes()
    assert answers.isascii()
    assert all(key.startswith("arabic-") for key in json.loads(answers))


@pytest.mark.slow
def test_tatoeba_follows_xtremes_alphabetical_english_sentences(built, tmp_path):
    write(built, tmp_path)
    rows = built.mirror.table(TASKS["tatoeba"].test, "de")["target_sentence"].to_pylist()
    frame = pl.read_parquet(built.entry_of("tatoeba").predictions / f"tatoeba-layer{nine.LAYER:02d}-de.parquet")
    by_sentence = {text.strip(): found for text, found in zip(rows, frame["prediction"], strict=True)}
    lines = (tmp_path / "tatoeba" / "test-de.tsv").read_text().split()
    assert lines == [by_sentence[text] for text in sorted(by_sentence)]


@pytest.mark.slow
def test_tabs_and_breaks_in_an_answer_survive(world, tmp_path):
    hostile = ["a\tb", "a\nb\r\n", '"', "\\", "\u2028", ""]
    rewrite(world, "xquad-en", prediction=hostile)
    write(world, tmp_path / "out")
    assert list(json.loads((tmp_path / "out/xquad/test-en.json").read_text()).values()) == hostile


@pytest.mark.slow
def test_no_mined_pair_is_an_empty_file(world, tmp_path):
    name = f"bucc-layer{nine.LAYER:02d}-de"
    height = pl.read_parquet(world.entry_of("bucc").predictions / f"{name}.parquet").height
    rewrite(world, name, prediction=[""] * height)
    write(world, tmp_path / "out")
    assert (tmp_path / "out/bucc2018/test-de.tsv").read_bytes() == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "predictions", "told"),
    [
        ("xnli-en", ["neutral\n", *["neutral"] * 5], "'neutral\\n' is none of entailment, neutral, contradiction"),
        ("pawsx-en", ["2"] * 6, "'2' is none of 0, 1"),
        ("panx-en", [["O\tO"], *[["O"]] * 5], "'O\\tO' is none of O, B-PER"),
        ("panx-en", [["O"], [], *[["O"]] * 4], "sentence 1 has no tags"),
        ("tatoeba-layer02-de", ["6", *["0"] * 5], "'6' is not the place of one of 6 sentences"),
        ("tatoeba-layer02-de", ["-1", *["0"] * 5], "'-1' is not the place"),
    ],
)
def test_a_prediction_that_breaks_the_format_is_shown_and_nothing_is_written(world, tmp_path, name, predictions, told):
    rewrite(world, name, prediction=predictions)
    for partial in (False, True):
        with pytest.raises(ValueError, match="nothing was written") as error:
            write(world, tmp_path / "out", partial=partial)
        assert told in str(error.value)
        assert f"{name}.parquet" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pair", ["de-1", "de-1\ten-1\tx", "de-1\ten-\n1", "\ten-1", " de-1\ten-1"])
def test_a_pair_that_is_not_two_ids_is_refused(pair):
    with pytest.raises(ValueError, match="not two ids"):
        FORMATS["mining"][1](TASKS["bucc"], [pair], [])


def test_a_question_id_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match="the question id 'q' occurs more than once"):
        FORMATS["span"][1](TASKS["xquad"], ["a", "b"], ["q", "q"])


def test_predictions_of_another_evaluation_are_refused(world, tmp_path):
    path = world.entry_of("xnli").predictions / "xnli-en.parquet"
    pl.read_parquet(path).head(3).write_parquet(path)
    with pytest.raises(ValueError, match="holds 3 predictions, but 6 examples were to be evaluated"):
        write(world, tmp_path / "out", partial=True)


@pytest.mark.slow
def test_what_is_missing_is_named_all_at_once(world, tmp_path):
    (world.entry_of("xnli").folder / "result.json").unlink()
    write_json(world.entry_of("pawsx").folder / "result.json", fakes.result("diverged"))
    (world.entry_of("panx").predictions / "panx-jv.parquet").unlink()
    with pytest.raises(ValueError, match="no whole submission") as error:
        write(world, tmp_path / "out")
    told = str(error.value)
    assert "has not finished" in told
    assert "diverged: development accuracy 0.400 is not above" in told
    assert "panx-jv.parquet does not exist" in told
    assert "--partial" in told
    assert not (tmp_path / "out").exists()
    written = write(world, tmp_path / "out", partial=True)
    assert len(written.gaps) == 3
    assert not {"xnli", "pawsx"} & {path.parent.name for path in written.files}
    assert not (tmp_path / "out/panx/test-jv.tsv").exists()


def test_a_diverged_intermediate_sends_nothing(world, tmp_path):
    write_json(world.store.entry(world.stages[0].key).folder / "result.json", fakes.result("diverged"))
    with pytest.raises(ValueError, match="nothing to write") as error:
        write(world, tmp_path / "out", partial=True)
    assert str(error.value).count("the intermediate of stage") == 9


def test_another_layer_than_was_measured_is_missing(built, tmp_path):
    with pytest.raises(ValueError, match=r"tatoeba-layer09-de\.parquet does not exist"):
        write(built, tmp_path / "out", layer=9)


@pytest.mark.slow
def test_a_subset_is_refused_and_partially_keeps_each_answer_with_its_question(tmp_path):
    """The subset is a shuffle's: its ids are not the first ones."""
    world = nine.World(tmp_path / "world", nine.stages(max_examples=4)).build()
    kept = chosen_rows(nine.ROWS, 4).tolist()
    assert kept != [0, 1, 2, 3]
    for stage in world.stages:
        for path in world.store.entry(stage.key).predictions.glob("*.parquet"):
            if path.name.startswith(("xquad", "tatoeba")):
                short = pl.read_parquet(path)[kept].with_columns(pl.Series("example", range(4)))
                if path.name.startswith("tatoeba"):
                    short = short.with_columns(pl.Series("prediction", ["0", "1", "2", "3"]))
                short.write_parquet(path)
            elif not path.name.startswith("bucc"):
                path.unlink()
    with pytest.raises(ValueError, match="xquad de: 4 of 6 examples were evaluated"):
        write(world, tmp_path / "out")
    write(world, tmp_path / "out", partial=True)
    ids = world.mirror.table(TASKS["xquad"].test, "de")["id"].to_pylist()
    assert list(json.loads((tmp_path / "out/xquad/test-de.json").read_text())) == [ids[row] for row in kept]
    english = world.mirror.table(TASKS["tatoeba"].test, "de")["target_sentence"].to_pylist()
    order = sorted(range(4), key=lambda place: english[kept[place]].strip())
    assert (tmp_path / "out/tatoeba/test-de.tsv").read_text().split() == [str(place) for place in order]


def test_a_folder_that_holds_something_is_left_alone(built, tmp_path):
    (tmp_path / "old.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not an empty folder"):
        write(built, tmp_path)
    with pytest.raises(ValueError, match="is not an empty folder"):
        write(built, tmp_path / "old.txt")
    assert (tmp_path / "old.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("scale", "intermediate", "seed", "told"),
    [
        (None, "mnli", 1, "no scale was named: choose one of sandbox-m, large by --scale"),
        ("xl", "mnli", 1, "the sweep has no scale 'xl': choose one of sandbox-m, large"),
        ("large", "qqp", 1, "the sweep has no intermediate 'qqp': choose one of mnli"),
        ("large", "mnli", 3, "mnli has no seed 3: choose one of 1, 2"),
    ],
)
def test_an_arm_that_is_not_there_is_told_with_those_that_are(scale, intermediate, seed, told):
    stages = [*nine.stages(), *nine.stages("large"), *nine.stages("large", seed=2)]
    with pytest.raises(ValueError, match=told):
        choose_arm(stages, scale, intermediate, seed)


def searched() -> list[Stage]:
    """Each stage of one arm at two points."""
    return [
        stage.model_copy(update={"variant": {"epochs": epochs}, "parent": f"{epochs}"})
        for stage in nine.stages()
        for epochs in (1, 2)
    ]


@pytest.mark.parametrize("settings", [(), ("epochs=3",), ("epochs=1", "epochs=2"), ("warmup=1",), ("nonsense",)])
def test_an_arm_of_a_search_wants_its_point(settings):
    with pytest.raises(ValueError, match="name by --settings one of epochs=1, epochs=2"):
        choose_arm(searched(), None, "mnli", 1, settings)


def test_an_arm_of_a_search_is_that_of_its_point():
    arm = choose_arm(searched(), None, "mnli", 1, ("epochs=2",))
    assert len(arm.stages) == len([stage for stage in nine.stages() if stage.evaluate])
    assert {stage.variant["epochs"] for stage in arm.stages} == {2}
    assert arm.name == f"{arm.scale} · mnli · epochs=2 · seed 1"


def test_settings_without_a_search_are_told():
    with pytest.raises(ValueError, match="epochs=2: this arm is not searched, leave out --settings"):
        choose_arm(nine.stages(), None, "mnli", 1, ("epochs=2",))


def test_the_pretrained_encoders_retrieval_serves_every_seed():
    stages = fakes.stages((1, 2))
    arm = choose_arm(stages, "small", "none", 2)
    assert sorted((stage.kind, stage.seed) for stage in arm.stages) == [("retrieval", 0), *[("target", 2)] * 3]


def texts_of(family: str, task: str, predictions: list, keys: list[str]) -> str:
    return FORMATS[family][1](TASKS[task], predictions, keys)


@pytest.mark.slow
@examples(max_examples=50)
@given(st.dictionaries(st.text(), st.text()))
def test_answers_are_read_back_from_ascii(answers):
    text = texts_of("span", "xquad", list(answers.values()), list(answers))
    assert text.isascii()
    assert json.loads(text) == answers


@examples(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(TASKS["panx"].labels), min_size=1), min_size=1))
def test_sentences_of_tags_are_told_apart(sentences):
    text = texts_of("tagging", "panx", sentences, [])
    assert [one.split() for one in text.split("\n\n")] == sentences


@pytest.mark.slow
@examples(max_examples=50)
@given(st.lists(st.tuples(st.text("abé"), st.integers(0, 99)), unique_by=lambda one: one[0]))
def test_each_english_sentence_keeps_its_foreign_one_in_alphabetical_order(rows):
    """With breaks about it, of which XTREME strips the sentences before it sorts them."""
    predictions = [str(number % len(rows)) for _, number in rows]
    text = texts_of("retrieval", "tatoeba", predictions, [f" {sentence}\n" for sentence, _ in rows])
    found = dict(zip(sorted(sentence for sentence, _ in rows), text.split(), strict=True))
    assert found == {sentence: told for (sentence, _), told in zip(rows, predictions, strict=True)}


@pytest.mark.slow
@examples(max_examples=25)
@given(st.sampled_from(list(fakes.SCALES)), st.sampled_from(fakes.INTERMEDIATES), st.sampled_from([1, 2]), st.randoms())
def test_an_arm_is_all_of_its_scale_intermediate_and_seed_and_nothing_else(scale, intermediate, seed, random):
    stages = fakes.stages((1, 2))
    random.shuffle(stages)
    arm = choose_arm(stages, scale, intermediate, seed)
    ends = [one for one in stages if (one.scale.name, one.intermediate) == (scale, intermediate) and one.evaluate]
    own = [one for one in ends if one.seed == seed or (one.kind == "retrieval" and not one.parent)]
    assert {one.key for one in arm.stages} == {one.key for one in own}
    assert len(arm.stages) == len(own) == 4
    assert arm.name == f"{scale} · {intermediate} · seed {seed}"
