"""`retain wandb dashboard`: one W&B report of a sweep, made or made anew by W&B's public reports API.

It is known by its title, so that running the command again, from anywhere, updates what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launch.sweep import SweepError

if TYPE_CHECKING:
    from analysis.wandb_api import Place
    from launch.plan import Plan

INSTALL = "the dashboard needs W&B's reports API, which is a package of its own: pip install wandb-workspaces"


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
    from analysis.wandb_api import told_in_words

    title = f"retain: {place.sweep}"
    with told_in_words():
        report = reports.Report(project=place.project, entity=place.entity, title=title, width="fluid")
        report.description = f"Written by `retain wandb dashboard`, which writes it anew: {place}"
        report.blocks = _blocks(reports, place, plan)
        for one in api.reports(f"{place.entity}/{place.project}"):
            if one.display_name == title:
                report.id = one.id
        report.save()
        return report.url


def _blocks(reports: Any, place: Place, plan: Plan) -> list[Any]:
    """Retention for each scale, what each intermediate brings, and what it took."""
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
        reports.PanelGrid(runsets=runsets, panels=scores),
        reports.H1("Cost"),
        reports.PanelGrid(runsets=runsets, panels=cost),
    ]


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

    targets = sorted({one.task for stage in plan.stages if stage.kind == "target" for one in stage.evaluate})
    return {target: f"zero_shot/{target}/en/{TASKS[target].metric}" for target in targets}
