"""The figure of cost: what each intermediate adds against what it takes, one panel a scale."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.report.figures.cost import Priced, priced, time_unit
from analysis.report.figures.plotting import GREY, OKABE_ITO, Drawing, label, legend, panels, title, whiskers
from analysis.report.findings import listed
from analysis.study import Study

SHAPES = ("o", "s", "^", "D", "v")
"""With as many colours, which have no divisor in common, 35 intermediates are told apart."""


def cost_against_gain(study: Study, sweep: str) -> list[Drawing]:
    """Mean gain against the time of an intermediate and a target training; one colour and shape an intermediate."""
    found = priced(study)
    if not found:
        return []
    scales = [scale for scale in study.scales if any(one.scale == scale for one in found)]
    names = sorted({one.intermediate for one in found})
    unit, per_hour = time_unit(max(one.hours for one in found))
    figure, axes = panels(1, len(scales), sharey=True)
    for panel, scale in zip(axes[0], scales, strict=True):
        _panel(panel, [one for one in found if one.scale == scale], names, per_hour)
        panel.set_title(scale)
    label(axes, unit, "mean gain over targets")
    handles = [
        Line2D([], [], color=colour, marker=shape, linestyle="", label=name)
        for name in names
        for colour, shape in [_look(names, name)]
    ]
    unclear = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="", label="not told from 0")
    legend(figure, [*handles, unclear])
    title(figure, sweep, "what each intermediate adds, against the time of its training and a target’s", study)
    caption = (
        "Mean time of one intermediate training and one target training (wall time of the job, whatever it ran on) "
        f"against the gain, the mean over {listed(found[0].targets)} and their languages, with 95 % intervals. "
        "Open: not told from 0. Each scale has its own axis of time."
    )
    return [Drawing("cost-against-gain", caption, figure)]


def _panel(panel: Axes, found: Sequence[Priced], names: Sequence[str], per_hour: int) -> None:
    panel.axhline(0, color=GREY, linewidth=0.8)
    for one in found:
        colour, shape = _look(names, one.intermediate)
        panel.errorbar(
            one.hours * per_hour,
            one.gain.value,
            whiskers(one.gain),
            elinewidth=1,
            alpha=0.85,
            color=colour,
            marker=shape,
            markerfacecolor=colour if one.gain.differs_from_zero else "white",
        )
    times = [one.hours * per_hour for one in found]
    low, high = min(times), max(times)
    room = max(0.12 * (high - low), 0.1 * high)
    panel.set_xlim(max(low - room, 0), high + room)
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.ticklabel_format(axis="x", style="plain", useOffset=False)


def _look(names: Sequence[str], name: str) -> tuple[str, str]:
    """Colour and shape."""
    place = names.index(name)
    return OKABE_ITO[place % len(OKABE_ITO)], SHAPES[place % len(SHAPES)]
