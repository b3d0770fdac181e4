"""`retain wandb dashboard`: one W&B report of a sweep, made or made anew by W&B's public reports API.

It is known by its title, so that running the command again, from anywhere, updates what is there.  W&B draws its
curves and bars from the runs; it has no heat map and knows no baseline, so those of gains are drawn here, from the
store, and shown as the images of a run of their own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.study.sweep import SweepError
from trainers.stage import digest

if TYPE_CHECKING:
    from analysis.records.wandb_api import Place
    from analysis.report.figures.drawing import Drawing
    from launch.study.plan import Plan

INSTALL = "the dashboard needs W&B's reports API, which is a package of its own: pip install wandb-workspaces"
GAINS = (
    "Gain: score through an intermediate minus score without it. Drawn from the store when this report was last "
    "written, as `retain report` draws them."
)
NO_GAINS = "No gains yet: no target has scores both through an intermediate and without one."
UPLOAD_S = 120.0


def write_dashboard(api: Any, place: Place, plan: Plan) -> str:
    """Create the sweep's report, or replace what it shows; its address.

    Raises:
        SweepError: W&B's reports API is not installed.
        WandbError: W&B cannot be asked.
    """
    try:
        import wandb_workspaces.reports.v2 as reports
    except ImportError as error:
        raise SweepError(INSTALL) from error
    from analysis.records.wandb_api import told_in_words

    title = f"retain: {place.sweep}"
    with told_in_words():
        report = reports.Report(project=place.project, entity=place.entity, title=title, width="fluid")
        report.description = f"Written by `retain wandb dashboard`, which writes it anew: {place}"
        report.blocks = _blocks(reports, place, plan, _show_heat_maps(place, plan))
        for existing in _reports(api, place):
            if existing.display_name == title:
                report.id = existing.id
        report.save()
        return report.url


def _reports(api: Any, place: Place) -> list[Any]:
    """The project's reports.

    Raises:
        WandbError: there is no such project.
    """
    from analysis.records.wandb_api import WandbError

    try:
        return list(api.reports(f"{place.entity}/{place.project}"))
    except ValueError as error:
        raise WandbError(f"W&B: {error}. Nothing was sent there yet: run `retain wandb sync` first.") from error


def _show_heat_maps(place: Place, plan: Plan) -> list[str]:
    """Log the heat maps of gains to their run, one more step of it; the names of its images."""
    import wandb

    from trainers.store.tracking import quiet

    with tempfile.TemporaryDirectory(prefix="retain-wandb-") as folder:
        drawn = {
            drawing.name: wandb.Image(file, caption=drawing.caption) for drawing, file in _heat_maps(plan, Path(folder))
        }
        if not drawn:
            return []
        # In no group: whoever reads the sweep's runs wants its stages.
        run = wandb.init(
            id=_figures(place),
            name=f"{place.sweep}: figures",
            job_type="figures",
            project=place.project,
            entity=place.entity,
            dir=folder,
            resume="allow",
            mode="online",
            reinit="create_new",
            settings=quiet(init_timeout=UPLOAD_S, finish_timeout=UPLOAD_S, finish_timeout_raises=True),
        )
        run.log(drawn)
        run.finish()
    return list(drawn)


def _heat_maps(plan: Plan, folder: Path) -> Iterator[tuple[Drawing, Path]]:
    """Gains as the store has them now, one figure a scale and a difference of scales, each as a PNG."""
    from analysis.reading import read_study
    from analysis.report.figures.drawing import drawings
    from analysis.report.figures.gains import gain_heat_map

    sweep, keys = plan.sweep, {stage.key for stage in plan.stages}
    depth = sweep.evaluation.retrieval_depth
    study = read_study(sweep.store, keys, sweep.name, plan.stages, retrieval_depth=depth).study
    for number, drawing in enumerate(drawings(gain_heat_map(study), study, sweep.name)):
        file = folder / f"{number}.png"
        file.write_bytes(drawing.png)
        yield drawing, file


def _figures(place: Place) -> str:
    """Id of the run that shows a sweep's figures."""
    return digest({"figures of": place.sweep})[:16]


def _blocks(reports: Any, place: Place, plan: Plan, heat_maps: list[str]) -> list[Any]:
    """Retention for each scale, what each intermediate brings, and what it took.

    Args:
        heat_maps: names of the images.
    """
    blocks: list[Any] = [reports.H1("Retention"), reports.P("Scores on the intermediate task during target training.")]
    for scale in plan.scales:
        runs = _runs(reports, place, scale, "target")
        panels = [
            reports.LinePlot(title=curve, x="target_step", y=[curve], groupby=reports.Config("stage.intermediate"))
            for curve in _curves(plan, scale)
        ]
        blocks += [reports.H2(scale), reports.PanelGrid(runsets=[runs], panels=panels)]
    runsets = [_runs(reports, place, scale, "target") for scale in plan.scales]
    by_arm = reports.Config("stage.intermediate")
    scores = [
        reports.BarPlot(title=f"{target}, English", metrics=[curve], groupby=by_arm)
        for target, curve in _zero_shot(plan).items()
    ]
    cost = [
        reports.BarPlot(title=f"seconds: {part}", metrics=[f"seconds.{part}"], groupby=by_arm)
        for part in ("train", "probe", "evaluate")
    ]
    return [
        *blocks,
        reports.H1("What each intermediate brings"),
        *_gains(reports, place, heat_maps),
        reports.PanelGrid(runsets=runsets, panels=scores),
        reports.H1("Cost"),
        reports.PanelGrid(runsets=runsets, panels=cost),
    ]


def _gains(reports: Any, place: Place, heat_maps: list[str]) -> list[Any]:
    """A heat map of intermediate × target for each scale, and for each difference of scales."""
    if not heat_maps:
        return [reports.P(NO_GAINS)]
    run = reports.Runset(
        entity=place.entity, project=place.project, name="figures", filters=f"ID = '{_figures(place)}'"
    )
    whole_width = reports.Layout(w=24, h=10)
    panels = [
        reports.MediaBrowser(title=name, media_keys=[name], num_columns=1, layout=whole_width) for name in heat_maps
    ]
    return [reports.P(GAINS), reports.PanelGrid(runsets=[run], panels=panels)]


def _runs(reports: Any, place: Place, scale: str, kind: str) -> Any:
    filters = f"Group = '{place.sweep}' and JobType = '{kind}' and Config('stage.scale.name') = '{scale}'"
    return reports.Runset(entity=place.entity, project=place.project, name=scale, filters=filters)


def _curves(plan: Plan, scale: str) -> list[str]:
    """The retention curves in English of what is probed at a scale: stored head, then refit."""
    from trainers.tasks import TASKS

    probed = {probe.task for stage in plan.stages if stage.scale.name == scale for probe in stage.probes}
    return [f"{head}/{task}/en/{TASKS[task].metric}" for task in sorted(probed) for head in ("stored", "refit")]


def _zero_shot(plan: Plan) -> dict[str, str]:
    from trainers.tasks import TASKS

    targets = sorted(
        {evaluation.task for stage in plan.stages if stage.kind == "target" for evaluation in stage.evaluate}
    )
    return {target: f"zero_shot/{target}/en/{TASKS[target].metric}" for target in targets}
