"""Ours beside published numbers: aggregated as XTREME does, judged only where the whole official test was scored."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from analysis.benchmark import published
from analysis.benchmark.published import BANDS, MEAN, OFFICIAL_EXAMPLES, RUNS, Band, published_runs
from analysis.benchmark.verify import Verdict, covered, judge, summary, verdict_table, verify
from analysis.benchmark.xtreme import NINE, Score, compared_layer, means, scores
from analysis.records.frame import stage_table, tidy, with_planned
from analysis.records.gather import store_records
from analysis.report.table import table_of
from analysis.report.xtreme_tables import beside_published, points
from launch.commands import results
from launch.study.plan import make_plan
from launch.study.sweep import load_sweep
from tests.analysis import fakes
from trainers.stage import Evaluation, ScaleId, Stage, Training
from trainers.store import EventLog, Store
from trainers.store.files import write_json
from trainers.tasks import TASKS

DEPTH = 7 / 12
WHOLE = {"languages": 15, "examples": 75_150, "seeds": 3}


def training(
    scale: str = "large", intermediate: str = "none", task: str = "xnli", seed: int = 1, parent: str | None = None
) -> Stage:
    """`intermediate → task`, or retrieval where the task trains on nothing."""
    learned = TASKS[task].training_task
    return Stage(
        kind="target" if learned else "retrieval",
        scale=ScaleId(fingerprint=scale, name=scale, source=scale),
        intermediate=intermediate,
        train=(Training(task=learned, recipe=fakes.RECIPE),) if learned else (),
        evaluate=(Evaluation(task=task, languages=TASKS[task].languages, max_length=64),),
        seed=seed,
        parent=parent,
        data={"intermediate": intermediate},
    )


def write(
    root: Path,
    stage: Stage,
    values: dict[str, dict[str, float]],
    *,
    at: int = 9,
    outcome: str = "completed",
    n: int = 0,
) -> Stage:
    """A stage that measured language → metric → value, at the step or layer `at`."""
    entry = Store(root).open(stage)
    log = EventLog(entry)
    log.write("attempt", scale={"non_embedding_parameters": 7, "parameters": 9, "layers": 24, "layer_norm": "post"})
    log.close()
    task = stage.evaluate[0].task
    examples = n or OFFICIAL_EXAMPLES[task] // len(TASKS[task].languages) + 1
    for language, by_metric in values.items():
        for metric, value in by_metric.items():
            facts = {"task": task, "language": language, "metric": metric, "value": value, "examples": examples}
            measure = "zero_shot" if stage.train else "retrieval"
            fakes.append_measured(root, stage.key, measure=measure, at=at, chance=0.3, **facts)
    if outcome != "running":
        write_json(entry.folder / "result.json", fakes.result(outcome))
    return stage


def everywhere(task: str, english: float, others: float, metric: str = "accuracy") -> dict[str, dict[str, float]]:
    return {language: {metric: english if language == "en" else others} for language in TASKS[task].languages}


def found(root: Path, planned: tuple[Stage, ...] = ()) -> list[Score]:
    records = with_planned(store_records(root), planned)
    return scores(stage_table(records), tidy(records), DEPTH)


def test_a_score_is_the_mean_over_languages_with_english_and_over_seeds(tmp_path):
    write(tmp_path, training(seed=1), everywhere("xnli", 0.9, 0.75))
    write(tmp_path, training(seed=2), {**everywhere("xnli", 0.88, 0.73), "xx": {"accuracy": 0.0}})
    (score,) = found(tmp_path)
    assert score.points == pytest.approx((100 * (0.89 + 14 * 0.74) / 15,))
    assert (score.seeds, score.languages, score.gaps) == (2, 15, [])
    assert covered(score) == "2 seeds"


def test_a_diverged_run_and_one_whose_intermediate_diverged_are_shown_and_never_averaged(tmp_path):
    first = write(tmp_path, training(intermediate="mnli", task="pawsx"), {}, outcome="diverged")
    write(tmp_path, training(seed=1), everywhere("xnli", 0.9, 0.8))
    write(tmp_path, training(seed=2), everywhere("xnli", 0.33, 0.33), outcome="diverged")
    write(tmp_path, training(seed=3), everywhere("xnli", 0.4, 0.4), outcome="running")
    write(tmp_path, training(intermediate="mnli", parent=first.key), everywhere("xnli", 0.5, 0.5))
    by_arm = {(score.intermediate, score.task): score for score in found(tmp_path)}
    plain = by_arm["none", "xnli"]
    assert plain.points == pytest.approx((100 * (0.9 + 14 * 0.8) / 15,))
    assert covered(plain) == "1 seed, 1 diverged, 1 unfinished"
    assert by_arm["mnli", "xnli"].points == ()
    assert judge(by_arm["mnli", "xnli"], None).word == "diverged"
    assert by_arm["mnli", "pawsx"].diverged == 1


def test_question_answering_has_f1_and_exact_match(tmp_path):
    both = {language: {"f1": 0.76, "exact_match": 0.6} for language in TASKS["xquad"].languages}
    write(tmp_path, training(task="xquad"), both)
    (score,) = found(tmp_path)
    assert score.points == pytest.approx((76, 60))
    assert score.overall == pytest.approx(68)
    row = beside_published([score]).rows[0]
    assert row[2:7] == ("xquad", "76.0 / 60.0", "76.6 / 60.8", "−0.6", "1 seed")


@pytest.mark.slow
def test_retrieval_counts_at_the_compared_layer(tmp_path):
    stage = training(task="tatoeba")
    for layer in range(25):
        write(tmp_path, stage, everywhere("tatoeba", 0, layer / 100), at=layer)
    (score,) = found(tmp_path)
    assert (score.layer, *score.points) == (14, pytest.approx(14))
    assert covered(score) == "layer 14"  # one run serves all seeds
    assert judge(score, BANDS["large", "tatoeba"]).word == "outside"
    other = judge(
        Score("large", "none", "tatoeba", (31.0,), languages=36, examples=31_692, layer=10), BANDS["large", "tatoeba"]
    )
    assert (other.word, other.why) == ("not covered", "the band is for layer 14, retrieval was compared at layer 10")


@pytest.mark.parametrize(
    ("points", "word"),
    [(79.0, "inside"), (81.0, "inside"), (78.99, "outside"), (81.01, "outside"), (33.3, "outside")],
)
def test_the_bounds_belong_to_the_band(points, word):
    assert judge(Score("large", "none", "xnli", (points,), **WHOLE), BANDS["large", "xnli"]).word == word


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"languages": 5}, "5 of 15 languages"),
        ({"examples": 1_500}, "1,500 of 75,150 examples"),
        ({"languages": 5, "examples": 500}, "5 of 15 languages, 500 of 75,150 examples"),
    ],
)
def test_part_of_the_test_is_never_judged(change, told):
    verdict = judge(Score("large", "none", "xnli", (20.0,), **{**WHOLE, **change}), BANDS["large", "xnli"])
    assert (verdict.word, verdict.why) == ("not covered", told)


def test_a_few_rows_that_the_hub_lost_are_not_a_part():
    assert (
        judge(Score("large", "none", "xnli", (80.0,), **{**WHOLE, "examples": 75_149}), BANDS["large", "xnli"]).why
        == ""
    )


def test_what_was_not_run_is_missing_and_other_arms_are_not_judged(tmp_path):
    planned = (training(), training(intermediate="mnli"), training("sandbox-s", task="pawsx"))
    verdicts = verify(tmp_path, planned, DEPTH)
    assert [(verdict.score.scale, verdict.word) for verdict in verdicts] == [
        ("large", "missing"),
        ("sandbox-s", "missing"),
    ]
    assert summary(verdicts) == "nothing could be judged: 2 missing"
    assert "no baseline" in summary([])


def test_xtremes_mean_needs_all_nine_tasks_in_full():
    all_nine = [
        Score("large", "none", task, (70.0, 50.0) if TASKS[task].family == "span" else (70.0,), 1,
              languages=len(TASKS[task].languages), examples=OFFICIAL_EXAMPLES.get(task, 1))
        for task in NINE
    ]  # fmt: skip
    (overall,) = means(all_nine)
    assert overall.points == pytest.approx(((6 * 70 + 3 * 60) / 9,))
    assert means(all_nine[1:]) == []
    rows = beside_published(all_nine).rows
    assert [row[3:5] for row in rows if row[2] == MEAN] == [("66.7", "68.1")]


def test_the_best_intermediate_stands_beside_the_published_best():
    found_ = [Score("large", name, "tydiqa", values) for name, values in
              {"none": (65.0, 45.0), "mnli": (70.0, 50.0), "squad": (75.0, 55.0), "qqp": ()}.items()]  # fmt: skip
    rows = {row[1]: row for row in beside_published(found_).rows}
    assert rows["best: squad"][3:6] == ("75.0 / 55.0", "76.0", "−1.0")
    assert rows["none"][4] == "65.1 / 45.0 (recalled)"


def test_published_numbers_are_of_known_scales_tasks_and_metrics():
    for run in RUNS:
        assert set(run.scores) <= {*TASKS, MEAN}
        assert run.recalled <= set(run.scores)
        assert all(0 < value < 100 for values in run.scores.values() for value in values)
        assert run.source
        assert run.setting
    large = RUNS[0].scores
    by_hand = sum(sum(large[task]) / len(large[task]) for task in NINE) / len(NINE)
    assert by_hand == pytest.approx(large[MEAN][0], abs=0.1)


@pytest.mark.parametrize("where", sorted(BANDS))
def test_every_band_has_a_published_number_in_or_near_it(where):
    scale, task = where
    values = [run.scores[task][0] for run in published_runs(scale) if run.intermediate == "none" and task in run.scores]
    assert any(BANDS[where].low - 0.5 <= value <= BANDS[where].high + 0.5 for value in values)


def test_scales_are_known_by_their_name_or_the_hubs_folder():
    assert published_runs("xlm-roberta-large") == published_runs("large") != []
    assert published_runs("sandbox-m") == []


def test_the_report_has_the_table_only_for_published_scales(tmp_path):
    write(tmp_path / "a", training(), everywhere("xnli", 0.88, 0.79))
    keys = [training().key]
    page = fakes.report(tmp_path / "a", keys, tmp_path / "report", "s", figures=False, resamples=20).read_text()
    assert "Beside published numbers" in page
    assert "79.6" in page
    assert "translate-train-all" in page
    assert "−4.0" not in page  # nothing is said of the distance to another setting
    small = write(tmp_path / "b", training("sandbox-s"), everywhere("xnli", 0.88, 0.79))
    page = fakes.report(tmp_path / "b", [small.key], tmp_path / "other", "s", figures=False, resamples=20).read_text()
    assert "Beside published numbers" not in page


def sweep_file(folder: Path) -> Path:
    path = folder / "sweep.yaml"
    content = {"name": "s", "store": str(folder / "store"), "scales": ["sandbox-s"], "seeds": [1], "recipes": "sandbox"}
    path.write_text(yaml.safe_dump({**content, "intermediates": ["none"], "targets": ["xnli"]}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("value", "code", "word"), [(0.5, 1, "outside"), (0.8, 0, "inside")])
def test_retain_verify_exits_with_1_when_a_cell_is_outside(tmp_path, monkeypatch, capsys, value, code, word):
    monkeypatch.setitem(published.BANDS, ("sandbox-s", "xnli"), Band(79, 81, "for this test"))
    path = sweep_file(tmp_path)
    assert results.verify(results.Verify(path)) == 0
    assert "nothing could be judged: 1 missing" in capsys.readouterr().out
    (stage,) = make_plan(load_sweep(path)).stages
    write(tmp_path / "store", stage, everywhere("xnli", value, value))
    assert results.verify(results.Verify(path)) == code
    assert f"1 {word}" in capsys.readouterr().out


@pytest.mark.slow
def test_retain_submission_tells_what_is_missing(tmp_path, capsys):
    path = sweep_file(tmp_path)
    with pytest.raises(ValueError, match="has not finished") as error:
        results.submission(results.Submission(path, out=tmp_path / "out"))
    assert "pawsx: is not a target of this sweep" in str(error.value)
    with pytest.raises(ValueError, match="no intermediate 'mnli'"):
        results.submission(results.Submission(path, out=tmp_path / "out", intermediate="mnli"))


@given(st.floats(0, 100), st.integers(0, 15), st.integers(0, 80_000), st.integers(0, 5), st.integers(0, 2))
def test_only_the_whole_test_is_judged_and_by_its_band_alone(points, languages, examples, seeds, diverged):
    score = Score("large", "none", "xnli", (points,), seeds, diverged, 0, languages, examples)
    verdict = judge(score, BANDS["large", "xnli"])
    assert (verdict.word in ("inside", "outside")) == (not score.gaps)
    if not score.gaps:
        assert (verdict.word == "inside") == (79 <= points <= 81)
    assert judge(score, None).word == "not covered"
    assert judge(Score("large", "none", "xnli", (), diverged=diverged), None).word == (
        "diverged" if diverged else "missing"
    )


@given(st.integers(0, 15), st.integers(0, 80_000))
def test_more_coverage_never_opens_a_gap(languages, examples):
    fewer = Score("large", "none", "xnli", (80.0,), languages=languages, examples=examples)
    more = replace(fewer, languages=min(languages + 1, 15), examples=examples + 1000)
    assert len(more.gaps) <= len(fewer.gaps)


@given(st.floats(0, 1), st.integers(1, 48))
def test_the_compared_layer_is_one_of_the_encoder_and_goes_deeper_with_the_depth(depth, layers):
    assert 0 <= compared_layer(depth, layers) <= layers
    assert compared_layer(depth, layers) <= compared_layer(min(depth + 0.1, 1), layers)
    assert (compared_layer(7 / 12, 24), compared_layer(7 / 12, 12)) == (14, 7)


@given(st.lists(st.sampled_from(["inside", "outside", "not covered", "missing", "diverged"]), max_size=9), st.randoms())
def test_the_summary_counts_every_verdict(words, random):
    verdicts = [Verdict(Score("large", "none", "xnli", ()), None, word, "") for word in words]
    text = summary(verdicts)
    assert sum(int(one) for one in re.findall(r"\d+", text)) == len(words)
    assert ("nothing" in text) == (not {"inside", "outside"} & set(words))
    random.shuffle(verdicts)
    assert summary(verdicts) == text


@given(st.permutations(range(len(NINE))))
def test_the_mean_of_nine_does_not_hang_on_their_order(order):
    scores = [
        Score("large", "none", task, (60.0 + place, 50.0) if TASKS[task].family == "span" else (60.0 + place,), 3,
              languages=len(TASKS[task].languages), examples=OFFICIAL_EXAMPLES.get(task, 1))
        for place, task in enumerate(NINE)
    ]  # fmt: skip
    (overall,) = means([scores[place] for place in order])
    assert overall.points == pytest.approx((np.mean([score.overall for score in scores]),))


def test_points_are_shown_with_a_decimal_and_without_any_as_a_dash():
    shown = table_of([points("x")], [((79.16, math.nan),), ((76.6, 60.82),), ((math.nan, math.nan),)])
    assert shown.rows == [("79.2",), ("76.6 / 60.8",), ("–",)]


@given(st.sampled_from(["base", "large", "xl", "xxl", "sandbox-m", "xlm-roberta-large", "facebook/xlm-roberta-xl"]))
def test_a_published_name_is_its_own(scale):
    name = published.published_name(scale)
    assert published.published_name(name) == name
    assert published_runs(name) == published_runs(scale)
    assert published.band(name, "xnli") == published.band(scale, "xnli")


def test_the_verdicts_are_a_row_each_and_no_name_is_markup():
    hostile = Verdict(Score("[red]a", "none", "bucc", (71.04,)), None, "not covered", "[b]why")
    sound = Verdict(Score("large", "none", "xnli", (79.2,), **WHOLE), BANDS["large", "xnli"], "inside", "")
    screen = Console(width=200, record=True, file=io.StringIO())
    screen.print(verdict_table([hostile, sound], "[i]s"))
    text = screen.export_text()
    for told in ("[red]a", "[b]why", "[i]s: baselines", "bucc2018", "71.0", "79.0 to 81.0", "inside"):
        assert told in text
    assert verdict_table([hostile, sound], "s").row_count == 2
